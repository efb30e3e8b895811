"""Asking: the same questions to a base and to a tuned model, each prompt proven to be the one of the export."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasks.backends import get_backend
from tasks.backends.contract import Answer, Decoding
from tasks.core.errors import ParityError
from tasks.core.models import CleanShard, ExamAnswers, Export, Frozen, Message
from tasks.evaluation.metrics import means, score
from tasks.examples.questions import Question, draw
from tasks.examples.templates import prompt_hash
from tasks.recipe.tuning import Tune

ARMS = ("before", "after", "before_t0", "after_t0")


class Exam(Frozen):
    """The fixed questions of a link: on products it trained on, and on products held out."""

    seen: tuple[Question, ...]
    unseen: tuple[Question, ...]

    @property
    def all(self) -> tuple[Question, ...]:
        return self.seen + self.unseen


def exam(
    train: Sequence[Export], holdout: Sequence[Export], shards: Sequence[CleanShard], seen: int, unseen: int, seed: int
) -> Exam:
    """Draw the questions: `seen` from what is trained on, `unseen` from the holdout."""
    return Exam(seen=draw(train, shards, seen, seed), unseen=draw(holdout, shards, unseen, seed))


def same_prompts(questions: Exam, tune: Tune) -> None:
    """Raise ParityError where a question would not be asked by the prompt that the export holds; asks nothing."""
    sent = get_backend(tune).prompts(tune, [q.messages for q in questions.all])
    for question, prompt in zip(questions.all, sent, strict=True):
        _same(question, prompt_hash(prompt))


def _same(question: Question, found: str) -> None:
    if question.prompt_hash != found:
        raise ParityError(
            f"the prompt for {question.title!r} (line {question.line}) has hash {found!r} at sampling "
            f"and {question.prompt_hash!r} at export: the template changed between them; prepare again"
        )


def ask(
    endpoint: str | None,
    model: str | None,
    digest: str | None,
    tune: Tune,
    questions: Exam,
    decodings: tuple[Decoding, ...],
) -> tuple[tuple[Answer, ...], ...]:
    """For each decoding the answers in the order of `questions.all`.

    `endpoint` and `digest` are for a cache: where the model answers, and what tells its bytes from those of another of
    the same name.

    Raises ParityError where a prompt is not the one that the export holds.
    """
    told = answers(endpoint, model, digest, tune, [q.messages for q in questions.all], decodings)
    for said in told:
        for question, answer in zip(questions.all, said, strict=True):
            _same(question, answer.prompt_hash)
    return told


def answers(
    endpoint: str | None,
    model: str | None,
    digest: str | None,
    tune: Tune,
    talks: Sequence[tuple[Message, ...]],
    decodings: tuple[Decoding, ...],
) -> tuple[tuple[Answer, ...], ...]:
    """For each decoding the answers of a model (None: the base of `tune`) in the order of `talks`; see `ask`."""
    return tuple(tuple(said) for said in get_backend(tune).answer(model, tune, talks, *decodings))


def table(questions: Exam, arms: dict[str, Sequence[Answer]]) -> tuple[ExamAnswers, ...]:
    """One row a question with the answers of every arm beside the original content; empty where nobody was asked."""
    rows = []
    for number, question in enumerate(questions.all):
        rows.append(
            ExamAnswers(
                group="seen" if number < len(questions.seen) else "unseen",
                uid=question.uid,
                line=question.line,
                question=question.messages[-1].content,
                content=question.content,
                **{arm: arms[arm][number].text if arm in arms else "" for arm in ARMS},
            )
        )
    return tuple(rows)


def scores(rows: Sequence[ExamAnswers], arms: Collection[str] = ARMS) -> dict[str, dict[str, dict[str, float]]]:
    """{group: {arm: {metric: mean}}} over the rows, for the arms that were asked."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group in dict.fromkeys(row.group for row in rows):
        mine = [row.model_dump() for row in rows if row.group == group]
        found[group] = {
            arm: means([score(r[arm], r["content"], r["question"]) for r in mine]) for arm in ARMS if arm in arms
        }
    return found
