"""Matching: what speaks for and against a row being the product asked about, as numbers that can be weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import log, log1p
from typing import NamedTuple

from rapidfuzz.distance import LCSseq

from tasks.answers.index import Index, IndexedRow
from tasks.answers.reading import Asked, Term
from tasks.answers.words import languages, stems

READ = 6_000  # characters of a description that are looked at
FEATURES = (
    "share_title",
    "share_row",
    "title_asked",
    "rarest_title",
    "rarest_row",
    "second_row",
    "numbers_missing",
    "numbers_found",
    "numbers_rare",
    "amount_title",
    "amount_row",
    "amount_left",
    "pairs_title",
    "pairs_row",
    "order_title",
    "order_asked",
    "unknown",
    "slips",
    "foreign",
    "missing_most",
    "missing_count",
    "few",
    "telling",
    "over_ideal",
    "over_best",
    "length",
    "whole_title",
    "exact",
    "row_x_asked",
    "title_x_amount",
    "row_squared",
    "nothing_missing",
    "foreign_x_row",
)
BESIDE = (
    "gap",
    "gap_share",
    "gap_asked",
    "equals",
    "full",
    "full_x_few",
    "next_four",
    "chance",
    "leans",
)  # of the first, beside the others


@dataclass(frozen=True, slots=True)
class Match:
    """A row beside a question: FEATURES in their order, and which of the question's words it has."""

    row: IndexedRow
    values: tuple[float, ...]
    title: tuple[float, ...]  # how well the title has each term, 0 to 1
    whole: tuple[float, ...]  # how well the row has it

    def value(self, name: str) -> float:
        return self.values[FEATURES.index(name)]


def matched(asked: Asked, hits: Sequence[tuple[IndexedRow, float]], exact: frozenset[str], index: Index) -> list[Match]:
    """Every hit (a row and its BM25 score) beside the question. `exact`: uids of rows whose title is the question."""
    best = max((score for _, score in hits), default=0.0) or 1.0
    common, neighbours = _common(asked, index), _neighbours(asked.terms)
    return [_match(asked, row, score, best, row.uid in exact, common, neighbours, index) for row, score in hits]


def _common(asked: Asked, index: Index) -> dict[str, float]:
    """The features that are of the question alone."""
    whole = sum(term.weight for term in asked.terms) or 1.0
    telling = asked.telling
    return {
        "unknown": sum(t.weight for t in asked.terms if t.unknown) / whole,
        "slips": sum(t.weight for t in asked.terms if t.slip) / whole,
        "foreign": sum(t.weight for t in asked.terms if t.foreign) / whole,
        "few": 1 / max(1, len(telling)),
        "telling": log1p(len(telling)),
        "size": log(index.size),
        "whole": whole,
    }


