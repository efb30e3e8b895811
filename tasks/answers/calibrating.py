"""Calibrating: how sure finding must be in one catalogue, measured on questions made from the catalogue itself.

The weights are those that shardtune brings (`weights.yaml`), fitted on catalogues of several kinds and sizes. How far
they can be trusted depends on the catalogue: more products share more words. So each catalogue has cuts of its own,
half-way between those that shardtune brings and the lowest at which questions made from its rows stay in the bounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from pathlib import Path

import yaml
from filelock import FileLock
from pydantic import Field

from tasks.answers import practice
from tasks.answers.index import Index
from tasks.answers.matching import BESIDE, FEATURES, Match, Matches, matched
from tasks.answers.reading import KINDS, Asked, read
from tasks.answers.weighing import (
    LISTED,
    Cuts,
    Head,
    Judged,
    Weights,
    coded,
    decide,
    hits,
    titled,
    weighed,
)
from tasks.core import store
from tasks.core.models import Frozen

VERSION, SEED = 2, 20261126
LEAST, MOST = 200, 250  # rows below which nothing is measured, and from which questions are made
STRANGE = ("elsewhere", "general")  # kinds of questions about nothing that a catalogue ever had
GROWN = 1.5  # a catalogue that is so much larger or smaller is measured again


class Bounds(Frozen):
    """Shares of made questions that may go wrong."""

    wrong: float = 0.008  # answered from another product, of questions with a row
    rowless: float = 0.008  # answered, of questions without a row
    shown: float = 0.033  # answered or listed, of those whose row is hidden
    strange: float = 0.015  # the same, of those about nothing that the catalogue ever had


class Calibration(Frozen):
    """How finding weighs evidence in one catalogue, and what that was measured to do. `rows` 0: as it is brought."""

    version: int = VERSION
    seed: int = SEED
    rows: int
    questions: int
    bounds: Bounds = Bounds()
    features: tuple[str, ...]
    weights: Weights
    cuts: Cuts
    measured: dict[str, float] = Field(default_factory=dict)


@cache
def brought() -> Calibration:
    """The weights that shardtune brings."""
    held = yaml.safe_load((Path(__file__).parent / "weights.yaml").read_text(encoding="utf-8"))
    names = (*FEATURES, *BESIDE)
    heads = {
        head: Head(start=held[head]["start"], weights=tuple(held[head].get(n, 0.0) for n in of))
        for head, of in (("rank", FEATURES), ("answer", names), ("listed", names))
    }
    return Calibration(rows=0, questions=0, features=names, weights=Weights(**heads), cuts=Cuts(**held["cuts"]))


def of(index: Index) -> Calibration:
    """The calibration of this index: as stored beside it, or fitted now and stored; see GROWN."""
    if len(index) < LEAST:
        return brought()
    uri = str(index.folder / "finding.json")
    with FileLock(index.folder / "finding.lock"):
        held = store.kept(uri, Calibration)
        if held is None or not fresh(held, len(index)):
            held = fitted(index)
            store.keep(uri, held)
    return held


def fresh(held: Calibration, rows: int) -> bool:
    """Whether a calibration is of this version and of a catalogue of about this size."""
    same = (held.version, held.seed, held.features) == (VERSION, SEED, (*FEATURES, *BESIDE))
    return same and held.rows / GROWN <= rows <= held.rows * GROWN


@dataclass(frozen=True, slots=True)
class Example:
    """A made question as read and matched."""

    of: practice.Practised
    asked: Asked
    matches: Matches | None
    index: Index

    def right(self, match: Match) -> bool:
        return match.row.key in self.of.right


def examples(index: Index, rows: int = MOST, seed: int = SEED) -> list[Example]:
    """Made questions with what the index finds for them, but for those that something else answers."""
    made = []
    for one in practice.practised(index, rows, seed):
        seen = index.without(one.hidden) if one.hidden else index
        asked = read(one.text, seen)
        found, exact = hits(asked, seen)
        matches = matched(asked, found, exact, seen) if found and (not asked.bare or exact) else None
        if one.right or matches is None or not _told(one, asked, matches):
            made.append(Example(one, asked, matches, seen))
    return made


def _told(one: practice.Practised, asked: Asked, matches: Matches) -> bool:
    """Whether some title has all that a question tells, or some row what one of a description does.

    Nobody could say that such a question has no row, wherever its words were taken from.
    """
    telling = [n for n, term in enumerate(asked.terms) if term.share > KINDS]
    has = matches.whole if one.kind.endswith("described") else matches.title
    return bool((has[:, telling] > 0).all(axis=1).any())


def fitted(index: Index, rows: int = MOST) -> Calibration:
    """Cuts for this index, from questions about `rows` of its rows; weights as shardtune brings them."""
    held = brought()
    judged = judgements(examples(index, min(rows, len(index) // 2)), held.weights)
    cuts = _between(cut(judged, held.bounds), held.cuts)
    changed = {"rows": len(index), "questions": len(judged), "cuts": cuts, "measured": measured(judged, cuts)}
    return held.model_copy(update=changed)


def _between(own: Cuts, brought: Cuts) -> Cuts:
    """Cuts half-way, in logits. Two or three of a few hundred questions decide each cut of a catalogue alone."""

    def mean(one: float, other: float) -> float:
        odds = sqrt(one / (1 - one) * other / (1 - other))
        return round(odds / (1 + odds), 4)

    return Cuts(answer=mean(own.answer, brought.answer), listed=mean(own.listed, brought.listed))


def judgements(made: Sequence[Example], weights: Weights) -> list[tuple[Example, Judged]]:
    """Every question with what these weights make of it."""
    none = Judged(made[0].asked, (), 0.0, 0.0)
    return [(e, weighed(e.asked, e.matches, weights) if e.matches else replace(none, asked=e.asked)) for e in made]


def first(example: Example, judged: Judged) -> bool:
    """Whether the first product is right. A category has no first one."""
    return bool(judged.products) and example.of.kind != "category" and example.right(judged.first)


def among(example: Example, judged: Judged) -> bool:
    return any(example.right(product[0][0]) for product in judged.products[:LISTED])


def cut(judged: Sequence[tuple[Example, Judged]], bounds: Bounds) -> Cuts:
    """The lowest cuts that keep within the bounds."""
    told = [(j.answer, j.listed, first(e, j), e) for e, j in judged]
    sure = [bool(len(j.values)) and (titled(j) or coded(j, e.index)) for e, j in judged]
    with_row = sum(bool(e.of.right) for *_, e in told) or 1
    without = len(told) - with_row or 1
    wrong = sorted(
        (a for (a, _, right, e), s in zip(told, sure, strict=True) if e.of.right and not right), reverse=True
    )
    rowless = sorted((a for a, _, _, e in told if not e.of.right), reverse=True)
    answer = max(_below(wrong, bounds.wrong * with_row), _below(rowless, bounds.rowless * without), 0.3)
    listed = 0.2
    for strange, bound in ((False, bounds.shown), (True, bounds.strange)):
        group = [
            2.0 if a >= answer or s else li
            for (a, li, _, e), s in zip(told, sure, strict=True)
            if not e.of.right and (e.of.kind in STRANGE) == strange
        ]
        listed = max(listed, _below(sorted(group, reverse=True), bound * len(group)))
    return Cuts(answer=round(min(answer, 0.995), 4), listed=round(min(listed, 0.995), 4))


def _below(chances: Sequence[float], allowed: float) -> float:
    """A cut that at most `allowed` of `chances` (highest first) reach."""
    many = round(allowed)
    return min(1.0, chances[many] + 1e-4) if many < len(chances) else 0.0


def measured(judged: Sequence[tuple[Example, Judged]], cuts: Cuts) -> dict[str, float]:
    """Shares of made questions that go right and wrong."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for example, j in judged:
        state = decide(j, cuts, example.index)
        if example.of.right:
            category = example.of.kind == "category"  # any of its products may come first in a list
            right, inside = state == "one" and first(example, j), state == "several" and among(example, j)
            marks["right"].append(right)
            marks["right_or_first"].append(right or (inside and (category or first(example, j))))
            marks["in_it"].append(right or inside)
            marks["wrong"].append(state == "one" and not right)
            marks["found_first"].append(first(example, j))
            marks["found_in_five"].append(among(example, j))
        else:
            strange = example.of.kind in STRANGE
            marks["strange_declined" if strange else "hidden_declined"].append(state == "none")
            marks["rowless_answered"].append(state == "one")
    return {name: round(sum(found) / len(found), 4) for name, found in marks.items()}
