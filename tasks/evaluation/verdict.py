"""Verdict: better, worse or can't tell, by a paired bootstrap over questions. (B. Efron, Ann. Statist. 7(1), 1979.)

Two models that are the same differ by chance alone, so the interval is a wide one: it errs on the side of "can't tell".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import NormalDist
from typing import Literal

import numpy as np

from tasks.core.models import Frozen
from tasks.evaluation.evalues import evalue

SCALES = {"chrf": 100.0}  # what a measure is at most; 1 where it is not here
LEVEL = 0.98  # of the interval: of 100 pairs of equal models, 2 are told apart by mistake
POWER = 0.8  # how surely `more` questions would bring a verdict, if the difference is what it seems
DRAWS, AT_ONCE = 10_000, 500
FEWEST = 20  # questions; below, an interval by resampling is too narrow to be believed

Word = Literal["better", "worse", "can't tell"]


class Verdict(Frozen):
    """Whether `new` scores above `old` on the same questions.

    `difference` is the mean of new - old, within `low` to `high`; `more` is how many more questions a verdict would
    need, None where there is one or where the difference is nothing. The word and the interval are for one look;
    `evidence` is for the gate, which looks every night: the e-value of "better" (None in records of older versions).
    """

    new: str
    old: str
    measure: str
    word: Word
    difference: float
    low: float
    high: float
    questions: int
    more: int | None = None
    evidence: float | None = None


def verdict(new: str, old: str, measure: str, pairs: Sequence[tuple[float, float]], seed: int = 0) -> Verdict:
    """The verdict over (score of new, score of old) of each question; more is better. ValueError without questions."""
    if not pairs:
        raise ValueError(f"{new!r} and {old!r} have no question in common: there is nothing to compare")
    gaps = np.array([a - b for a, b in pairs], dtype=float)
    low, high = _interval(gaps, seed)
    word: Word = "better" if low > 0 else "worse" if high < 0 else "can't tell"
    if len(gaps) < FEWEST:
        word = "can't tell"
    return Verdict(
        new=new,
        old=old,
        measure=measure,
        word=word,
        difference=round(float(gaps.mean()), 4),
        low=round(low, 4),
        high=round(high, 4),
        questions=len(gaps),
        more=_more(gaps) if word == "can't tell" else None,
        evidence=float(evalue(scaled(pairs, measure))),
    )


def scaled(pairs: Sequence[tuple[float, float]], measure: str) -> np.ndarray:
    """How much more the new one scored on each question, -1 to 1."""
    return np.array([a - b for a, b in pairs], dtype=float) / SCALES.get(measure, 1.0)


def _interval(gaps: np.ndarray, seed: int) -> tuple[float, float]:
    """Percentiles of the mean over questions drawn with replacement."""
    chance, means = np.random.default_rng(seed), []
    for _ in range(0, DRAWS, AT_ONCE):
        means.append(gaps[chance.integers(0, len(gaps), (AT_ONCE, len(gaps)))].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _more(gaps: np.ndarray) -> int | None:
    mean, spread = abs(float(gaps.mean())), float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    if not mean:
        return None
    normal = NormalDist()
    reach = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    return max(FEWEST, ceil((reach * spread / mean) ** 2)) - len(gaps) if spread or len(gaps) < FEWEST else None
