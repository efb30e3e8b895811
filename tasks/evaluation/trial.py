"""Trial: the same questions to every arm, and what each answer is worth, by the row that is really asked about.

Arms: each model by itself and with rows from the index, and the index alone, which quotes the row it finds. Groups:
`seen` and `unseen` products, and `absent`: the unseen ones with their rows hidden, where only abstaining is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

from tasks.answers import ask, sources
from tasks.answers.index import Index, IndexedRow, key_of
from tasks.answers.reply import Reply, Target
from tasks.backends.contract import Answer, Decoding
from tasks.backends.pricing import of_answer
from tasks.core.errors import AnswerError, ParityError
from tasks.core.models import Frozen, StyleName
from tasks.evaluation.exams import Exam
from tasks.evaluation.metrics import score
from tasks.examples.grounding import clip
from tasks.examples.questions import Question
from tasks.examples.styles import SAID, STYLES, conversation
from tasks.recipe.model import Answering

Group = Literal["seen", "unseen", "absent"]
Way = Literal["alone", "retrieval"]
QUOTING = "retrieval only"


class Mark(Frozen):
    """What one arm's answer to one question is worth.

    `supported`: every claim stands in the row that was asked about. `shown`: whether a person is shown it as supported,
    and `right` whether its source then is that product. chrF and ROUGE-L are None where there is nothing to be like.
    """

    arm: str
    group: Group
    uid: str
    question: str
    text: str
    supported: bool
    abstained: bool
    shown: bool = False
    right: bool = False
    problems: tuple[str, ...] = ()
    chrf: float | None = None
    rouge_l: float | None = None
    prompt_hash: str | None = None
    model_version: str = ""
    tokens: int = 0
    seconds: float = 0.0
    usd: float | None = 0.0


class TrialQuestion(Frozen):
    """One question of one group, and the row it asks about."""

    group: Group
    question: Question
    row: IndexedRow

    @property
    def hidden(self) -> str | None:
        return self.question.title if self.group == "absent" else None


def asked(exam: Exam, index: Index) -> list[TrialQuestion]:
    """The questions of all three groups. AnswerError where the index lacks a row that is asked about."""
    groups: list[tuple[Group, Question]] = [("seen", q) for q in exam.seen]
    groups += [("unseen", q) for q in exam.unseen] + [("absent", q) for q in exam.unseen]
    found = []
    for group, question in groups:
        row = index.by_uid(question.uid)
        if row is None:
            raise AnswerError(f"the index has no row {question.uid!r}, which is asked about: prepare again")
        found.append(TrialQuestion(group=group, question=question, row=row))
    return found


ROUNDS = (0.25, 0.5, 1.0)  # of the questions, after each of which the gate looks


def rounds(trial: Sequence[TrialQuestion]) -> list[list[TrialQuestion]]:
    """The questions in parts, each with its share of every group."""
    parts: list[list[TrialQuestion]] = [[] for _ in ROUNDS]
    for group in dict.fromkeys(one.group for one in trial):
        mine, done = [one for one in trial if one.group == group], 0
        for part, share in zip(parts, ROUNDS, strict=True):
            until = ceil(share * len(mine))
            part += mine[done:until]
            done = until
    return [part for part in parts if part]


def closed(style: StyleName) -> StyleName:
    """The style in which a model is asked by itself: its own, or describe where that wants rows."""
    return "describe" if STYLES[style].grounded else style


def name_of(target: Target, way: Way) -> str:
    """The name of an arm."""
    return target.name if way == "alone" else f"{target.name} + retrieval"


def alone(
    target: Target,
    trial: Sequence[TrialQuestion],
    own: StyleName,
    drawn: Decoding,
    generate: ask.Generate,
    hashed: bool,
) -> list[Mark]:
    """The model by itself, without any row; `own` is the recipe's style.

    Raises ParityError where `hashed` and a prompt differs from that of the exports.
    """
    style = closed(own)
    talks = [conversation(style, a.question.title) for a in trial]
    different = list(dict.fromkeys(talks))  # an absent product is asked for in the same words
    told = dict(zip(different, generate(target, different, drawn), strict=True))
    marks = []
    for one, talk in zip(trial, talks, strict=True):
        answer = told[talk]
        if hashed and style == own and answer.prompt_hash != one.question.prompt_hash:
            raise ParityError(
                f"{target.name!r} was asked for {one.question.title!r} by prompt {answer.prompt_hash!r}, and the "
                f"export has {one.question.prompt_hash!r}: prepare again"
            )
        marks.append(_alone(one, talk[-1].content, answer, target))
    return marks


def _alone(one: TrialQuestion, question: str, answer: Answer, target: Target) -> Mark:
    said = ask.whole(answer)
    row = None if one.group == "absent" else one.row
    abstained = sources.abstains(said)
    problems = () if abstained else sources.problems(said, question, row)
    return _marked(one, name_of(target, "alone"), question, sources.body(said)[0]).model_copy(
        update={
            "abstained": abstained,
            "supported": not abstained and not problems,
            "problems": tuple(f"{p.rule}: {p.said}" for p in problems),
            **_used(target, answer.prompt_tokens, answer.answer_tokens),
            **{name: getattr(answer, name) for name in ("prompt_hash", "model_version", "seconds")},
        }
    )


def retrieving(
    target: Target,
    trial: Sequence[TrialQuestion],
    index: Index,
    own: StyleName,
    wanted: Answering,
    drawn: Decoding,
    generate: ask.Generate,
) -> list[Mark]:
    """The model with rows from the index, as `shardtune ask --style grounded` asks it."""
    target = target.model_copy(update={"style": "grounded"})
    words = [conversation(closed(own), a.question.title)[-1].content for a in trial]
    replies = ask.replies(words, target, index, wanted, drawn, generate, [a.hidden for a in trial])
    return [_retrieved(one, reply, target) for one, reply in zip(trial, replies, strict=True)]


def _retrieved(one: TrialQuestion, reply: Reply, target: Target) -> Mark:
    shown = reply.state == "answered"
    right = reply.source is not None and key_of(reply.source.title) == key_of(one.row.title) and one.group != "absent"
    return _marked(
        one, name_of(target, "retrieval"), reply.question, sources.body(reply.said or reply.text)[0]
    ).model_copy(
        update={
            "abstained": reply.state == "none",
            "supported": shown and right,
            "shown": shown,
            "right": shown and right,
            **_used(target, reply.prompt_tokens, reply.answer_tokens),
            **{name: getattr(reply, name) for name in ("problems", "prompt_hash", "model_version", "seconds")},
        }
    )


def quoting(trial: Sequence[TrialQuestion], index: Index, own: StyleName, wanted: Answering) -> list[Mark]:
    """No model at all: the head of the row that fits best, or an abstention."""
    marks = []
    for one in trial:
        question = conversation(closed(own), one.question.title)[-1].content
        found, step = ask.retrieve(question, index, wanted, one.hidden)
        row = found.rows[0] if found.state == "one" else None
        right = row is not None and key_of(row.title) == key_of(one.row.title) and one.group != "absent"
        bare = _marked(one, QUOTING, question, clip(row.content, SAID) if row else ask.NONE_FITS)
        seconds = (step.end - step.start) / 1e9
        told = {"abstained": row is None, "supported": right, "shown": row is not None, "right": right}
        marks.append(bare.model_copy(update={**told, "seconds": seconds}))
    return marks


def _marked(one: TrialQuestion, arm: str, question: str, text: str) -> Mark:
    """A mark with what is measured on the text alone."""
    bare = Mark(
        arm=arm, group=one.group, uid=one.row.uid, question=question, text=text, supported=False, abstained=False
    )
    if one.group == "absent":
        return bare
    measured = score(text, one.row.content, question)
    return bare.model_copy(update={"chrf": measured.chrf, "rouge_l": measured.rouge_l})


def _used(target: Target, prompt: int, answer: int) -> dict[str, float | int | None]:
    return {"tokens": prompt + answer, "usd": of_answer(target.tune, prompt, answer)}


def same_prompts(marks: Sequence[Mark]) -> None:
    """Raise ParityError where one question was rendered differently for two arms of one way and one rendering."""
    seen: dict[tuple[str, str], str] = {}
    for mark in marks:
        if mark.prompt_hash and seen.setdefault((mark.group, mark.question), mark.prompt_hash) != mark.prompt_hash:
            raise ParityError(f"arm {mark.arm!r} was asked {mark.question!r} by another prompt than the arms before it")
