"""Doubt: how likely it is that a row does not show a claim, from what is seen of both, by a few weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tasks.answers.alignment import Match
from tasks.answers.contradictions import Contradiction
from tasks.answers.crossing import listed_as
from tasks.answers.tokens import Token

_POS = {"nouns": "n", "verbs": "v", "adjectives": "a", "adverbs": "r"}


class Clause(NamedTuple):
    """A claim: its content words, their places in the row, what speaks against it, the gain of a swap of its words."""

    text: str
    words: Sequence[Token]
    matches: Sequence[Match | None]
    against: Sequence[Contradiction]
    swap: float


def features(clause: Clause) -> dict[str, float]:
    """What the weights weigh, by name."""
    words, matches = clause.words, clause.matches
    new = [t for t, m in zip(words, matches, strict=True) if m is None]
    plain = [t for t in new if t.value is None and not t.name and not t.code and not listed_as(t)]
    return {
        "bias": 1.0,
        **{name: min(4.0, sum(_special(t) for t in plain if t.meaning.pos == pos)) for name, pos in _POS.items()},
        "names": min(3.0, sum(bool(t.name or t.code or listed_as(t)) for t in new)),
        "numbers": min(2.0, sum(t.value is not None and not t.weak for t in new)),
        "unknown": min(3.0, sum(not t.meaning.pos for t in plain)),
        "share": len(new) / max(1, len(words)),
        "swap": clause.swap,
        "only": float(any(t.text in ("only", "all", "every", "never", "always", "entire") for t in new)),
    }


def _special(token: Token) -> float:
    """How much a word says, 0 to 1: one with many senses, as "use" or "make", says little."""
    return 1.0 / math.sqrt(max(1, len(token.meaning.own)))


@cache
def weights() -> dict[str, float]:
    """The weights of `weights.json`, which `python -m tests.benchmarks.claims learn` writes."""
    return dict(json.loads((Path(__file__).parent / "weights.json").read_text()))


def doubt(clause: Clause) -> float:
    """The probability, 0 to 1, that a claim is not shown by its row."""
    held = weights()
    return 1 / (1 + math.exp(-sum(held.get(name, 0.0) * x for name, x in features(clause).items())))
