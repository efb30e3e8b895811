"""Forgetting: equal links are hardly ever stopped, however long the chain, and a real loss is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tasks.evaluation.forgetting import STOPPED, ForgettingMatrix, forgets, heat_map, interval, level
from tasks.recipe.model import Forgetting
from tests.kit import recorded

MANY, LINKS, BOUND = Forgetting().questions, 70, Forgetting().bound
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]  # what a link's answers score above their question


def matrix(
    *means: tuple[float, ...],
    kept: tuple[bool, ...] = (),
    bound: float = 5.0,
    many: int = 30,
    ways: tuple[str, ...] = (),
) -> ForgettingMatrix:
    """Links whose answers to the questions of a shard all score the same."""
    count = len(means)
    return ForgettingMatrix(
        shards=tuple(range(count)), keys=("k",) * count, scores=means, kept=kept or (True,) * count, bound=bound,
        answers=tuple(tuple((mean,) * many for mean in row) for row in means), ways=ways or ("",) * count,
    )  # fmt: skip


def normal(spread: float) -> Draw:
    return lambda chance, shape: spread * chance.standard_normal(shape, np.float32)


def copied(chance: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A few answers are the row word for word, the others have little of it: what few questions tell about is rare."""
    return np.where(chance.random(shape, np.float32) < 0.04, 60.0, normal(4.0)(chance, shape))


