"""Arrival: how an event says which catalogue has grown, so that it starts what is tuned on that catalogue and no more.

The event `shardtune.catalogue.arrived` names as related resources the place of what arrived and every place that
holds it: a new file arrives in its folder too. The trigger of a deployment waits for the place of its own catalogue.
"""

from __future__ import annotations

import re
from pathlib import Path

from tasks.core import store

EVENT, RESOURCE, ROLE = "shardtune.catalogue.arrived", "shardtune.catalogue", "catalogue"
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # OWNER/NAME at the hub, unless such a path is here


def resource(uri: str) -> str:
    """The id of the resource that stands for the catalogue at `uri`: its absolute path, or the URI."""
    path = store.local(uri)
    place = uri.rstrip("/")
    if path is not None and (path.expanduser().exists() or not REPOSITORY.fullmatch(uri)):
        place = str(Path(path).expanduser().resolve())
    return f"{RESOURCE}:{place}"


def related(uri: str) -> list[dict[str, str]]:
    """What an event about `uri` is related to: its place, then the places around it, innermost first."""
    places = [resource(uri)]
    head, divider, rest = places[0].removeprefix(f"{RESOURCE}:").rpartition("://")
    while "/" in rest.strip("/"):
        rest = rest.rpartition("/")[0]
        places.append(f"{RESOURCE}:{head}{divider}{rest}")
    return [{"prefect.resource.id": place, "prefect.resource.role": ROLE} for place in places]
