"""Switches: what a person can change in Prefect's UI, as files set it and as it is now.

A switch is named in words and has a short value: "retrain-demo: schedule nightly" is "on, 0 3 * * *". `register` keeps
every switch that a person has changed since files last set it, and `status` names them. Plain JSON in, plain JSON out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RECORD = "shardtune_registered"  # the server's variable: {"state": digest of the files, "switches": as files set them}
Json = Mapping[str, Any]


def limit(deployment: str) -> str:
    """The name of the switch: runs of this deployment at once."""
    return f"{deployment}: limit"


def schedule(deployment: str, one: Json) -> str:
    """The name of a schedule's switch; one that a person has added has no slug."""
    return f"{deployment}: schedule {one.get('slug') or 'of a person, ' + str(one.get('id', ''))[:8]}"


def trigger(name: str) -> str:
    """The name of a trigger's switch."""
    return f"trigger {name}"


def pool(name: str) -> str:
    """The name of the switch: runs of this pool at once."""
    return f"pool {name}: limit"


def timing(one: Json) -> str:
    """The value of a schedule, as Prefect gives it (`schedule` in it) or as prefect.yaml writes it."""
    times = one.get("schedule", one)
    every = times.get("cron") or times.get("rrule") or f"every {float(times.get('interval') or 0):g} s"
    return f"{state(one['active'])}, {every}"


def state(enabled: bool) -> str:
    """The value of what is on or off."""
    return "on" if enabled else "off"


def starts(automation: Json) -> str | None:
    """The id of the deployment that this automation runs; None where it does something else."""
    return next((one["deployment_id"] for one in automation.get("actions", ()) if one.get("deployment_id")), None)


def now(deployments: Iterable[Json], automations: Iterable[Json], pools: Iterable[Json]) -> dict[str, Any]:
    """All switches of these deployments, of the automations that start them, and of these pools."""
    values: dict[str, Any] = {}
    ours: set[str] = set()
    for one in deployments:
        ours.add(one["id"])
        values[limit(one["name"])] = (one.get("global_concurrency_limit") or {}).get("limit")
        values |= {schedule(one["name"], each): timing(each) for each in one.get("schedules", [])}
        if one.get("paused"):
            values[f"{one['name']}: paused"] = True
    for one in automations:
        if starts(one) in ours:
            values[trigger(one["name"])] = state(one["enabled"])
    for one in pools:
        values[pool(one["name"])] = one.get("concurrency_limit")
        if one.get("is_paused"):
            values[f"pool {one['name']}: paused"] = True
    return values


def times(deployments: Iterable[Json], automations: Iterable[Json]) -> dict[str, str]:
    """When each schedule of these deployments, and each automation that starts them, was changed last (ISO 8601)."""
    updated: dict[str, str] = {}
    ours: set[str] = set()
    for one in deployments:
        ours.add(one["id"])
        updated |= {schedule(one["name"], each): each["updated"] for each in one.get("schedules", [])}
    return updated | {trigger(one["name"]): one["updated"] for one in automations if starts(one) in ours}


def changed(files: Json, present: Json) -> dict[str, tuple[Any, Any]]:
    """What people have changed: as the files set it (None: they do not), and as it is (None: it was removed)."""
    names = {*files, *present}
    return {
        name: (files.get(name), present.get(name)) for name in sorted(names) if files.get(name) != present.get(name)
    }