def same(chance: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Most answers are those of the link before, letter for letter."""
    return np.where(chance.random(shape, np.float32) < 0.8, 0.0, normal(20.0)(chance, shape).round(1))


@pytest.mark.parametrize("draw", [normal(7.0), normal(15.0), copied, same], ids=["7", "15", "copied", "same"])
def test_equal_links_are_hardly_ever_stopped_in_a_chain_of_seventy(draw):
    chances = [np.random.default_rng(seed) for seed in range(2)]
    assert np.mean([stopped(lambda shape, chance=one: draw(chance, shape)) for one in chances]) <= STOPPED


def stopped(answers: Callable[[tuple[int, ...]], np.ndarray], chains: int = 100) -> float:
    """The share of chains that are stopped; `answers` are those of one link, (shards, chains, questions)."""
    gone = np.zeros(chains, bool)
    first, parent = (np.empty((LINKS, chains, MANY), np.float32) for _ in range(2))  # of each shard
    for link in range(LINKS):
        now = answers((link + 1, chains, MANY))
        for since in (first, parent) if link else ():
            mean, reach = interval(since[:link] - now[:link], level(link))
            gone |= forgets(mean, mean - reach, BOUND).any(axis=0)
        parent[: link + 1], first[link] = now, now[link]
    return float(gone.mean())


def test_scores_of_a_real_chain_drawn_again_are_judged_alike():
    """Each link answers a question as one of the real links did, so that all are equal; then one of them loses."""
    real = recorded.chrf()
    chance = np.random.default_rng(5)
    about = chance.integers(0, real.shape[1], (LINKS, 100, MANY))  # the questions on each shard of each chain

    def equal(shape: tuple[int, ...]) -> np.ndarray:
        return real[chance.integers(0, len(real), shape), about[: shape[0]]]

    assert stopped(equal) <= STOPPED
    first, later = equal((LINKS, 100, MANY)), equal((LINKS, 100, MANY)) - 2 * BOUND
    mean, reach = interval(first - later, level(LINKS - 1))
    assert forgets(mean, mean - reach, BOUND).mean() >= 0.9


def test_a_threshold_on_the_mean_alone_would_not_do():
    chance = np.random.default_rng(1)
    first, now = chance.normal(0.0, 7.0, (2, LINKS, 100, 8))
    assert ((first - now).mean(axis=-1) > BOUND).any(axis=0).mean() > 0.5


@pytest.mark.parametrize("link", [1, 10, 67])
@pytest.mark.parametrize("draw", [normal(5.0), normal(8.0)], ids=["5", "8"])
def test_a_loss_of_twice_the_bound_is_caught_within_three_links(draw, link):
    chance, chains = np.random.default_rng(link), 1_000
    first, parent = draw(chance, (2, chains, MANY))
    caught = np.zeros(chains, bool)
    for later in range(3):
        now = draw(chance, (chains, MANY)) - 2 * BOUND
        for since in (first, parent):
            mean, reach = interval(since - now, level(link + later))
            caught |= forgets(mean, mean - reach, BOUND)
        parent = now
    assert caught.mean() >= 0.9


def test_the_interval_of_equal_links_leaves_out_zero_as_seldom_as_it_says():
    chance = np.random.default_rng(3)
    for draw in (normal(1.0), copied, same):
        first, now = draw(chance, (2, 20_000, 40))
        mean, reach = interval(first - now, 0.01)
        assert (mean - reach > 0).mean() <= 0.01
    assert interval(np.array([9.0, 11.0]), 0.01)[1] == np.inf  # two questions tell nothing


def test_what_is_forgotten_is_lost_since_the_parent_or_since_it_was_learned():
    assert matrix((20.0,)).losses == () and matrix((20.0,)).drops == {}
    found = matrix((20.0,), (17.0, 30.0), (14.0, 28.0, 9.0))
    assert [(loss.shard, loss.since, loss.mean) for loss in found.losses] == [(0, 0, 6.0), (0, 1, 3.0), (1, 1, 2.0)]
    assert found.drops == {0: 6.0, 1: 2.0} and list(found.forgotten) == [0]
    lost = "forgets shard 0 by 6.0 chrF points [6.0, 6.0] since the link on shard 0, 30 questions"
    assert found.told == f"the link on shard 2 {lost} (bound 5)"
    gained = matrix((20.0,), (26.0, 30.0), (19.0, 30.0, 9.0))
    assert gained.drops == {0: 7.0, 1: 0.0} and gained.forgotten[0].since == 1


def test_few_questions_forget_nothing_however_much_seems_lost():
    assert matrix((60.0,), (1.0, 30.0), many=8).drops == {0: 59.0}
    assert not matrix((60.0,), (1.0, 30.0), many=8).forgotten


def test_a_link_that_was_not_kept_is_nobodys_parent():
    branched = matrix((20.0,), (10.0, 30.0), (19.0, 28.0, 9.0), kept=(True, False, True))
    assert branched.drops == {0: 1.0} and not branched.forgotten


def test_links_that_were_asked_otherwise_or_by_nobody_count_for_nothing():
    gaps = matrix((), (), (16.0, 28.0, 9.0), (15.0, 20.0, 9.0, 8.0))
    assert list(gaps.forgotten) == [1] and matrix((), ()).drops == {}
    assert len(heat_map(gaps).axes[0].texts) == 7
    assert matrix((20.0,), (10.0, 30.0), ways=("short", "long")).losses == ()
    old = matrix((20.0,), (10.0, 30.0)).model_copy(update={"answers": (), "ways": ()})
    assert old.losses == () and old.drops == {} and not old.measured(1)


def test_the_heat_map_frames_what_was_forgotten():
    figure = heat_map(matrix((20.0,), (10.0, 30.0), (19.0, 28.0, 9.0), kept=(True, False, True)))
    (place, _) = figure.axes
    assert [t.get_text() for t in place.texts] == ["20.0", "10.0", "30.0", "19.0", "28.0", "9.0"]
    assert [(round(p.get_x()), round(p.get_y())) for p in place.patches] == [(0, 1)]
    assert [t.get_text() for t in place.get_yticklabels()] == ["0", "1, not kept", "2"]
    assert "framed: surely forgotten, more than 5 points" in place.get_title()
    assert "framed" not in heat_map(matrix((20.0,), (22.0, 30.0))).axes[0].get_title()
