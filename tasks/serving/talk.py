"""Talk: a question that goes on from those before it, as one that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.answers.finding import Found, find
from tasks.answers.index import Index

BACK = 6  # questions that are looked back at


def alone(questions: Sequence[str], index: Index) -> str:
    """The last question; where it names no product itself, with the title of the one that the talk was about."""
    *before, last = questions
    if not before:
        return last
    talk: list[Found] = []
    for earlier in before[-BACK:]:
        talk.append(find(earlier, index, talk))
    found = find(last, index, talk)
    return f"{found.products[0].rows[0].title}: {last}" if found.continued and found.products else last
