"""Steps of `prefect deploy`: what deployments/prefect.yaml takes from this checkout instead of repeating it.

Prefect puts what a step returns where the YAML says `{{ name }}`; what is wholly one placeholder keeps its type.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from tasks import recipes, settings, store
from tasks.record.describe import source

# Heartbeats: by them a sweep on another machine sees that a run is alive.
ENVIRONMENT = settings.EVERYWHERE | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}


def checkout() -> dict[str, Any]:
    """`folder`, in which flow runs work, so that relative paths mean what they mean here; `version`; and `env`."""
    commit = source().get("mlflow.source.git.commit", "")
    return {"folder": os.getcwd(), "version": f"{version('shardtune')} {commit[:8]}".strip(), "env": ENVIRONMENT}


def recipe(name: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """`recipe`, whole, with every default written out, and `told`, its description; without a name the default one.

    `there` says whether its catalogue is a path of this machine where something is: a schedule without one would fail.
    """
    loaded = recipes.load(name, overrides)
    path = store.local(loaded.catalogue.uri) if loaded.catalogue.uri else None
    there = path is not None and path.exists()
    return {"recipe": loaded.model_dump(mode="json"), "told": loaded.description, "there": there}
