"""Prepare: catalogue -> shards -> clean rows -> splits -> exports. `shardtune prepare --catalogue URI` runs it."""

from __future__ import annotations

from typing import NamedTuple

from prefect import flow

from tasks import links
from tasks import prepare as verbs
from tasks.catalogue import batch, card
from tasks.catalogue.decode import ChangedError
from tasks.catalogue.totals import total
from tasks.core import settings
from tasks.core.errors import CatalogueError
from tasks.core.models import Format, Plan, Prepared
from tasks.examples.templates import Rendering
from tasks.orchestrator import runner, runs
from tasks.recipe.model import Recipe

ATTEMPTS = 3
OF_MODEL: set[Format] = {"chat", "alpaca"}  # formats that are written with the template of a base model


class Work(NamedTuple):
    """A recipe whose exports have its backend's format, and what was prepared by it."""

    recipe: Recipe
    prepared: Prepared


@flow(name="prepare", flow_run_name="prepare {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def prepare(recipe: Recipe, rendering: Rendering | None = None, shards: int | None = None) -> Prepared:
    """Every line of the catalogue kept, dropped by a rule, or in quarantine; kept rows as clean shards and exports.

    All of it lies under the root of the settings; `shards` are the first so many of them, by default all. A catalogue
    that changes under the run is planned again.
    Raises CatalogueError when it keeps changing, cannot be read, or holds no usable row.
    """
    if rendering is None and recipe.tune and OF_MODEL & {*recipe.export.formats}:
        rendering = links.rendering(recipe)
    return under(settings.root(), recipe, rendering, shards)


def under(root: str, recipe: Recipe, rendering: Rendering | None = None, shards: int | None = None) -> Prepared:
    """As `prepare`, with another root. No parameter of a flow: a run form would write where it likes."""
    with runner.opened() as engine:
        for attempt in range(ATTEMPTS):
            plan = verbs.plan(recipe.catalogue, root, refresh=attempt > 0).first(shards)
            try:
                prepared = work(engine, plan, recipe, rendering, root)
            except ChangedError as error:
                changed = error
                continue
            card.write(prepared)
            verbs.summarise(prepared)
            return prepared
    raise CatalogueError(
        f"{plan.catalogue!r} changed during each of {ATTEMPTS} runs over it: wait until it is written"
    ) from changed


def sure(recipe: Recipe, rendering: Rendering | None = None, shards: int | None = None) -> Prepared:
    """What `prepare` returns, every byte of it read and found as it was written; what is not is made anew.

    For whoever goes on to train, upload, index or ask: `prepare` alone believes a file that has its size and time.
    """
    prepared = prepare(recipe, rendering, shards=shards)
    named = [e for e in prepared.exports if recipe.shards is None or e.shard in recipe.shards]
    return prepare(recipe, rendering, shards=shards) if batch.doubted(prepared.shards, named) else prepared


def ready(recipe: Recipe, shards: int | None = None, root: str | None = None) -> Work:
    """Prepare for the model of `tune`: exports in its backend's format and template. RecipeError without a `tune`.

    Under the root of the settings every byte is checked; `root` names an empty place, where all of it is made.
    """
    recipe = links.exporting(recipe)
    rendering = links.rendering(recipe)
    prepared = under(root, recipe, rendering, shards) if root else sure(recipe, rendering, shards)
    return Work(recipe, prepared)


def work(engine: runner.Runner, plan: Plan, recipe: Recipe, rendering: Rendering | None, root: str) -> Prepared:
    """All shards of one plan: clean, find what repeats, then settle and export."""
    rules = batch.rules_of(recipe.catalogue, recipe.clean, recipe.split)
    progress = verbs.Progress(len(plan.shards))
    cleaned = verbs.each(engine, verbs.clean_batch, plan.shards, rules, root, progress=progress)
    repeats = verbs.found_repeats(cleaned, rules, root)
    pairs = list(zip(cleaned, repeats, strict=True))
    rest = (rules, recipe.export, rendering, batch.folder_of(plan, recipe.catalogue, rules, root), root)
    finished = verbs.each(runner.near(engine, rendering), verbs.finish_batch, pairs, *rest, progress=progress)
    return total(plan, finished, recipe.catalogue.max_quarantined_share)
