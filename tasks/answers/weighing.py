"""Weighing: evidence to chances. A few dozen weights; no library is needed where questions are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tasks.answers.index import Index, IndexedRow
from tasks.answers.matching import Match, Matches, beside, matched
from tasks.answers.reading import ASKS, Asked, Term, read
from tasks.answers.words import subject
from tasks.core.models import Frozen

LOOKED, DESCRIBED, LISTED = 20, 6, 5  # rows looked at, by description, products listed
WORDS, TELLING = 8, 5  # words looked for, by description: in a million rows the commonest cost most and tell least
CODE, CODED, CODE_SHARE = 5, 2, 0.6  # signs of a model number, rows that may have it, share of the question beside it
Decision = Literal["one", "several", "none"]


class Head(Frozen):
    """A logistic model: `weights` in the order of its features."""

    start: float
    weights: tuple[float, ...]

    def chances(self, values: Any) -> Any:
        """The chance, 0 to 1, of each row of `values`, or of the one row that they are."""
        return 1 / (1 + np.exp(-np.clip(self.start + values @ np.array(self.weights), -30, 30)))


class Weights(Frozen):
    """What ranks rows; the chance that the first is the product, and that it is one of the first five."""

    rank: Head
    answer: Head
    listed: Head


class Cuts(Frozen):
    """The least chances at which a product is answered from, and at which a list is shown."""

    answer: float
    listed: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What a question found: its matches by product, best first, and how sure the first one and the list are."""

    asked: Asked
    products: tuple[tuple[tuple[Match, float], ...], ...]
    answer: float
    listed: float
    values: Any = ()

    @property
    def first(self) -> Match:
        return self.products[0][0][0]


def hits(asked: Asked, index: Index) -> tuple[list[tuple[IndexedRow, float]], frozenset[str]]:
    """Rows that may be meant, with their BM25 scores; and uids of those whose title the question is."""
    terms = sorted(asked.terms, key=lambda t: -t.weight)
    named = index.by_title(subject(asked.text))
    found = index.nearest(_boosts(terms[:WORDS]), LOOKED)
    held, best = {row.uid for row, _ in found}, found[0][1] if found else 1.0
    describes = len(asked.telling) > 2
    by_content = [row for row, _ in index.nearest(_boosts(terms[:TELLING]), DESCRIBED, title=0.5)] if describes else []
    for row in (*named, *by_content):
        if row.uid not in held:
            held.add(row.uid)
            found.append((row, best if row in named else found[-1][1]))
    return found, frozenset(row.uid for row in named)


def _boosts(terms: Sequence[Term]) -> dict[str, float]:
    """How much each stem counts in a search."""
    wanted: dict[str, float] = {}
    for term in terms:
        for reading, worth in term.readings:
            for stem in reading:
                wanted[stem] = max(wanted.get(stem, 0.0), worth * term.share)
    return wanted


def judge(question: str, index: Index, weights: Weights, part: bool = False) -> Judged:
    """The products that `question` may mean, and how sure that is.

    `part`: it is one side of a question about two products, so what it asks for stands on either side.
    """
    asked = read(question, index)
    if part:
        asked = replace(asked, terms=tuple(term for term in asked.terms if term.share > ASKS))
    found, exact = hits(asked, index)
    if not found:
        return Judged(asked, (), 0.0, 0.0)
    judged = weighed(asked, matched(asked, found, exact, index), weights)
    return replace(judged, answer=0.0, listed=0.0, values=()) if asked.bare and not exact else judged


def weighed(asked: Asked, matches: Matches, weights: Weights) -> Judged:
    """Matches by product, best first, with the chances of the two heads. Of equals the earlier row comes first."""
    chances = weights.rank.chances(matches.values)
    places = [(row.shard, row.line) for row in matches.rows]
    order = sorted(range(len(places)), key=lambda n: (-chances[n], places[n]))
    products: dict[str, list[int]] = {}  # rows of one title are one product
    for at, n in enumerate(order):
        products.setdefault(matches.rows[n].key, []).append(at)
    firsts = [product[0] for product in products.values()]
    chances, ordered = chances[order], matches.values[order]
    values = np.append(ordered[0], beside(chances, ordered, firsts[1:], asked.leans))
    told = [(matches[n], float(chances[at])) for at, n in enumerate(order)]
    return Judged(
        asked,
        tuple(tuple(told[at] for at in product) for product in products.values()),
        float(weights.answer.chances(values)),
        float(weights.listed.chances(values)),
        values,
    )


def coded(judged: Judged, index: Index) -> bool:
    """Whether a model number that hardly any title has names the first product, and no other number is missing."""
    first = judged.first
    if first.value("numbers_missing") or first.value("share_row") < CODE_SHARE:
        return False
    for term, has in zip(judged.asked.terms, first.title, strict=True):
        if not (term.number and has and len(term.stem) >= CODE and term.readings):
            continue
        unit = term.stem.lstrip("0123456789").isalpha()  # 16ounce, 8inch
        if not unit and 0 < min(index.titled(stem) for stem in term.readings[0][0]) <= CODED:
            return True
    return False


def titled(judged: Judged) -> bool:
    """Whether the question is a title, of two words or more that tell something, as it stands."""
    return bool(judged.first.value("exact")) and len(judged.asked.telling) > 1


def decide(judged: Judged, cuts: Cuts, index: Index) -> Decision:
    """What may be said: the product, a list, or nothing."""
    if not len(judged.values):
        return "none"
    if judged.answer >= cuts.answer or titled(judged) or coded(judged, index):
        return "one"
    return "several" if judged.listed >= cuts.listed else "none"
