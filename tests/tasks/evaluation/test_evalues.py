"""E-values: for models that are no better they are 1 or less on average, whatever the scores look like."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from tasks.evaluation.evalues import GAIN, clear, evalue, hopeless


def test_on_average_they_are_one_where_nothing_is_gained():
    every = np.array(list(product([-1, 0, 0, 1], repeat=6)))
    assert evalue(every).mean() == pytest.approx(1.0)
    lost = np.array(list(product([-1, -1, 0.5, 0.5], repeat=6)))  # 0.25 less on average, and most questions are won
    assert evalue(lost).mean() < 1.0


def test_also_where_one_group_of_questions_gains_what_another_loses():
    seen, unseen = product([1, 1, 0, -1], repeat=3), product([-1, -1, 0, 1], repeat=3)
    assert evalue(np.array([a + b for a, b in product(seen, unseen)])).mean() < 1.0


def test_also_where_the_questions_are_drawn_from_few_products():
    products = [1.0, 1.0, 0.4, -0.4, -0.5, -0.5, -1.0]
    assert sum(products) == 0
    for many in range(1, 8):
        assert evalue(np.array(list(combinations(products, many)))).mean() <= 1.0 + 1e-12


def test_the_order_does_not_matter_and_a_gain_grows_with_the_questions():
    gaps = np.array([1.0, 0.0, -1.0, 1.0, 0.3])
    assert evalue(gaps) == pytest.approx(evalue(gaps[::-1]))
    many = np.tile(gaps, 100)
    assert evalue(many) > evalue(many[:250]) > 100 and evalue(np.zeros(50)) == 1.0
    assert np.isfinite(evalue(np.ones(100_000))) and evalue(-np.ones(100_000)) == 0.0


def test_a_night_ends_early_where_it_is_clear():
    chance = np.random.default_rng(1)
    better, worse = 2.0 * (chance.random((2, 1_000)) < [[0.75], [0.45]]) - 1
    assert clear(better, 1_000.0) and not hopeless(better)
    assert clear(worse, 1_000.0) and hopeless(worse) and evalue(worse) < 1
    gains = np.full(50, GAIN)
    assert not hopeless(gains + 0.01) and hopeless(gains - 0.01)
    assert not clear(np.array([1.0]), 1_000.0)
