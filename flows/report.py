"""Report: a page about a catalogue: what was left out and why, before and after. `shardtune report` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import ready, sure
from tasks import prepare as verbs
from tasks import report as policy
from tasks.core import settings
from tasks.core.models import CatalogueReport
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe


@flow(name="report", flow_run_name="report {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def report(recipe: Recipe) -> CatalogueReport:
    """Prepare the catalogue, and write what a person wants to see of it as one HTML file under the root.

    With a `tune` the examples are counted in the tokens of its model. Where a chain of this name has a run in MLflow,
    the newest one gets the page as `catalogue.html`. Raises CatalogueError as `prepare` does.
    """
    recipe, prepared = ready(recipe) if recipe.tune else (recipe, sure(recipe))
    plan = verbs.plan(recipe.catalogue, settings.root())
    return policy.written(recipe, plan, prepared)
