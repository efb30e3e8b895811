"""Kept answers: each question is asked once, whichever others stand beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.backends.contract import Answer, Decoding
from tasks.core import store
from tasks.core.models import Message
from tasks.evaluation.kept import once


def talk(question: str) -> tuple[Message, ...]:
    return (Message(role="user", content=question),)


class Model:
    """Answers each question with itself and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, talks):
        self.asked.append([turns[-1].content for turns in talks])
        common = {"decoding": Decoding(), "model_version": "m", "prompt_hash": "", "prompt_tokens": 1}
        return [Answer(text=turns[-1].content.upper(), answer_tokens=1, seconds=0.5, **common) for turns in talks]


@pytest.fixture
def place(own_root: Path) -> str:
    own_root.mkdir()
    return store.join(str(own_root), "answers", "a.json")


def texts(place: str, model: Model, *questions: str) -> list[str]:
    return [answer.text for answer in once(place, [talk(q) for q in questions], model)]


def test_only_what_is_new_is_asked_and_each_question_once(place):
    model = Model()
    assert texts(place, model, "a", "b", "a") == ["A", "B", "A"]
    assert texts(place, model, "c", "b") == ["C", "B"]
    assert texts(place, model, "b", "a") == ["B", "A"]
    assert model.asked == [["a", "b"], ["c"]]
    assert once(place, [talk("a")], model)[0].seconds == 0.5


def test_a_damaged_file_is_no_answer(place):
    texts(place, Model(), "a")
    Path(place).write_text(Path(place).read_text().replace('"A"', '"B"'))
    model = Model()
    assert texts(place, model, "a") == ["A"] and model.asked == [["a"]]


def test_an_ask_that_fails_keeps_what_was_there(place):
    def fails(talks):
        raise RuntimeError("no answer")

    texts(place, Model(), "a")
    with pytest.raises(RuntimeError):
        texts(place, fails, "a", "b")
    assert texts(place, fails, "a") == ["A"]
