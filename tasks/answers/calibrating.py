"""Calibrating: the weights and cuts of finding, fitted on questions made from the catalogue itself.

Logistic regressions, drawn towards the weights that shardtune brings (`weights.yaml`): a small catalogue has those, a
large one its own. The cuts are the lowest at which questions that a fit has not seen stay within the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from filelock import FileLock
from pydantic import Field

from tasks.answers import practice
from tasks.answers.index import Index, key_of
from tasks.answers.matching import BESIDE, FEATURES, Match, matched
from tasks.answers.reading import Asked, read
from tasks.answers.weighing import (
    LISTED,
    Cuts,
    Head,
    Judged,
    Weights,
    chance,
    coded,
    decide,
    hits,
    titled,
    weighed,
)
from tasks.core import store
from tasks.core.models import Frozen

VERSION, SEED = 1, 20261126
LEAST, MOST = 200, 1_000  # rows below which nothing is fitted, and from which questions are made
GROWN = 1.5  # a catalogue that is so much larger or smaller is fitted anew
DRAWN = 30.0  # how strongly weights are drawn towards those that shardtune brings


class Bounds(Frozen):
    """Shares of made questions that may go wrong."""

    wrong: float = 0.008  # answered from another product, of questions with a row
    rowless: float = 0.008  # answered, of questions without a row
    shown: float = 0.03  # answered or listed, of those whose row is hidden
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
    matches: tuple[Match, ...]
    index: Index

    def right(self, match: Match) -> bool:
        return key_of(match.row.title) in self.of.right


def examples(index: Index, rows: int = MOST, seed: int = SEED) -> list[Example]:
    """Made questions with what the index finds for them."""
    made = []
    for one in practice.practised(index, rows, seed):
        seen = index.without(one.hidden) if one.hidden else index
        asked = read(one.text, seen)
        found, exact = hits(asked, seen)
        matches = tuple(matched(asked, found, exact, seen)) if found and (not asked.bare or exact) else ()
        made.append(Example(one, asked, matches, seen))
    return made


def fitted(index: Index, rows: int | None = None) -> Calibration:
    """Weights and cuts for this index, from questions about `rows` of its rows."""
    made = examples(index, rows or min(MOST, len(index) // 2))
    return by(made, len(index), brought())


def by(made: Sequence[Example], rows: int, start: Calibration, drawn: float = DRAWN) -> Calibration:
    """Weights and cuts by these examples, drawn towards `start`. Cuts are of questions that a fit has not seen."""
    rank = _ranking(made, start.weights.rank, drawn)
    weights = start.weights.model_copy(update={"rank": rank})
    halves = [made[0::2], made[1::2]]
    trained = [heads(half, weights, drawn) for half in halves]
    judged = [(e, j) for half, w in zip(halves, reversed(trained), strict=True) for e, j in judgements(half, w)]
    cuts = cut(judged, start.bounds)
    return Calibration(
        rows=rows,
        questions=len(made),
        bounds=start.bounds,
        features=start.features,
        weights=heads(made, weights, drawn),
        cuts=cuts,
        measured=measured(judged, cuts),
    )


def _ranking(made: Sequence[Example], start: Head, drawn: float) -> Head:
    told = [e for e in made if any(e.right(m) for m in e.matches)]
    values = [m.values for e in told for m in e.matches]
    right = [e.right(m) for e in told for m in e.matches]
    return logistic(np.array(values), np.array(right, float), start, drawn) if told else start


def heads(made: Sequence[Example], weights: Weights, drawn: float) -> Weights:
    """The two heads fitted on these questions; the ranking stays."""
    told = [(e, j) for e, j in judgements(made, weights) if j.values]
    values = np.array([j.values for _, j in told])
    answer = np.array([_first(e, j) for e, j in told], float)
    listed = np.array([_among(e, j) for e, j in told], float)
    return weights.model_copy(
        update={
            "answer": logistic(values, answer, weights.answer, drawn),
            "listed": logistic(values, listed, weights.listed, drawn),
        }
    )


def judgements(made: Sequence[Example], weights: Weights) -> list[tuple[Example, Judged]]:
    """Every question with what these weights make of it."""
    found = []
    for example in made:
        ranked = [(m, chance(weights.rank.logit(m.values))) for m in example.matches]
        ranked.sort(key=lambda pair: -pair[1])
        judged = weighed(example.asked, ranked, weights) if ranked else Judged(example.asked, (), 0.0, 0.0)
        found.append((example, judged))
    return found


def _first(example: Example, judged: Judged) -> bool:
    """Whether the first product is right. A category has no first one."""
    return bool(judged.products) and example.of.kind != "category" and example.right(judged.first)


def _among(example: Example, judged: Judged) -> bool:
    return any(example.right(product[0][0]) for product in judged.products[:LISTED])


def logistic(values: Any, right: Any, start: Head, drawn: float = DRAWN) -> Head:
    """Logistic regression by Newton's method, its weights drawn towards `start` (`drawn`: how strongly).

    `values` has a row an example and a column a feature; `right` is 0 or 1 for each.
    """
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread < 1e-6] = 1.0
    x = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    old = np.array([start.start + float(mean @ np.array(start.weights)), *(np.array(start.weights) * spread)])
    pull = np.full(x.shape[1], drawn)
    pull[0] = 1e-3
    w = old.copy()
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (p - right) + pull * (w - old)
        curve = (x * (p * (1 - p) + 1e-6)[:, None]).T @ x + np.diag(pull)
        step = np.linalg.solve(curve, slope)
        w -= step
        if np.abs(step).max() < 1e-4:
            break
    plain = w[1:] / spread
    return Head(start=round(float(w[0] - mean @ plain), 5), weights=tuple(round(float(v), 5) for v in plain))


def cut(judged: Sequence[tuple[Example, Judged]], bounds: Bounds) -> Cuts:
    """The lowest cuts that keep within the bounds."""
    told = [(j.answer, j.listed, _first(e, j), e) for e, j in judged]
    sure = [bool(j.values) and (titled(j) or coded(j, e.index)) for e, j in judged]
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
            if not e.of.right and (e.of.kind in ("elsewhere", "general")) == strange
        ]
        listed = max(listed, _below(sorted(group, reverse=True), bound * len(group)))
    return Cuts(answer=round(min(answer, 0.995), 4), listed=round(min(listed, 0.995), 4))


def _below(chances: Sequence[float], allowed: float) -> float:
    """A cut that at most `allowed` of `chances` (highest first) reach."""
    many = round(allowed)
    return min(1.0, chances[many] + 1e-4) if many < len(chances) else 0.0


def measured(judged: Sequence[tuple[Example, Judged]], cuts: Cuts) -> dict[str, float]:
    """Shares of made questions that go right and wrong."""
    told: dict[str, list[bool]] = {}
    for example, j in judged:
        state = decide(j, cuts, example.index)
        if example.of.right:
            first, among = _first(example, j) or example.of.kind == "category", _among(example, j)
            told.setdefault("right", []).append(state == "one" and _first(example, j))
            told.setdefault("right_or_first", []).append(
                (state == "one" and _first(example, j)) or (state == "several" and first and among)
            )
            told.setdefault("in_it", []).append(
                (state == "one" and _first(example, j)) or (state == "several" and among)
            )
            told.setdefault("wrong", []).append(state == "one" and not _first(example, j))
            told.setdefault("found_first", []).append(_first(example, j))
            told.setdefault("found_in_five", []).append(among)
        else:
            name = "strange_declined" if example.of.kind in ("elsewhere", "general") else "hidden_declined"
            told.setdefault(name, []).append(state == "none")
            told.setdefault("rowless_answered", []).append(state == "one")
    return {name: round(sum(found) / len(found), 4) for name, found in told.items()}
