"""The demo recipe, shortened to seconds, for tests that fine-tune the real small model."""

from __future__ import annotations

from pathlib import Path

from mlflow.entities import Run

from deployments.demo import catalogue
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.record import ledger, names

STEPS = 8
SHORT = (
    "catalogue.lines_per_shard=200",
    "split.holdout_share=0.3",
    f"tune.max_steps={STEPS}",
    "tune.batch_size=4",
    "tune.max_length=96",
    "tune.warmup_steps=1",
    "tune.checkpoint_steps=2",
    "evaluate={seen: 2, unseen: 1, heldout_rows: 8, max_new_tokens: 12}",
)


def overrides(place: Path, *more: str) -> list[str]:
    """What makes the demo recipe short; its catalogue is made up under `place`, once."""
    source = place / "catalogue.json"
    if not source.exists():
        catalogue.write(str(source), 400)
    return [f"catalogue.uri={source}", *SHORT, *more]


def recipe(place: Path, *more: str) -> Recipe:
    """The shortened recipe."""
    return loader.load("demo", overrides(place, *more))


def runs(key: str) -> list[Run]:
    """Every MLflow run of the key."""
    api = ledger.client()
    experiment = api.get_experiment_by_name(ledger.EXPERIMENT)
    return list(api.search_runs([experiment.experiment_id], f"tags.`{names.KEY}` = '{key}'"))
