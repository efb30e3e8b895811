"""Talk: what the questions of a conversation were about, for the one that goes on from them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tasks.answers.finding import Found, Product, find
from tasks.answers.index import Index
from tasks.answers.reply import ReplyStep
from tasks.serving.refusals import RefusedRequest

BACK = 6  # questions that are looked back at


def before(questions: Sequence[str], index: Index) -> list[Found]:
    """What was found for the latest of these questions, oldest first."""
    talk: list[Found] = []
    for earlier in questions[-BACK:]:
        talk.append(find(earlier, index, talk))
    return talk


def chosen(question: str, uid: str, index: Index) -> tuple[Found, ReplyStep]:
    """A question about the row that a person chose. RefusedRequest where the catalogue has none of this uid."""
    start = time.time_ns()
    row = index.by_uid(uid)
    if row is None:
        raise RefusedRequest(404, "no row of the catalogue has this uid", "not_found", "uid")
    found = Found(question=question, state="one", probability=1.0, products=(Product(rows=(row,), probability=1.0),))
    return found, ReplyStep(name="retrieve", start=start, end=time.time_ns())
