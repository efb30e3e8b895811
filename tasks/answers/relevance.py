"""Relevance: whether a text says the kind of thing that a question asks for: "How heavy is it?" wants a weight."""

from __future__ import annotations

import re

from tasks.answers import aspects
from tasks.answers.tokens import tokens

_OPEN = ("purpose",)  # aspects that any words may say
_WANTED = (
    (r"how heavy|weigh|weight", ("mass",)),
    (
        r"how (?:long|quick|fast|soon)\b.*\b(?:last|take|run|charge|battery|keep|hold out)|warranty|guarantee",
        ("time",),
    ),
    (
        r"how (?:tall|wide|high|deep|long|big|large|thick)|dimensions?|measure",
        ("length", "volume", "page", "time", ""),
    ),
    (r"how much (?:is|does .* cost)|price|cost", ("money",)),
    (r"how many|how old|what year|when (?:was|did|is)", ("*",)),
)


def wanted(question: str) -> tuple[str, ...]:
    """Kinds of measures that the question asks for ("*": any number); none where it asks for something else."""
    low = question.lower()
    return next((kinds for pattern, kinds in _WANTED if re.search(pattern, low)), ())


def relevant(question: str, text: str) -> bool:
    """Whether `text` says the kind of thing that `question` asks for; true where the question asks for none.

    A measure must be of the kind that is asked for; an aspect ("what is it made of") must be said in such words.
    """
    kinds, numbers = (
        wanted(question),
        [t for t in tokens(text) if t.value is not None and not t.weak],
    )
    if kinds and not any("*" in kinds or t.kind in kinds for t in numbers):
        return False
    asked = [aspect for aspect in aspects.of(question) if aspect.name not in _OPEN]
    measures = {kind for aspect in asked for kind in aspect.measures}
    return (
        not asked
        or any(aspect.answered(text) for aspect in asked)
        or any(bool(kinds) or t.kind in measures for t in numbers)
    )
