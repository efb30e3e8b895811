"""Relevance: whether a text says the kind of thing that a question asks for: "How heavy is it?" wants a weight."""

from __future__ import annotations

import re

from tasks.answers.tokens import tokens

_WANTED = (
    (r"how heavy|weigh|weight", ("mass",)),
    (r"how (?:long|quick|fast|soon)\b.*\b(?:last|take|run|charge|battery|keep|hold out)|warranty|guarantee", ("time",)),
    (r"how (?:tall|wide|high|deep|long|big|large|thick)|dimensions?|measure", ("length", "volume", "page", "time", "")),
    (r"how much (?:is|does .* cost)|price|cost", ("money",)),
    (r"how many|how old|what year|when (?:was|did|is)", ("*",)),
)


def wanted(question: str) -> tuple[str, ...]:
    """Kinds of measures that the question asks for ("*": any number); none where it asks for something else."""
    low = question.lower()
    return next((kinds for pattern, kinds in _WANTED if re.search(pattern, low)), ())


def relevant(question: str, text: str) -> bool:
    """Whether `text` has a measure of the kind that `question` asks for, or it asks for none."""
    kinds = wanted(question)
    return not kinds or any(t.value is not None and ("*" in kinds or t.kind in kinds) for t in tokens(text))
