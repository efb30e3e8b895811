"""Matching: whether a question names a product, by the words of its title, each weighed by how rare it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import log

from rapidfuzz.distance import DamerauLevenshtein

NAMED = 0.85  # share of the question's weight that the row must have
TITLED = 0.45  # share of the title's weight that the question must have
QUOTED = 5  # words of a description that name it without its title


def weight(titles: int, rows: int) -> float:
    """What a word tells that stands in `titles` of `rows` titles: the inverse document frequency of BM25."""
    return log(1 + (rows - titles + 0.5) / (titles + 0.5))


def same(word: str, other: str) -> bool:
    """Whether two words are one, up to a slip of the pen. Numbers have none: 12 and 13 are two products.

    Nor is it in the first letter: tomatoes are no potatoes.
    """
    if word == other:
        return True
    if min(len(word), len(other)) < 4 or word[0] != other[0] or any(c.isdigit() for c in word + other):
        return False
    allowed = 1 if min(len(word), len(other)) < 8 else 2
    return bool(DamerauLevenshtein.distance(word, other, score_cutoff=allowed) <= allowed)


def judge(
    asked: Sequence[str],
    title: Sequence[str],
    content: Sequence[str],
    weights: dict[str, float],
    spelt: Collection[str] = (),
) -> tuple[float, bool]:
    """How well a row answers to the words asked (0 to 1), and whether it is what they name.

    It is named where title and content have nearly all that the question says, the title most of it and its rarest
    word, and the question enough of the title; every number asked must be there. Or where the question is a piece of
    the description. Words that are `spelt` as in other titles are meant as they stand, and are no slip of the pen.
    """
    everywhere = set(content) | set(title)
    in_title = {w: w in title if w in spelt else any(same(w, other) for other in title) for w in asked}
    known = {word: in_title[word] or word in everywhere for word in asked}
    whole = sum(weights[word] for word in asked) or 1.0
    by_title = sum(weights[word] for word in asked if in_title[word]) / whole
    by_row = sum(weights[word] for word in asked if known[word]) / whole
    full = sum(weights.get(word, 1.0) for word in title) or 1.0
    of_title = sum(weights.get(word, 1.0) for word in title if any(same(other, word) for other in asked)) / full
    numbers = all(known[word] for word in asked if any(c.isdigit() for c in word))
    score = 0.5 * by_title + 0.3 * of_title + 0.2 * by_row
    rarest = max(asked, key=lambda word: weights[word], default="")
    named = by_row >= NAMED and by_title >= 0.6 and of_title >= TITLED and in_title.get(rarest, False)
    quoted = len(set(asked)) >= QUOTED and by_row >= 0.95
    return score, numbers and (named or quoted)
