"""Steps of `prefect deploy`: what deployments/prefect.yaml takes from this checkout instead of repeating it.

Prefect puts what a step returns where the YAML says `{{ name }}`; what is wholly one placeholder keeps its type.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from tasks.catalogue import arrival
from tasks.core import settings, store
from tasks.recipe import loader

# Heartbeats: by them a sweep on another machine sees that a run is alive.
ENVIRONMENT = settings.EVERYWHERE | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}


@functools.cache
def checkout() -> dict[str, Any]:
    """`version`: of the package, and the commit of this checkout."""
    from tasks.record.describe import source  # MLflow: not for whoever only asks whether something has changed

    commit = source().get("mlflow.source.git.commit", "")
    return {"version": f"{version('shardtune')} {commit[:8]}".strip()}


def recipe(name: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """`recipe`, whole, with every default written out, and `description`; without a name the default one.

    `there` says whether its catalogue is a path of this machine where something is: a schedule without one would fail.
    `place` is the resource that an event names where this catalogue has grown.
    """
    loaded = loader.load(name, overrides)
    path = store.local(loaded.catalogue.uri) if loaded.catalogue.uri else None
    there = path is not None and path.exists()
    place = arrival.resource(loaded.catalogue.uri) if loaded.catalogue.uri else f"{arrival.RESOURCE}:(none)"
    return {"recipe": loaded.model_dump(mode="json"), "description": loaded.description, "there": there, "place": place}
