"""Talk: what the questions of a conversation were about, for the one that goes on from them."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.answers.finding import Found, find
from tasks.answers.index import Index

BACK = 6  # questions that are looked back at


def before(questions: Sequence[str], index: Index) -> list[Found]:
    """What was found for the latest of these questions, oldest first."""
    talk: list[Found] = []
    for earlier in questions[-BACK:]:
        talk.append(find(earlier, index, talk))
    return talk
