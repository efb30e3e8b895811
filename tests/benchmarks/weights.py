"""Weights: makes `tasks/answers/weights.yaml`, which finding brings, from catalogues of several kinds and sizes.

`python -m tests.benchmarks.weights CATALOGUE...`: questions are made from the rows of each, and logistic regressions
are fitted on all of them. The cuts are those of the same questions, judged by a fit on the other half.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import tasks.answers
from tasks.answers import calibrating, index
from tasks.answers.calibrating import Example, among, first, judgements
from tasks.answers.matching import BESIDE, FEATURES
from tasks.answers.weighing import Head, Weights
from tests.benchmarks.retrieval import rows_of

PLACE = Path(tasks.answers.__file__).parent / "weights.yaml"
ROWS = 1_200
SEED = 11  # not that of calibrating, so that no question is both learned from and measured
DRAWN = 1.0  # how strongly weights are drawn towards 0
NOTHING = Weights(
    rank=Head(start=0.0, weights=(0.0,) * len(FEATURES)),
    answer=Head(start=0.0, weights=(0.0,) * len((*FEATURES, *BESIDE))),
    listed=Head(start=0.0, weights=(0.0,) * len((*FEATURES, *BESIDE))),
)


def main(*catalogues: str) -> None:
    """Fit and write."""
    made: list[Example] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, catalogue in enumerate(catalogues):
            place = Path(folder, str(number))
            index.update(place, rows_of(catalogue)[0])
            opened = index.Index(place)
            made += calibrating.examples(opened, min(ROWS, len(opened)), SEED)
            print(f"{catalogue}: {len(opened):,} rows, {len(made):,} questions so far")
        write(made)


def write(made: Sequence[Example]) -> None:
    """Fit on these questions and write the weights of all, and cuts by a fit that has not seen what it judges."""
    halves = [made[0::2], made[1::2]]
    fits = [fitted(half) for half in reversed(halves)]
    judged = [pair for half, weights in zip(halves, fits, strict=True) for pair in judgements(half, weights)]
    cuts = calibrating.cut(judged, calibrating.Bounds())
    print(calibrating.measured(judged, cuts))
    names = {"rank": FEATURES, "answer": (*FEATURES, *BESIDE), "listed": (*FEATURES, *BESIDE)}
    told: dict[str, Any] = {}
    for name, head in fitted(made):
        told[name] = {"start": round(head.start, 3)}
        told[name] |= {n: round(w, 3) for n, w in zip(names[name], head.weights, strict=True)}
    told["cuts"] = cuts.model_dump()
    PLACE.write_text(yaml.safe_dump(told, sort_keys=False, width=120), encoding="utf-8")


def fitted(made: Sequence[Example]) -> Weights:
    """The three heads fitted on these questions: what ranks rows first, then the two that look at the best."""
    weights = NOTHING.model_copy(update={"rank": ranking(made)})
    told = [(e, j) for e, j in judgements(made, weights) if len(j.values)]
    values = np.array([j.values for _, j in told])
    answer = np.array([first(e, j) for e, j in told], float)
    listed = np.array([among(e, j) for e, j in told], float)
    return weights.model_copy(update={"answer": logistic(values, answer), "listed": logistic(values, listed)})


def ranking(made: Sequence[Example]) -> Head:
    told = [(e.matches, [row.key in e.of.right for row in e.matches.rows]) for e in made if e.matches]
    told = [(matches, right) for matches, right in told if any(right)]
    values, right = np.concatenate([m.values for m, _ in told]), np.concatenate([r for _, r in told])
    return logistic(values, right.astype(float))


def logistic(values: Any, right: Any) -> Head:
    """Logistic regression by Newton's method, its weights drawn towards 0.

    `values` has a row an example and a column a feature; `right` is 0 or 1 for each.
    """
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread < 1e-6] = 1.0
    x = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    pull = np.full(x.shape[1], DRAWN)
    pull[0] = 1e-3
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        slope = x.T @ (p - right) + pull * w
        curve = (x * (p * (1 - p) + 1e-6)[:, None]).T @ x + np.diag(pull)
        step = np.linalg.solve(curve, slope)
        w -= step
        if np.abs(step).max() < 1e-4:
            break
    plain = w[1:] / spread
    return Head(start=round(float(w[0] - mean @ plain), 5), weights=tuple(round(float(v), 5) for v in plain))


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main(*sys.argv[1:])
