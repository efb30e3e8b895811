"""Attribution: who says what in a row that quotes reviews, one after the other, each signed after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tasks.answers.alignment import DERIVED, SAME, Match, Row
from tasks.answers.tokens import Token, folded

# The end of a quotation and who is named after it, before the next quotation or the end of the line.
_SIGNED = re.compile(
    r"(?<=\S)[\"']\)?(?:\s+|\s*(?:-{1,2}|\u2014)\s*)(?P<name>[A-Z][^\"'\n]{1,70}?)\s*(?=[\"'\n]|--|\.\s|$)|(?P<line>\n)",
    re.MULTILINE,
)
_SMALL = frozenset("of the and on in for author a an at".split())


class Review(NamedTuple):
    """A quotation, `start` to `said`, and who signs it, `said` to `end`: places in the content."""

    start: int
    said: int
    end: int
    name: str


@lru_cache(256)
def reviews(content: str) -> tuple[Review, ...]:
    """The signed quotations of a row, in order."""
    plain, places = folded(content)
    made, start = [], 0
    for match in _SIGNED.finditer(plain):
        if match["line"]:
            start = match.end()
        elif _is_name(match["name"]):
            first, said, end = (places[n] if places else n for n in (start, match.start(), match.end()))
            made.append(Review(first, said, end, match["name"]))
            start = match.end()
    return tuple(made)


def _is_name(text: str) -> bool:
    words = re.findall(r"[A-Za-z][\w.]*", text.partition(", author")[0])
    return 0 < len(words) <= 9 and all(w[0].isupper() or w in _SMALL for w in words)


def mistaken(words: Sequence[Token], matches: Sequence[Match | None], row: Row) -> tuple[int, Review, Review] | None:
    """A name of a claim, by number, that signs another review than the one that the claim tells; and both reviews."""
    signed = reviews(row.content)
    if len(signed) < 2:
        return None
    names = [n for n, (t, m) in enumerate(zip(words, matches, strict=True)) if t.name and m and m.score >= SAME]
    signs = {n: {r for r in signed for at in _places(words[n], row) if r.said <= at < r.end} for n in names}
    signs = {n: some for n, some in signs.items() if some}
    if not signs:
        return None
    common = set.intersection(*signs.values())  # "Sunday Express" is not every paper of a Sunday
    told: dict[Review, int] = dict.fromkeys(signed, 0)
    for n, (token, match) in enumerate(zip(words, matches, strict=True)):
        if match and match.score >= DERIVED and n not in signs:
            for review in signed:
                told[review] += any(review.start <= at < review.said for at in _places(token, row, match))
    best = max(signed, key=lambda r: told[r])
    if not common or best in common or all(words[n].text in best.name.lower() for n in signs):
        return None
    own = max(told[r] for r in common)
    name, review = next(iter(signs)), next(iter(common))
    return (name, review, best) if told[best] >= 2 and told[best] >= own + 2 else None


def _places(token: Token, row: Row, match: Match | None = None) -> list[int]:
    """Where the content has a word."""
    at = {*row.by.get(token.text, ()), *([match.at] if match else ())}
    return [row.tokens[n].start for n in at if row.tokens[n].sentence >= 0]
