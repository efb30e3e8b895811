"""Questions and answers side by side, and the proof that both models saw the exported prompt."""

from __future__ import annotations

import pytest

from tasks.backends.contract import Answer, Decoding
from tasks.core.errors import ParityError
from tasks.core.models import Message
from tasks.evaluation import exams
from tasks.evaluation.exams import ARMS, Exam, scores, table
from tasks.examples.questions import Question
from tasks.examples.templates import prompt_hash
from tasks.recipe.tuning import LocalTune


def question(number: int) -> Question:
    return Question(
        shard=0,
        uid=f"U{number}",
        line=number,
        title=f"Drum {number}",
        content=f"a drum of {number} screws",
        messages=(Message(role="user", content=f"What is the Drum {number} product?"),),
        prompt_hash=f"hash {number}",
    )


def answer(text: str, number: int) -> Answer:
    return Answer(
        text=text,
        decoding=Decoding(),
        model_version="m",
        prompt_hash=f"hash {number}",
        prompt_tokens=1,
        answer_tokens=1,
        seconds=0.1,
    )


EXAM = Exam(seen=(question(1), question(2)), unseen=(question(3),))


class Parrot:
    """Answers with the question; `skew` changes the prompt of one question."""

    def __init__(self, skew: int | None = None) -> None:
        self.skew = skew

    def answer(self, model, tune, conversations, *decodings):
        numbers = [int(talk[-1].content.split()[4]) for talk in conversations]
        return [[answer(f"{model} {n}", n + 100 * (n == self.skew)) for n in numbers] for _ in decodings]


@pytest.fixture
def parrot(monkeypatch):
    def use(**kwargs):
        monkeypatch.setattr(exams, "get_backend", lambda name: Parrot(**kwargs))

    return use


def test_answers_come_in_the_order_of_the_questions(parrot):
    parrot()
    told = exams.ask("local", "m", None, LocalTune(base_model="b"), EXAM, (Decoding(), Decoding(temperature=1)))
    assert [[a.text for a in said] for said in told] == [["m 1", "m 2", "m 3"]] * 2


def test_a_prompt_that_is_not_the_exported_one_is_an_error_that_names_the_question(parrot):
    parrot(skew=2)
    with pytest.raises(ParityError, match=r"'Drum 2' \(line 2\).*'hash 102'.*'hash 2'"):
        exams.ask("local", "m", None, LocalTune(base_model="b"), EXAM, (Decoding(),))


def test_other_prompts_are_found_before_anything_is_asked(monkeypatch):
    class Template:
        def prompts(self, tune, conversations):
            return [f"<{talk[-1].content}>" for talk in conversations]

    monkeypatch.setattr(exams, "get_backend", lambda name: Template())
    right = [q.model_copy(update={"prompt_hash": prompt_hash(f"<{q.messages[-1].content}>")}) for q in EXAM.all]
    exams.same_prompts(Exam(seen=tuple(right), unseen=()), LocalTune(base_model="b"))
    with pytest.raises(ParityError, match=r"'Drum 2' \(line 2\).*prepare again"):
        exams.same_prompts(Exam(seen=(right[0], question(2)), unseen=()), LocalTune(base_model="b"))


def test_one_row_a_question_with_every_arm_beside_the_content():
    rows = table(EXAM, {arm: [answer(f"{arm} {n}", n) for n in (1, 2, 3)] for arm in ARMS})
    assert [(r.group, r.uid, r.content) for r in rows] == [
        ("seen", "U1", "a drum of 1 screws"),
        ("seen", "U2", "a drum of 2 screws"),
        ("unseen", "U3", "a drum of 3 screws"),
    ]
    assert [(r.before, r.after, r.before_t0, r.after_t0) for r in rows][1] == tuple(
        f"{arm} 2" for arm in ("before", "after", "before_t0", "after_t0")
    )


def test_scores_are_means_by_group_and_arm():
    texts = {"before": "nothing", "after": "a drum of {n} screws", "before_t0": "", "after_t0": "9 screws"}
    rows = table(EXAM, {arm: [answer(texts[arm].format(n=n), n) for n in (1, 2, 3)] for arm in ARMS})
    found = scores(rows)
    assert found["seen"]["after"]["chrf"] == found["unseen"]["after"]["chrf"] == 100.0
    assert found["seen"]["after"]["numbers_supported"] == 1.0
    assert found["unseen"]["after_t0"]["numbers_supported"] == 0.0
    assert found["seen"]["before_t0"]["refused"] == 1.0
    assert found["seen"]["before"]["chrf"] < 20
