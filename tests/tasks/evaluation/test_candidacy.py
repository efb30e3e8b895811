"""The gate over years: equal candidates hardly ever become champion, and a real gain does within a week."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from tasks.evaluation import evalues
from tasks.evaluation.candidacy import NOBODY, WRONG, Candidacy, following
from tasks.evaluation.forms import ROUNDS
from tasks.recipe.model import Comparing
from tests.kit import recorded

QUESTIONS = 2 * Comparing().gate
Night = Callable[[], np.ndarray]  # the gaps of a new candidate in every chain: (chains, questions)


def looked(gaps: np.ndarray, needed: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each chain whether the gate lets this night's candidate pass, and how many questions it asked."""
    passed, asked = np.zeros(len(gaps), bool), np.zeros(len(gaps), int)
    going = np.ones(len(gaps), bool)
    for part in ROUNDS:
        many = round(part * gaps.shape[1])
        mine = gaps[going, :many]
        asked[going], passed[going] = many, evalues.evalue(mine) >= needed
        going[going] = ~evalues.clear(mine, needed)
    return passed, asked


def over(nights: range, night: Night, champions: int = 0, needed: float | None = None) -> tuple[float, float]:
    """The share of chains in which a candidate of these nights passes, and the mean number of questions a night."""
    places = [Candidacy(champion="shop/1", champions=champions, number=number) for number in nights]
    found = [looked(night(), needed or place.needed) for place in places]
    return float(np.any([passed for passed, _ in found], axis=0).mean()), float(np.mean([asked for _, asked in found]))


def made(chains: int, rate: float, gain: float, common: float, seed: int = 1) -> Night:
    """Candidates that answer `gain` more of the questions right than the champion, whose answers are kept.

    `common` is the part of what decides an answer that lies in the question and so is shared by all models of a chain.
    """
    chance = np.random.default_rng(seed)
    hard = chance.standard_normal((chains, QUESTIONS), dtype=np.float32)

    def answers(share: float) -> np.ndarray:
        own = chance.standard_normal(hard.shape, dtype=np.float32)
        return np.sqrt(common) * hard + np.sqrt(1 - common) * own < NormalDist().inv_cdf(share)

    kept = answers(rate).astype(np.int8)
    return lambda: answers(rate + gain) - kept


@pytest.mark.parametrize(("rate", "common"), [(0.5, 0.0), (0.7, 0.6), (0.05, 0.6)])
def test_of_365_equal_nights_hardly_any_has_a_wrong_champion(rate, common):
    wrong, questions = over(range(1, 366), made(60, rate, 0.0, common), champions=0)
    assert wrong <= WRONG and questions < 0.6 * QUESTIONS


def test_answers_of_a_real_chain_drawn_again_are_judged_alike():
    """A candidate answers each question as one of the real links did: right is what is more like its row than most."""
    likeness, chance = recorded.chrf(), np.random.default_rng(5)
    right = likeness > np.median(likeness)
    about = chance.integers(0, right.shape[1], (60, QUESTIONS))

    def answers(gain: float) -> np.ndarray:
        more = chance.random(about.shape) < gain / (1 - right.mean())  # of those that were wrong
        return (right[chance.integers(0, len(right), about.shape), about] | more).astype(np.int8)

    kept = answers(0.0)
    assert over(range(1, 366), lambda: answers(0.0) - kept)[0] <= WRONG
    assert over(range(366, 373), lambda: answers(0.1) - kept, champions=1)[0] >= 0.8


def test_asking_for_the_same_evidence_every_night_would_not_do():
    assert over(range(1, 366), made(50, 0.7, 0.0, 0.6), needed=1 / WRONG)[0] > WRONG


@pytest.mark.parametrize("first", [1, 366])
@pytest.mark.parametrize(("rate", "common"), [(0.05, 0.6), (0.5, 0.0), (0.5, 0.3), (0.7, 0.6), (0.85, 0.3)])
def test_a_gain_of_ten_points_is_promoted_within_a_week_also_after_a_year(first, rate, common):
    found, _ = over(range(first, first + 7), made(200, rate, 0.1, common), champions=1)
    assert found >= 0.8


def test_all_levels_together_are_what_may_go_wrong():
    def level(champions: int, number: int) -> float:
        return Candidacy(champion="a", champions=champions, number=number).level

    many = 100_000
    rest = many ** (1 - evalues.DECAY) / (evalues.DECAY - 1) / evalues.ZETA  # of the shares after so many
    assert sum(evalues.share(n) for n in range(1, many + 1)) + rest <= 1
    shares = [level(champions, 1) / evalues.share(1) for champions in range(1_000)]
    assert WRONG * 0.99 < sum(shares) < WRONG
    assert all(level(2, n) > level(2, n + 1) for n in range(1, 400))


def test_a_new_champion_has_its_own_candidates_and_one_that_came_back_goes_on():
    tried: list[Candidacy] = []
    for champion in (None, None, "shop/2", "shop/2", "shop/4", "shop/2"):
        tried.append(following(tried, champion))
    told = [(one.champion, one.champions, one.number) for one in tried]
    assert told[:2] == [(NOBODY, 0, 1), (NOBODY, 0, 2)]
    assert told[2:] == [("shop/2", 1, 1), ("shop/2", 1, 2), ("shop/4", 2, 1), ("shop/2", 1, 3)]
    assert len({one.level for one in tried}) == len(tried)
    assert following([], "shop/9").champions == 0  # of a version that counted no candidates
