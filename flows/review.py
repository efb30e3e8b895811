"""Review: the questions whose answers people corrected, asked again. `shardtune review --ask MODEL` runs it."""

from __future__ import annotations

from flows.ask import ask
from tasks.core.models import Frozen
from tasks.record import feedback


class AskedAgain(Frozen):
    """A question with an approved correction: its state when somebody disliked the answer, and what is said now.

    `right` where the model's words hold now and are about the row that the correction names.
    """

    trace: str
    question: str
    before: str
    now: str
    text: str
    right: bool


def asked_again(model: str) -> list[AskedAgain]:
    """What the model answers to every question with an approved correction. AnswerError where there is no such model.

    The answers leave traces of their own, which nobody has judged.
    """
    disliked = {one.trace: one for one in feedback.disliked() if one.approved}
    if not disliked:
        return []
    replies = ask(tuple(one.question for one in disliked.values()), model).replies
    return [
        AskedAgain(
            trace=one.trace,
            question=one.question,
            before=one.state,
            now=reply.state,
            text=reply.text,
            right=reply.state == "answered" and reply.source is not None and reply.source.uid == one.uid,
        )
        for one, reply in zip(disliked.values(), replies, strict=True)
    ]
