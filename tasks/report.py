"""Prefect policy for `tasks.catalogue.quality`: where the page of a catalogue is kept, and what links to it."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from tasks.catalogue import batch, page, quality
from tasks.core import settings, store
from tasks.core.models import CatalogueReport, Plan, Prepared
from tasks.orchestrator import pages
from tasks.recipe.model import Recipe
from tasks.record import chain

NAME = "catalogue.html"


def written(recipe: Recipe, plan: Plan, prepared: Prepared) -> CatalogueReport:
    """The page, written under the root, kept in the newest MLflow run of the recipe's chain, and linked in Prefect."""
    rules = batch.rules_of(recipe.catalogue, recipe.clean, recipe.split)
    found = quality.look(plan, rules, prepared, getattr(recipe.tune, "max_length", None))
    text = page.html(found)
    uri = store.join(settings.root(), "reports", f"{recipe.name}.html")
    with store.writing(uri) as out:
        out.write(text.encode())
    run = chain.attach(recipe.name, text, NAME)
    if run:
        pages.recorded(run)
    rows = [("read", prepared.lines), ("kept", prepared.kept), *prepared.dropped.items()]
    rows += [(f"quarantine: {rule}", many) for rule, many in prepared.reasons.items()]
    table = "\n".join(f"| {what} | {many:,} |" for what, many in rows)
    about = f"Drift of the last shards: {found.drift.summary}." if found.drift else ""
    create_markdown_artifact(
        f"# {prepared.catalogue}\n\n| what | lines |\n|---|--:|\n{table}\n\n{about}\n\nThe page: `{uri}`"
        + (f", and `{NAME}` in the MLflow run" if run else ""),
        key="catalogue-report",
        description="what was left out of the catalogue and why",
    )
    return CatalogueReport(
        page=uri, catalogue=prepared.catalogue, lines=prepared.lines, kept=prepared.kept, dropped=prepared.dropped,
        quarantined=prepared.reasons, drift=found.drift.summary if found.drift else None, mlflow_run_id=run,
    )  # fmt: skip
