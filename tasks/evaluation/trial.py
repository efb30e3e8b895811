"""Trial: the same questions to every arm, and what each answer is worth to the person who asked.

Arms: each model by itself and with rows from the index, and no model at all, whose quotes are chosen by the question
alone. Groups: `seen` and `unseen` products, and `absent`: unseen ones with their rows hidden, where only declining is
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tasks.answers import ask, sources
from tasks.answers.index import Index, key_of
from tasks.answers.reply import Reply, Target, nobody
from tasks.backends.contract import Answer, Decoding
from tasks.backends.pricing import of_answer
from tasks.core.errors import ParityError
from tasks.core.models import Frozen, Message, StyleName
from tasks.evaluation.forms import ALONE, Form, Group, TrialQuestion, describes, says
from tasks.evaluation.metrics import score
from tasks.examples.styles import STYLES, conversation
from tasks.recipe.model import Answering

Way = Literal["alone", "with rows"]
QUOTES = "quotes, no model"


class Mark(Frozen):
    """What one arm's answer to one question is worth.

    `right_product`: what is shown is of a product asked about, or such a one is the first to choose from; None for a
    model by itself, which shows no source. `to_the_point`: what is shown as fact answers the question, by the model's
    checked words or by quotes; `answered`: by the model's own checked words. `false_shown`: a person is shown, as an
    answer, what the row does not say, or another product. `declined`: no answer; right only of absent products.
    chrF and ROUGE-L are None where there is nothing to be like.
    """

    arm: str
    group: Group
    form: Form
    uid: str
    question: str
    text: str
    right_product: bool | None = None
    to_the_point: bool = False
    answered: bool = False
    false_shown: bool = False
    declined: bool = False
    problems: tuple[str, ...] = ()
    chrf: float | None = None
    rouge_l: float | None = None
    prompt_hash: str | None = None
    model_version: str = ""
    tokens: int = 0
    seconds: float = 0.0
    usd: float | None = 0.0


def closed(style: StyleName) -> StyleName:
    """The style in which a model is asked by itself: its own, or describe where that wants rows."""
    return "describe" if STYLES[style].grounded else style


def opened(target: Target, own: StyleName) -> StyleName:
    """The style in which a model is asked with rows; `own` is the recipe's, in which a base is asked."""
    style = own if target.model is None else target.style
    return style if STYLES[style].grounded else "grounded"


def name_of(target: Target, way: Way) -> str:
    """The name of an arm."""
    return target.name if way == "alone" else f"{target.name} with rows"


def worded(one: TrialQuestion, own: StyleName) -> str:
    """The words of a question."""
    return one.text or conversation(closed(own), one.question.title)[-1].content


def alone(
    target: Target,
    trial: Sequence[TrialQuestion],
    own: StyleName,
    drawn: Decoding,
    generate: ask.Generate,
    hashed: bool,
) -> list[Mark]:
    """The model by itself, without any row, about single products; `own` is the recipe's style.

    Raises ParityError where `hashed` and a prompt differs from that of the exports.
    """
    style = closed(own)
    mine = [one for one in trial if one.form in ALONE]
    talks = [
        (*conversation(style, one.question.title)[:-1], Message(role="user", content=worded(one, own))) for one in mine
    ]
    different = list(dict.fromkeys(talks))  # an absent product is asked for in the same words
    told = dict(zip(different, generate(target, different, drawn), strict=True))
    marks = []
    for one, talk in zip(mine, talks, strict=True):
        answer = told[talk]
        if hashed and style == own and not one.text and answer.prompt_hash != one.question.prompt_hash:
            raise ParityError(
                f"{target.name!r} was asked for {one.question.title!r} by prompt {answer.prompt_hash!r}, and the "
                f"export has {one.question.prompt_hash!r}: prepare again"
            )
        marks.append(_alone(one, talk[-1].content, answer, target))
    return marks


def _alone(one: TrialQuestion, question: str, answer: Answer, target: Target) -> Mark:
    """All that a model by itself says is shown, so whatever its row does not say is false."""
    said = ask.whole(answer)
    declined = sources.abstains(said)
    problems = () if declined else sources.problems(said, question, None if one.group == "absent" else one.row)
    holds = not declined and not problems
    good = holds and (not one.values or says(sources.body(said)[0], one.values[0]))
    return _marked(one, name_of(target, "alone"), question, sources.body(said)[0]).model_copy(
        update={
            "declined": declined,
            "to_the_point": good,
            "answered": good,
            "false_shown": bool(problems),
            "problems": tuple(f"{p.rule}: {p.said}" for p in problems),
            **_used(target, answer.prompt_tokens, answer.answer_tokens),
            **{name: getattr(answer, name) for name in ("prompt_hash", "model_version", "seconds")},
        }
    )


