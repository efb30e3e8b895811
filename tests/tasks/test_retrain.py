"""Going on with a chain: a round that moves nothing ends it, and what was never measured is not asked for."""

from __future__ import annotations

import pytest

from tasks import resume
from tasks.backends.contract import Link
from tasks.catalogue.growth import Growth
from tasks.core.errors import BackendError
from tasks.core.models import Finetuned, Prepared
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.recipe import loader
from tasks.record.chain import ChainHistory, LearnedLink
from tasks.retrain import Done, Look, moving

RECIPE = loader.load("demo")


def past(links: int, rows: int = 0, kept: bool = True) -> ChainHistory:
    """A chain of so many links, of which the first `rows` were measured by an older version; `kept` is the last one."""
    taught = tuple(
        LearnedLink(
            f"key{n}", Link.model_construct(), RECIPE, Prepared.model_construct(shards=()), kept or n < links - 1
        )
        for n in range(links)
    )
    scores = tuple((20.0,) * (n + 1) for n in range(rows))
    shards, keys = tuple(range(rows)), tuple(f"key{n}" for n in range(rows))
    known = ForgettingMatrix(shards=shards, keys=keys, scores=scores, kept=(True,) * rows, bound=5.0) if rows else None
    return ChainHistory(taught, None, known)


def test_a_round_after_which_the_chain_knows_no_link_more_is_an_error():
    before, after = (Look(RECIPE, past(n), Growth((1,), None, (), (), 2)) for n in (0, 1))
    done = Done(before, (Finetuned.model_construct(key="lost"),))
    moving([], before)
    moving([done], after)
    with pytest.raises(BackendError, match="links lost just trained are missing"):
        moving([done], before)


@pytest.mark.parametrize(
    "links, rows, owed", [(1, 0, False), (2, 1, True), (3, 1, False), (3, 0, False), (3, 3, False)]
)
def test_only_a_last_row_that_is_missing_can_still_be_measured(links, rows, owed):
    assert resume.unjudged(RECIPE, past(links, rows)) is owed


def test_a_chain_that_an_older_version_stopped_by_means_alone_is_measured_again():
    assert resume.unjudged(RECIPE, past(3, 3, kept=False))
    assert not resume.unjudged(RECIPE.model_copy(update={"forgetting": None}), past(3, 3, kept=False))
