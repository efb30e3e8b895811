"""Weighing: evidence to chances. A few dozen weights; no library is needed where questions are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Literal

from tasks.answers.index import Index, IndexedRow, key_of
from tasks.answers.matching import Match, beside, matched
from tasks.answers.reading import ASKS, Asked, read
from tasks.answers.words import subject
from tasks.core.models import Frozen

LOOKED, DESCRIBED, WORDS, LISTED = 20, 6, 12, 5  # rows looked at, by description, words looked for, products listed
CODE, CODED, CODE_SHARE = 5, 2, 0.6  # signs of a model number, rows that may have it, share of the question beside it
Decision = Literal["one", "several", "none"]


class Head(Frozen):
    """A logistic model: `weights` in the order of its features."""

    start: float
    weights: tuple[float, ...]

    def logit(self, values: Sequence[float]) -> float:
        return self.start + sum(w * v for w, v in zip(self.weights, values, strict=True))


class Weights(Frozen):
    """What ranks rows; the chance that the first is the product, and that it is one of the first five."""

    rank: Head
    answer: Head
    listed: Head


class Cuts(Frozen):
    """The least chances at which a product is answered from, and at which a list is shown."""

    answer: float
    listed: float


def chance(logit: float) -> float:
    """A logit as a chance, 0 to 1."""
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


@dataclass(frozen=True, slots=True)
class Judged:
    """What a question found: its matches by product, best first, and how sure the first one and the list are."""

    asked: Asked
    products: tuple[tuple[tuple[Match, float], ...], ...]
    answer: float
    listed: float
    values: tuple[float, ...] = ()

    @property
    def first(self) -> Match:
        return self.products[0][0][0]


def hits(asked: Asked, index: Index) -> tuple[list[tuple[IndexedRow, float]], frozenset[str]]:
    """Rows that may be meant, with their BM25 scores; and uids of those whose title the question is."""
    wanted: dict[str, float] = {}
    for term in sorted(asked.terms, key=lambda t: -t.weight)[:WORDS]:
        for reading, worth in term.readings:
            for stem in reading:
                wanted[stem] = max(wanted.get(stem, 0.0), worth * term.share)
    named = index.by_title(subject(asked.text))
    found = index.nearest(wanted, LOOKED)
    held, best = {row.uid for row, _ in found}, found[0][1] if found else 1.0
    told = [row for row, _ in index.nearest(wanted, DESCRIBED, title=0.5)] if len(asked.telling) > 2 else []
    for row in (*named, *told):
        if row.uid not in held:
            held.add(row.uid)
            found.append((row, best if row in named else found[-1][1]))
    return found, frozenset(row.uid for row in named)


def judge(question: str, index: Index, weights: Weights, part: bool = False) -> Judged:
    """The products that `question` may mean, and how sure that is.

    `part`: it is one side of a question about two products, so what it asks for stands on either side.
    """
    asked = read(question, index)
    if part:
        asked = replace(asked, terms=tuple(term for term in asked.terms if term.share > ASKS))
    found, exact = hits(asked, index)
    if not found or (asked.bare and not exact):
        return Judged(asked, _grouped([(m, 0.0) for m in matched(asked, found, exact, index)]), 0.0, 0.0)
    told = [(match, chance(weights.rank.logit(match.values))) for match in matched(asked, found, exact, index)]
    told.sort(key=lambda pair: -pair[1])
    return weighed(asked, told, weights)


def weighed(asked: Asked, ranked: list[tuple[Match, float]], weights: Weights) -> Judged:
    """Ranked matches with the chances of the two heads."""
    products = _grouped(ranked)
    others = [product[0] for product in products[1:]]
    values = (*ranked[0][0].values, *beside(ranked, others, asked.leans))
    return Judged(asked, products, chance(weights.answer.logit(values)), chance(weights.listed.logit(values)), values)


def _grouped(ranked: Sequence[tuple[Match, float]]) -> tuple[tuple[tuple[Match, float], ...], ...]:
    """Rows of one title are one product."""
    found: dict[str, list[tuple[Match, float]]] = {}
    for match, worth in ranked:
        found.setdefault(key_of(match.row.title), []).append((match, worth))
    return tuple(tuple(product) for product in found.values())


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
    if not judged.values:
        return "none"
    if judged.answer >= cuts.answer or titled(judged) or coded(judged, index):
        return "one"
    return "several" if judged.listed >= cuts.listed else "none"
