"""Weights: makes `tasks/answers/weights.yaml`, which finding brings, from catalogues of several sizes.

`python -m tests.benchmarks.weights CATALOGUE...`: questions are made from the rows of each, and one fit is made of all.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

import tasks.answers
from tasks.answers import calibrating, index
from tasks.answers.calibrating import BESIDE, FEATURES, Calibration
from tasks.answers.weighing import Head, Weights
from tests.benchmarks.retrieval import rows_of

PLACE = Path(tasks.answers.__file__).parent / "weights.yaml"
ROWS = 1_000


def main(*catalogues: str) -> None:
    """Fit and write."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, catalogue in enumerate(catalogues):
            place = Path(folder, str(number))
            index.update(place, rows_of(catalogue)[0])
            opened = index.Index(place)
            made += calibrating.examples(opened, min(ROWS, len(opened)))
            print(f"{catalogue}: {len(opened):,} rows, {len(made):,} questions so far")
        fitted = calibrating.by(made, 0, nothing(), drawn=10.0)
    print(fitted.measured)
    PLACE.write_text(yaml.safe_dump(plain(fitted), sort_keys=False, width=120), encoding="utf-8")


def nothing() -> Calibration:
    """A calibration that knows nothing: what is made does not depend on what was."""
    held = calibrating.brought()
    none = {name: Head(start=0.0, weights=(0.0,) * len(head.weights)) for name, head in held.weights}
    return held.model_copy(update={"weights": Weights(**none)})


def plain(fitted: Calibration) -> dict[str, Any]:
    """Weights by the names of their features."""
    told: dict[str, Any] = {}
    for head, names in (("rank", FEATURES), ("answer", (*FEATURES, *BESIDE)), ("listed", (*FEATURES, *BESIDE))):
        held = getattr(fitted.weights, head)
        told[head] = {"start": round(held.start, 3)} | {
            n: round(w, 3) for n, w in zip(names, held.weights, strict=True)
        }
    return told | {"cuts": fitted.cuts.model_dump()}


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main(*sys.argv[1:])
