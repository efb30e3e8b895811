"""Crossing: two words of one kind that stand at each other's places: "30 hours on high and 6 on low".

Each word beside one of the two in a claim stands nearer to the other one in the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tasks.answers.alignment import DERIVED, Match, Row
from tasks.answers.tokens import Token
from tasks.answers.words import listed

_NEAR, _FAR = 4, 14  # places within which words belong together; places within which two may be exchanged


def listed_as(token: Token) -> set[str]:
    """Whether a word names a colour or a material, or both: then it is as much a fact as a name."""
    forms = {token.text, *token.meaning.lemmas}
    return {kind for kind in ("colours", "materials") if forms & listed(kind)}


def crossed(words: Sequence[Token], matches: Sequence[Match | None], row: Row) -> tuple[int, int] | None:
    """Two words of a claim, by number, that are exchanged; None where none are."""
    places = {n: _places(words[n], m, row) for n, m in enumerate(matches) if m and m.score >= DERIVED}
    places = {n: some for n, some in places.items() if some}
    for a, b in combinations(places, 2):
        if not _alike(words[a], words[b]) or words[b].place - words[a].place > _FAR or places[a] & places[b]:
            continue
        to_a, to_b, agreed = _moved(a, b, words, places)
        if to_a and to_b and to_a + to_b > agreed:
            return a, b
    return None


def _moved(a: int, b: int, words: Sequence[Token], places: dict[int, set[float]]) -> tuple[int, int, int]:
    """How many words beside `a` are nearer to `b` in the row, beside `b` nearer to `a`, and how many are as here."""
    to_a = to_b = agreed = 0
    for c in places:
        if c in (a, b) or places[c] & (places[a] | places[b]):
            continue
        here_a, here_b = (abs(words[c].place - words[n].place) for n in (a, b))
        there_a, there_b = (min(abs(x - y) for x in places[c] for y in places[n]) for n in (a, b))
        if here_a == here_b or there_a == there_b or min(here_a, here_b) > _NEAR or min(there_a, there_b) > _NEAR:
            continue
        if (here_a < here_b) == (there_a < there_b):
            agreed += 1
        elif here_a < here_b:
            to_b += 1
        else:
            to_a += 1
    return to_a, to_b, agreed


def _alike(one: Token, other: Token) -> bool:
    """Whether two words are numbers of one kind, colours, materials or opposites."""
    if one.text == other.text:
        return False
    if one.value is not None or other.value is not None:
        return one.value is not None and other.value is not None and (one.kind, one.unit) == (other.kind, other.unit)
    return bool(listed_as(one) & listed_as(other) or one.meaning.opposite & other.meaning.own)


def _places(token: Token, match: Match, row: Row) -> set[float]:
    """Where the content has a word."""
    at = {match.at, *(row.by.get(token.text, ()) if token.value is None else ())}
    return {row.tokens[n].place for n in at if row.tokens[n].sentence >= 0}
