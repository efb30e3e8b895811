"""Verdicts: equal models are not told apart, a better one is, and what is missing is told."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.verdict import FEWEST, LEVEL, Verdict, verdict


def of(new: list[float], old: list[float], seed: int = 0) -> Verdict:
    return verdict("new", "old", "answered", list(zip(new, old, strict=True)), seed)


def answered(chance: np.random.Generator, rate: float, questions: int) -> list[float]:
    """A model that gets each question right with this chance, as sampling at a temperature does."""
    return [float(x) for x in chance.random(questions) < rate]


@pytest.mark.parametrize(("questions", "rate"), [(40, 0.5), (100, 0.3), (100, 0.9)])
def test_two_identical_models_are_not_told_apart(questions, rate):
    words = []
    for seed in range(50):
        chance = np.random.default_rng(seed)
        words.append(of(answered(chance, rate, questions), answered(chance, rate, questions), seed).word)
    assert words.count("can't tell") >= 47


def test_the_same_answers_differ_by_nothing_and_no_number_of_questions_would_tell():
    found = of([1.0, 0.0] * 30, [1.0, 0.0] * 30)
    assert (found.word, found.difference, found.low, found.high, found.more) == ("can't tell", 0, 0, 0, None)


def test_a_model_that_gets_the_right_rows_is_better_and_the_other_worse():
    chance = np.random.default_rng(1)
    right, wrong = answered(chance, 0.9, 60), answered(chance, 0.1, 60)
    assert (of(right, wrong).word, of(wrong, right).word) == ("better", "worse")
    assert 0 < of(right, wrong).low < of(right, wrong).difference < of(right, wrong).high


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        found = of(list(chance.normal(0.53, 0.1, 80)), list(chance.normal(0.5, 0.1, 80)), seed)
        held += found.low <= 0.03 <= found.high
    assert held / 100 >= LEVEL - 0.04


def test_few_questions_bring_no_verdict_however_clear_they_are():
    found = of([1.0] * 8, [0.0] * 8)
    assert (found.word, found.more) == ("can't tell", FEWEST - 8)


def test_the_questions_that_are_missing_bring_a_verdict():
    def draw(seed: int, questions: int) -> Verdict:
        chance = np.random.default_rng(seed)
        return of(answered(chance, 0.6, questions), answered(chance, 0.5, questions), seed)

    few = next(
        v for v in (draw(seed, 60) for seed in range(100)) if v.word == "can't tell" and abs(v.difference - 0.1) < 0.01
    )
    assert few.more is not None and few.more > 60
    enough = [draw(seed, 60 + few.more).word for seed in range(20)]
    assert enough.count("better") >= 12 and "worse" not in enough


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="no question in common"):
        of([], [])
