"""Links of a recipe: one, or a chain of them. Every link has its shards and its key before any job starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import check
from tasks.answers import corrections
from tasks.backends import get_backend
from tasks.backends.contract import Link
from tasks.backends.pricing import ARMS
from tasks.core import settings
from tasks.core.errors import BackendError, RecipeError
from tasks.core.models import Export, Finetuned, Prepared
from tasks.examples.templates import Rendering
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import LocalTune, Tune

log = logging.getLogger(__name__)


def tuning(recipe: Recipe) -> Tune:
    """The `tune` of a recipe; RecipeError where it has none."""
    if recipe.tune is None:
        raise RecipeError(f"recipe {recipe.name!r} has no 'tune': name a base model in tune.base_model")
    return recipe.tune


@task(name="open base model", cache_policy=NO_CACHE)
def rendering(recipe: Recipe) -> Rendering | None:
    """The chat template and tokenizer of this base model; None where its provider applies them."""
    return get_backend(tuning(recipe)).rendering(tuning(recipe))


def exporting(recipe: Recipe) -> Recipe:
    """The recipe, with `export.formats` set to the format of its backend."""
    wanted = get_backend(tuning(recipe)).format(tuning(recipe))
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"formats": (wanted,)})})


class PlannedLink(NamedTuple):
    """A link with the recipe and the shards that it is made from."""

    link: Link
    recipe: Recipe
    prepared: Prepared


def chain(recipe: Recipe, prepared: Prepared) -> tuple[Link, ...]:
    """The links of this recipe, first to last: one on all its shards, or with `chain` one on each shard.

    All keys are final now, because a key names its parent by key. The parent's model is filled in by `after`, once the
    parent has ended.
    """
    there = [s.index for s in prepared.shards]
    wanted = there if recipe.shards is None else list(recipe.shards)
    if missing := set(wanted) - set(there):
        raise RecipeError(
            f"shards = {sorted(missing)!r} do not exist: the catalogue has {len(there)} shards, counted from 0"
        )
    return further(recipe, prepared, wanted, None, 0)


def further(
    recipe: Recipe, prepared: Prepared, shards: Sequence[int], parent_key: str | None, before: int
) -> tuple[Link, ...]:
    """Links on these shards, after the link of key `parent_key`; `before` is the number of links so far."""
    parts = [[s] for s in shards] if recipe.chain else [shards]
    planned = [_link(recipe, prepared, mine, before + n + 1) for n, mine in enumerate(parts)]
    if recipe.export.from_feedback:
        planned[-1] = _corrected(planned[-1], prepared)
    made = _courses(planned)
    links: list[Link] = []
    for link in made:
        links.append(link.model_copy(update={"parent_key": links[-1].key if links else parent_key}))
    return tuple(links)


def _courses(links: list[Link]) -> list[Link]:
    """Give each link its step range in one learning-rate schedule over the chain, if the recipe wants such a one."""
    tune = links[0].tune if len(links) > 1 else None
    if not isinstance(tune, LocalTune) or tune.schedule_over == "link":
        return links
    steps = [tune.steps(sum(e.examples - _left_out(e, link) for e in link.train)) for link in links]
    return [link.model_copy(update={"course": (sum(steps[:n]), sum(steps))}) for n, link in enumerate(links)]


def _left_out(export: Export, link: Link) -> int:
    return (export.truncated or 0) if link.too_long == "drop" else 0


def _remembered(recipe: Recipe, before: int) -> int:
    """Forgetting questions of a link, for its quote. An exam asks ARMS models, these one: divide."""
    each = recipe.forgetting.questions if recipe.chain and recipe.forgetting else 0
    return ceil(before * each / ARMS)


def _link(recipe: Recipe, prepared: Prepared, shards: Sequence[int], before: int) -> Link:
    tune = tuning(recipe)
    mine = [e for e in prepared.exports if e.shard in shards and e.examples]
    train = check.apart(shards, prepared, recipe.apart).train
    holdout = tuple(e for e in mine if e.split == "holdout")
    if not train or not holdout:
        raise RecipeError(
            f"split.holdout_share = {recipe.split.holdout_share!r} leaves {sum(e.examples for e in train)} training "
            f"and {sum(e.examples for e in holdout)} holdout examples of shards {list(shards)!r}: both are needed"
        )
    backend = get_backend(tune)
    too_long = any(e.truncated for e in (*train, *holdout))
    return Link(
        name=recipe.name,
        backend=tune.kind,
        base_model=tune.base_model,
        base_digest=backend.base_digest(tune),
        endpoint=backend.endpoint(tune),
        train=check.counted(train, tune, recipe.export.fix),
        holdout=check.counted(holdout, tune, recipe.export.fix),
        heldout_rows=recipe.evaluate.heldout_rows,
        tune=tune,
        style=recipe.export.style,
        seed=recipe.seed,
        asked=recipe.evaluate.seen + recipe.evaluate.unseen + _remembered(recipe, before),
        answer_tokens=recipe.evaluate.max_new_tokens,
        too_long=tune.too_long if too_long and isinstance(tune, LocalTune) else None,
        retrain_days=recipe.retrain_days,
    )


def _corrected(link: Link, prepared: Prepared) -> Link:
    """The link, its last training examples those that people gave. What is left out of these is a warning each."""
    from tasks.record import feedback  # MLflow's client: prepare does without it

    usable, left_out = corrections.usable(feedback.corrections(), prepared.shards)
    for one, why in left_out:
        log.warning("the correction %r is not learned: %s", one.trace, why)
    if not usable:
        return link
    tune = link.tune
    made = corrections.added(
        link.train[-1], usable, prepared.shards, get_backend(tune).rendering(tune), settings.root()
    )
    return link.model_copy(update={"train": (*link.train[:-1], *check.counted((made,), tune, False))})


def after(link: Link, parent: Finetuned | None) -> Link:
    """The link, set to start from its parent's model; without a parent it starts from the base model."""
    if parent is None:
        return link
    if parent.model is None:
        raise BackendError(
            f"the link before ({parent.key[:8]}) left no model to start from: run the same command again"
        )
    left = {"parent_key": parent.key, "parent": parent.continue_from or parent.model, "parent_model": parent.model}
    return link.model_copy(update=left | {"parent_digest": parent.model_digest})
