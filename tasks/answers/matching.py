"""Matching: what speaks for and against a row being the product asked about, as numbers that can be weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import log, log1p
from typing import Any, NamedTuple

import numpy as np
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
_PLACE = {name: n for n, name in enumerate(FEATURES)}


@dataclass(frozen=True, slots=True)
class Match:
    """A row beside a question: FEATURES in their order, and which of the question's words its title has."""

    row: IndexedRow
    values: Any  # a number a feature
    title: Any  # how well the title has each term, 0 to 1

    def value(self, name: str) -> float:
        return float(self.values[_PLACE[name]])


@dataclass(frozen=True, slots=True)
class Matches:
    """Rows beside one question: `values` has a column a feature, `title` and `whole` (title or content) one a term."""

    rows: tuple[IndexedRow, ...]
    values: Any
    title: Any
    whole: Any

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> Match:
        return Match(self.rows[n], self.values[n], self.title[n])


def matched(asked: Asked, hits: Sequence[tuple[IndexedRow, float]], exact: frozenset[str], index: Index) -> Matches:
    """Every hit (a row and its BM25 score) beside the question. `exact`: uids of rows whose title is the question."""
    rows = tuple(row for row, _ in hits)
    scores = np.array([score for _, score in hits])
    has = [_has(asked, _words(row.title, row.content[:READ])) for row in rows]
    seen = _Seen(*(np.array(part, float) for part in zip(*has, strict=True)))
    told = _by_terms(asked, seen, scores, index) | _by_titles(asked, seen, rows, exact, index)
    told["row_x_asked"] = told["share_row"] * told["title_asked"]
    values = np.empty((len(rows), len(FEATURES)))
    for n, name in enumerate(FEATURES):
        values[:, n] = told[name]
    return Matches(rows, values, seen.title, seen.row)


class _Seen(NamedTuple):
    """What rows have of a question. `title`, `row`: how well, a column a term; the others a number a row."""

    title: Any
    row: Any
    pairs_title: Any  # neighbours in the question that are neighbours in the title
    pairs_row: Any
    length: Any


def _by_terms(asked: Asked, seen: _Seen, scores: Any, index: Index) -> dict[str, Any]:
    """The features that follow from which terms a row has."""
    terms, size = asked.terms, log(index.size)
    weights = np.array([t.weight for t in terms])
    whole = float(weights.sum()) or 1.0
    title_w, row_w = seen.title @ weights, seen.row @ weights
    share_title, share_row, lacks = title_w / whole, row_w / whole, seen.row == 0
    rarest = sorted(range(len(terms)), key=lambda n: -terms[n].weight)
    rare = [n for n in rarest if not terms[n].foreign][:2] or rarest[:2]
    numbers = np.array([t.number for t in terms], bool)
    few_rows = np.array([t.rows <= 2 for t in terms], bool)
    foreign = sum(t.weight for t in terms if t.foreign) / whole
    telling, pairs = len(asked.telling), max(1, len(terms) - 1)
    return {
        "share_title": share_title,
        "share_row": share_row,
        "rarest_title": seen.title[:, rare[0]] if rare else 0.0,
        "rarest_row": seen.row[:, rare[0]] if rare else 0.0,
        "second_row": seen.row[:, rare[-1]] if rare else 0.0,
        "numbers_missing": (lacks & numbers).sum(axis=1),
        "numbers_found": (~lacks & numbers).sum(axis=1),
        "numbers_rare": (~lacks & numbers & few_rows).sum(axis=1),
        "amount_title": title_w / size,
        "amount_row": row_w / size,
        "amount_left": (row_w - size) / 10,
        "pairs_title": seen.pairs_title / pairs,
        "pairs_row": seen.pairs_row / pairs,
        "unknown": sum(t.weight for t in terms if t.unknown) / whole,
        "slips": sum(t.weight for t in terms if t.slip) / whole,
        "foreign": foreign,
        "missing_most": (lacks * weights).max(axis=1, initial=0.0) / size,
        "missing_count": np.log1p((lacks & np.array([t.share > 0.5 for t in terms], bool)).sum(axis=1)),
        "few": 1 / max(1, telling),
        "telling": log1p(telling),
        "over_ideal": scores / (6.6 * whole),
        "over_best": scores / (scores.max() or 1.0),
        "length": np.log1p(seen.length) / 5,
        "title_x_amount": share_title * title_w / size,
        "row_squared": share_row**2,
        "nothing_missing": share_row > 0.999,
        "foreign_x_row": foreign * share_row,
    }