def _match(
    asked: Asked,
    row: IndexedRow,
    score: float,
    best: float,
    exact: bool,
    common: dict[str, float],
    neighbours: Sequence[Sequence[tuple[str, str]]],
    index: Index,
) -> Match:
    terms, size, whole = asked.terms, common["size"], common["whole"]
    text, dull = _text(row.title, row.content[:READ]), languages()["en"].stop
    title, in_title, in_row, pairs_title, pairs_row = text.title, text.in_title, text.in_row, text.pairs, text.all_pairs
    by_title = tuple(_has(term, in_title, pairs_title) for term in terms)
    by_row = tuple(_has(term, in_row, pairs_row) for term in terms)
    title_w = sum(t.weight * h for t, h in zip(terms, by_title, strict=True))
    row_w = sum(t.weight * h for t, h in zip(terms, by_row, strict=True))
    asked_stems = {s for t, h in zip(terms, by_title, strict=True) if h for r, _ in t.readings for s in r}
    named = [s for s in dict.fromkeys(title) if s not in dull] or title
    order = LCSseq.similarity(asked.stems, title)
    full = sum(index.weight(s) for s in named) or 1.0
    title_asked = sum(index.weight(s) for s in named if s in asked_stems) / full
    rarest = sorted(range(len(terms)), key=lambda n: -terms[n].weight)
    rare = [n for n in rarest if not terms[n].foreign][:2] or rarest[:2]
    numbers = [n for n, t in enumerate(terms) if t.number]
    missing = [t for t, h in zip(terms, by_row, strict=True) if not h]
    share_title, share_row = title_w / whole, row_w / whole
    values = {
        "share_title": share_title,
        "share_row": share_row,
        "title_asked": title_asked,
        "rarest_title": by_title[rare[0]] if rare else 0.0,
        "rarest_row": by_row[rare[0]] if rare else 0.0,
        "second_row": by_row[rare[-1]] if rare else 0.0,
        "numbers_missing": float(sum(not by_row[n] for n in numbers)),
        "numbers_found": float(sum(by_row[n] > 0 for n in numbers)),
        "numbers_rare": float(sum(by_row[n] > 0 and terms[n].rows <= 2 for n in numbers)),
        "amount_title": title_w / size,
        "amount_row": row_w / size,
        "amount_left": (row_w - size) / 10,
        "pairs_title": _adjacent(neighbours, pairs_title),
        "pairs_row": _adjacent(neighbours, pairs_row),
        "order_title": order / max(1, len(title)),
        "order_asked": order / max(1, len(asked.stems)),
        "missing_most": max((t.weight for t in missing), default=0.0) / size,
        "missing_count": log1p(sum(t.share > 0.5 for t in missing)),
        "over_ideal": score / (6.6 * whole),
        "over_best": score / best,
        "length": log1p(text.length) / 5,
        "whole_title": float(title_asked > 0.999),
        "exact": float(exact),
        "row_x_asked": share_row * title_asked,
        "title_x_amount": share_title * title_w / size,
        "row_squared": share_row**2,
        "nothing_missing": float(share_row > 0.999),
        "foreign_x_row": common["foreign"] * share_row,
    }
    return Match(row, tuple(values.get(name, common.get(name, 0.0)) for name in FEATURES), by_title, by_row)


def _has(term: Term, held: set[str], pairs: set[tuple[str, str]]) -> float:
    """How well a text has a term; a reading of two words counts only where they stand side by side."""
    for reading, worth in term.readings:
        if reading[0] in held if len(reading) == 1 else reading in pairs:
            return worth
    return 0.0


class _Text(NamedTuple):
    """A row as words."""

    title: list[str]
    in_title: set[str]
    in_row: set[str]
    pairs: set[tuple[str, str]]  # neighbours in the title
    all_pairs: set[tuple[str, str]]
    length: int


@lru_cache(512)  # rows that one question finds are found by the next
def _text(title: str, content: str) -> _Text:
    named, told = stems(title), stems(content)
    pairs = _pairs(named)
    return _Text(named, set(named), {*named, *told}, pairs, pairs | _pairs(told), len(told))


def _pairs(words: Sequence[str]) -> set[tuple[str, str]]:
    """Neighbours in a text, with and without the words that every text has."""
    dull = languages()["en"].stop
    told = [w for w in words if w not in dull]
    return {*pairwise(words), *pairwise(told)}


def _neighbours(terms: Sequence[Term]) -> list[list[tuple[str, str]]]:
    """Neighbours in a question, in all readings of each two."""
    told = [[s for r, _ in t.readings for s in r] for t in terms]
    return [[(a, b) for a in one for b in two] for one, two in pairwise(told)]


def _adjacent(neighbours: Sequence[Sequence[tuple[str, str]]], pairs: set[tuple[str, str]]) -> float:
    """Share of the question's neighbours that are neighbours in the text too."""
    return sum(any(pair in pairs for pair in two) for two in neighbours) / max(1, len(neighbours))


def beside(ranked: Sequence[tuple[Match, float]], others: Sequence[tuple[Match, float]], leans: bool) -> list[float]:
    """The first product beside the others: BESIDE in its order.

    `ranked` are all matches with their chances, best first; `others` those of them that are other products.
    """
    first, chance = ranked[0]
    second = others[0] if others else None
    equal = sum(
        match.value("share_row") >= first.value("share_row") - 0.02
        and match.value("share_title") >= first.value("share_title") - 0.02
        for match, _ in others
    )
    # Products that have every word asked, as those of a category do.
    full = log1p(sum(m.value("nothing_missing") for m, _ in others)) if first.value("nothing_missing") else 0.0
    return [
        chance - (second[1] if second else 0.0),
        first.value("share_row") - (second[0].value("share_row") if second else 0.0),
        first.value("title_asked") - (second[0].value("title_asked") if second else 0.0),
        log1p(equal),
        full,
        full * first.value("few"),
        sum(worth for _, worth in others[:4]),
        chance,
        float(leans),
    ]