def with_rows(
    target: Target,
    trial: Sequence[TrialQuestion],
    index: Index,
    own: StyleName,
    wanted: Answering,
    drawn: Decoding,
    generate: ask.Generate,
) -> list[Mark]:
    """The model with rows from the index, as `shardtune ask` asks it."""
    target = target.model_copy(update={"style": opened(target, own)})
    words, hidden = [worded(one, own) for one in trial], [one.hidden for one in trial]
    replies = ask.replies(words, target, index, wanted, drawn, generate, hidden)
    return [
        _replied(one, reply, target, name_of(target, "with rows")) for one, reply in zip(trial, replies, strict=True)
    ]


def quotes(trial: Sequence[TrialQuestion], index: Index, own: StyleName, wanted: Answering) -> list[Mark]:
    """No model at all: what `shardtune ask` shows before one is tuned."""
    target, drawn = nobody(None, own), Decoding()
    words, hidden = [worded(one, own) for one in trial], [one.hidden for one in trial]
    replies = ask.replies(words, target, index, wanted, drawn, hidden=hidden)
    return [
        _replied(one, reply, target, QUOTES).model_copy(update={"seconds": _taken(reply)})
        for one, reply in zip(trial, replies, strict=True)
    ]


def _taken(reply: Reply) -> float:
    return sum((step.end - step.start) / 1e9 for step in reply.steps)


def _replied(one: TrialQuestion, reply: Reply, target: Target, arm: str) -> Mark:
    """The mark of a reply, by what a person sees of it."""
    shown = [key_of(quote.title) for quote in reply.quotes]
    if reply.source is not None:
        shown.append(key_of(reply.source.title))
    fact = reply.state in ("answered", "quoted")
    there = one.group != "absent"
    right = there and reply.state != "none" and bool(shown) and shown[0] in one.right
    if fact and one.form != "category":
        right = right and set(shown) <= one.right
    good = right and _to_the_point(one, reply, fact)
    return _marked(one, arm, reply.question, sources.body(reply.said or reply.text)[0]).model_copy(
        update={
            "right_product": right if there else None,
            "to_the_point": good,
            "answered": good and reply.state == "answered" and _own(one, reply),
            "false_shown": fact and not right,
            "declined": reply.state == "none",
            **_used(target, reply.prompt_tokens, reply.answer_tokens),
            **{name: getattr(reply, name) for name in ("problems", "prompt_hash", "model_version", "seconds")},
        }
    )


def _to_the_point(one: TrialQuestion, reply: Reply, fact: bool) -> bool:
    """Whether what is shown of the right products answers the question."""
    if one.form == "category":  # a list is the answer, and nothing in it is from elsewhere
        return {key_of(quote.title) for quote in reply.quotes} <= one.right
    if not fact:
        return False
    if one.form == "two products" and {key_of(quote.title) for quote in reply.quotes} != one.right:
        return False
    asked = dict(zip(one.rows, one.values, strict=False))
    for row in one.rows:
        meant = {key_of(row.title)} if len(one.rows) > 1 else one.right
        mine = [quote.text for quote in reply.quotes if key_of(quote.title) in meant]
        mine += [reply.text] if reply.state == "answered" else []
        text = " ".join(mine)
        if not (says(text, asked[row]) if row in asked else describes(text, row)):
            return False
    return True


def _own(one: TrialQuestion, reply: Reply) -> bool:
    """Whether the model's words alone have the answer."""
    return all(says(reply.text, values) for values in one.values)


def _marked(one: TrialQuestion, arm: str, question: str, text: str) -> Mark:
    """A mark with what is measured on the text alone."""
    bare = Mark(arm=arm, group=one.group, form=one.form, uid=one.row.uid, question=question, text=text)
    if one.group == "absent":
        return bare
    measured = score(text, one.row.content, question)
    return bare.model_copy(update={"chrf": measured.chrf, "rouge_l": measured.rouge_l})


def _used(target: Target, prompt: int, answer: int) -> dict[str, float | int | None]:
    return {"tokens": prompt + answer, "usd": of_answer(target.tune, prompt, answer)}


def same_prompts(marks: Sequence[Mark]) -> None:
    """Raise ParityError where one question was rendered differently for two arms of one way and one rendering."""
    seen: dict[tuple[str, str, str], str] = {}
    for mark in marks:
        asked = (mark.group, mark.uid, mark.question)
        if mark.prompt_hash and seen.setdefault(asked, mark.prompt_hash) != mark.prompt_hash:
            raise ParityError(f"arm {mark.arm!r} was asked {mark.question!r} by another prompt than the arms before it")