def _by_titles(
    asked: Asked, seen: _Seen, rows: Sequence[IndexedRow], exact: frozenset[str], index: Index
) -> dict[str, Any]:
    """The features that follow from how much of a title was asked, and in which order."""
    dull = languages()["en"].stop
    readings = [{s for reading, _ in term.readings for s in reading} for term in asked.terms]
    shares, orders, lengths = [], [], []
    for row, has in zip(rows, seen.title, strict=True):
        title = stems(row.title)
        named = [s for s in dict.fromkeys(title) if s not in dull] or title
        held = {s for reading, h in zip(readings, has, strict=True) if h for s in reading}
        full = sum(map(index.weight, named)) or 1.0
        shares.append(sum(index.weight(s) for s in named if s in held) / full)
        orders.append(LCSseq.similarity(asked.stems, title))
        lengths.append(max(1, len(title)))
    order, title_asked = np.array(orders, float), np.array(shares)
    return {
        "title_asked": title_asked,
        "order_title": order / np.array(lengths),
        "order_asked": order / max(1, len(asked.stems)),
        "whole_title": title_asked > 0.999,
        "exact": np.array([row.uid in exact for row in rows]),
    }


def _has(asked: Asked, words: _Words) -> tuple[list[float], list[float], int, int, int]:
    """What one row has of a question: the fields of `_Seen`."""
    places = _places({s for term in asked.terms for reading, _ in term.readings for s in reading}, words)
    in_title = [_best(term, places, True) for term in asked.terms]
    in_row = [_best(term, places, False) for term in asked.terms]
    beside = beside_row = 0
    for one, two in pairwise(asked.terms):
        if not (one.readings and two.readings):
            continue
        met = [_meet(a, b, places) for r, _ in one.readings for a in r for q, _ in two.readings for b in q]
        beside += 1 in met
        beside_row += any(met)
    return in_title, in_row, beside, beside_row, len(words.content)


class _Words(NamedTuple):
    """A row as stems."""

    title: list[str]
    content: list[str]


@lru_cache(512)  # rows that one question finds are found by the next
def _words(title: str, content: str) -> _Words:
    return _Words(stems(title), stems(content))


Places = dict[
    str, tuple[list[int], list[int]]
]  # of a stem: all places, and those where words that tell nothing are out
_APART = 1_000_000  # title and content


def _places(wanted: set[str], words: _Words) -> Places:
    """Where the title (places below _APART) and the content have these stems."""
    dull = languages()["en"].stop
    found: Places = {}
    for start, text in ((0, words.title), (_APART, words.content)):
        skipped = 0
        for n, stem in enumerate(text, start):
            if stem in wanted:
                every, telling = found.setdefault(stem, ([], []))
                every.append(n)
                telling.append(n - skipped)
            elif stem in dull:
                skipped += 1
    return found


def _best(term: Term, places: Places, title: bool) -> float:
    """How well a text has a term; a reading of two words counts only where they stand side by side."""
    for reading, worth in term.readings:
        if len(reading) == 1:
            held = places.get(reading[0])
            if held and (not title or held[0][0] < _APART):
                return worth
        elif (met := _meet(reading[0], reading[1], places)) and (not title or met == 1):
            return worth
    return 0.0


def _meet(one: str, two: str, places: Places) -> int:
    """Whether two stems are neighbours, `one` first: 1 in the title, 2 in the content only, 0 nowhere."""
    if one not in places or two not in places:
        return 0
    where = [a for every, after in zip(places[one], places[two], strict=True) for a in every if a + 1 in after]
    return 0 if not where else 1 if min(where) < _APART else 2


def beside(chances: Any, values: Any, others: Sequence[int], leans: bool) -> list[float]:
    """The first product beside the others: BESIDE in its order.

    `chances` and `values` are of all matches, best first; `others` the places of the first row of each other product.
    """
    chance, best, rest = float(chances[0]), values[0], values[others]
    row, title, asked, whole = (_PLACE[n] for n in ("share_row", "share_title", "title_asked", "nothing_missing"))
    second = rest[0] if others else best
    equal = ((rest[:, row] >= best[row] - 0.02) & (rest[:, title] >= best[title] - 0.02)).sum() if others else 0
    # Products that have every word asked, as those of a category do.
    full = log1p(rest[:, whole].sum()) if others and best[whole] else 0.0
    return [
        chance - (float(chances[others[0]]) if others else 0.0),
        best[row] - (second[row] if others else 0.0),
        best[asked] - (second[asked] if others else 0.0),
        log1p(equal),
        full,
        full * best[_PLACE["few"]],
        float(chances[others[:4]].sum()) if others else 0.0,
        chance,
        float(leans),
    ]
