"""Alignment: which words of a row each word of a claim answers to, and how surely.

Two words match where they are forms of one word (1), share a sense or are derived from one another (0.85), or one lies
right above the other (0.6): WordNet says so. Of several places that match, the one near to the matches of its
neighbours counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tasks.answers.sentences import sentences
from tasks.answers.tokens import Token, tokens

SAME, DERIVED, ABOVE = 1.0, 0.85, 0.6
_NEAR, _MOST = 5, 6  # neighbours looked at on each side; places of a word looked at
_APART = 20.0  # title and content are this far apart


class Row:
    """A row's text as tokens, title first, with what finds them by meaning. `sentences` are places in the content."""

    def __init__(self, title: str, content: str) -> None:
        self.title, self.content = title, content
        self.sentences = sentences(content)
        head = tokens(title)
        for token in head:
            token.sentence = -1
        shift = head[-1].place + _APART if head else 0.0
        body = tokens(content)
        for token in body:
            token.place += shift
            token.clause += 1_000
        self.tokens = [t for t in [*head, *body] if t.content]
        self.all = [*head, *body]
        for n, token in enumerate(self.tokens):
            token.order = n
        self.by: dict[str | int, list[int]] = defaultdict(list)
        self.over: dict[int, list[int]] = defaultdict(list)
        for n, token in enumerate(self.tokens):
            for key in (*{token.text, *token.meaning.lemmas}, *token.meaning.near):
                self.by[key].append(n)  # type: ignore[index]
            for above in token.meaning.above:
                self.over[above].append(n)
        self.numbers = [n for n, t in enumerate(self.tokens) if t.value is not None]
        self.glued = [n for n, t in enumerate(self.tokens) if len(t.text) > 6 and not t.meaning.pos and t.value is None]

    def by_title(self, token: Token) -> bool:
        """Whether the title has this word."""
        return any(self.tokens[n].sentence < 0 for n in self.by.get(token.text, ()))


@lru_cache(256)
def row_of(title: str, content: str) -> Row:
    """The row, read once."""
    return Row(title, content)


class Match(NamedTuple):
    """A place in the row (index of its content tokens) and how sure it is."""

    at: int
    score: float


def places(token: Token, row: Row) -> list[Match]:
    """Where the row has what `token` says, the surest first."""
    if token.value is not None:
        found = [Match(n, score) for n in row.numbers if (score := same_number(token, row.tokens[n])) > 0]
        strict = token.kind in ("mass", "length", "volume", "money")
        if strict and any(row.tokens[n].kind == token.kind for n in row.numbers):
            found = [m for m in found if row.tokens[m.at].kind]  # 3 pounds are not "three batteries"
        if found or strict or not token.text.isalpha():
            return found[:_MOST]
    scores: dict[int, float] = {}
    for word in (token.text, *token.meaning.lemmas):
        for n in row.by.get(word, ()):
            scores[n] = SAME
    if not token.code and not (token.name and not token.meaning.pos):
        for key in token.meaning.near:
            for n in row.by.get(key, ()):
                scores.setdefault(n, DERIVED)
        if not scores and not token.name:
            for n, other in enumerate(row.tokens):
                if _stem(token.text, other.text):
                    scores[n] = DERIVED
        if not token.name:
            for key in token.meaning.near:
                for n in row.over.get(key, ()):
                    scores.setdefault(n, ABOVE)
            for key in token.meaning.above:
                for n in row.by.get(key, ()):
                    scores.setdefault(n, ABOVE)
    if not scores and len(token.text) > 3:
        for n in row.glued:
            if row.tokens[n].text.startswith(token.text) or row.tokens[n].text.endswith(token.text):
                scores[n] = DERIVED
    found = [Match(n, score) for n, score in scores.items()]
    return sorted(found, key=lambda m: (-m.score, m.at))[:_MOST]


def _stem(one: str, other: str) -> bool:
    if len(one) < 5 or len(other) < 5 or one[:5] != other[:5]:
        return False
    shared = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return len(one) - shared <= 4 and len(other) - shared <= 4


def same_number(said: Token, held: Token) -> float:
    """1 where both numbers are one measure, less where only nearly; 0 where they are not."""
    if said.value is None or held.value is None or ("th" in (said.kind, held.kind) and said.kind != held.kind):
        return 0.0
    if said.kind == held.kind and said.kind not in ("", "times"):
        most = max(abs(said.value), abs(held.value)) or 1.0
        off = abs(said.value - held.value) / most
        return (
            SAME
            if off < 0.005
            else 0.9
            if off < (0.08 if said.about else 0.03 if said.unit != held.unit else 0)
            else 0.0
        )
    if said.raw == held.raw and (not said.kind or not held.kind or said.kind == held.kind):
        return SAME if said.kind == held.kind else 0.95
    return 0.0


def wrong_unit(said: Token, held: Token) -> bool:
    """Whether one number is said with two units that do not mean the same."""
    if said.raw != held.raw or not (said.kind and held.kind) or {"th", "times"} & {said.kind, held.kind}:
        return False
    return same_number(said, held) == 0


def aligned(said: Sequence[Token], row: Row) -> list[Match | None]:
    """For each content token of a claim its place in the row, or None."""
    choices = [places(token, row) for token in said]
    chosen: list[Match | None] = []
    for n, mine in enumerate(choices):
        best, most = None, -1.0
        around = range(max(0, n - _NEAR), min(len(said), n + _NEAR + 1))
        for match in mine:
            here = row.tokens[match.at].place
            support = 0.0
            if len(mine) > 1:
                for m in around:
                    if m != n and choices[m]:
                        near = max(c.score / (1 + abs(row.tokens[c.at].place - here)) for c in choices[m])
                        support += near / abs(m - n)
            worth = match.score + 0.5 * support
            if worth > most:
                best, most = match, worth
        chosen.append(best)
    return chosen
