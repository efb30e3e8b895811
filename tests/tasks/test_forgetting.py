"""What is asked to tell what a chain forgets: the last link, and its parent where it is not known how that answered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tasks import forgetting
from tasks.backends.contract import Link
from tasks.core.errors import TrainingError
from tasks.core.models import Finetuned, Prepared
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.recipe import loader

RECIPE = loader.load("demo", ["chain=true"])
PREPARED = Prepared.model_construct(shards=())
SCORES = {(0, 0): 20.0, (1, 0): 10.0, (1, 1): 30.0, (2, 0): 19.0, (2, 1): 28.0, (2, 2): 25.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Which link was asked about which shard."""
    found: list[tuple[int, int]] = []

    def score(recipe, prepared, whom, taught):
        at = whom[0].train[0].shard, taught.train[0].shard
        found.append(at)
        return (SCORES[at],) * 20

    monkeypatch.setattr(forgetting, "_score", score)
    monkeypatch.setattr(forgetting.evidence, "forgetting", lambda run_id, made: None)
    monkeypatch.setattr(forgetting, "_show", lambda made: None)
    monkeypatch.setattr(forgetting.ledger, "finished", lambda key: done(int(key[-1])))
    return found


def done(link: int) -> Finetuned:
    return Finetuned.model_construct(key=f"key{link}", mlflow_run_id="run")


def chain(links: int) -> list[tuple[str, Link]]:
    made = [Link.model_construct(train=(SimpleNamespace(shard=n),)) for n in range(links)]
    return [(f"key{n}", link) for n, link in enumerate(made)]


def after(links: int, before: ForgettingMatrix | None, recipe=RECIPE) -> ForgettingMatrix:
    return forgetting.after(recipe, PREPARED, chain(links), done(links - 1), before)


def test_each_link_is_asked_once_about_every_shard_so_far(asked):
    known = after(2, after(1, None))
    assert asked == [(0, 0), (1, 0), (1, 1)]
    assert (known.scores, known.kept, known.forgotten[0].mean) == (((20.0,), (10.0, 30.0)), (True, False), 10.0)
    with pytest.raises(TrainingError, match=r"forgets shard 0 by 10\.0 chrF points.*forgetting\.then=branch"):
        forgetting.goes_on(RECIPE, known, done(1), done(0))
    assert after(3, known).kept == (True, False, True)
    assert asked[3:] == [(2, 0), (2, 1), (2, 2)]


def test_a_parent_that_an_older_version_measured_is_asked_again(asked):
    old = ForgettingMatrix(shards=(0,), keys=("key0",), scores=((50.0,),), kept=(True,), bound=5.0)
    known = after(2, old)
    assert asked == [(0, 0), (1, 0), (1, 1)] and known.scores == ((20.0,), (10.0, 30.0))
    assert list(known.forgotten) == [0]


def test_so_is_one_that_was_asked_in_another_way(asked):
    known = after(1, None)
    longer = loader.load("demo", ["chain=true", "evaluate.max_new_tokens=32"])
    assert after(2, known, longer).ways[0] == after(2, known, longer).ways[1] != known.ways[0]
    assert asked[:4] == [(0, 0), (0, 0), (1, 0), (1, 1)]
