"""Flow runs as `status` needs them: asked of the Prefect server, or read from its file where no server runs.

Neither imports Prefect, which takes seconds; a server that plain HTTP cannot reach is asked by Prefect's own client.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tasks.core import settings
from tasks.core.errors import DamagedError
from tasks.orchestrator import api, switches

OPEN = ("RUNNING", "PENDING", "CANCELLING", "PAUSED")
BAD = ("FAILED", "CRASHED")


class Run(NamedTuple):
    """A top-level flow run, or a due one, at one moment."""

    id: str
    name: str
    kind: str  # the state's type, as RUNNING
    state: str  # the state's name, as AwaitingConcurrencySlot
    since: str  # ISO 8601, UTC
    message: str
    deployment: str | None
    pool: str | None
    labels: dict[str, Any]


class Pool(NamedTuple):
    """A work pool: whether a person paused it, and whether a worker polls it."""

    paused: bool
    polled: bool


class Seen(NamedTuple):
    """What was found: the runs, the pools by name, and what people switched, in words by name."""

    runs: tuple[Run, ...]
    pools: dict[str, Pool]
    people: dict[str, str]


def seen(lately: timedelta) -> Seen:
    """Runs that are open, due, or failed `lately`. ShardtuneError where a server that is named gives no answer."""
    if api.address():
        return _at_server(lately)
    return Seen(tuple(_in_file(Path(settings.prefect_home()) / "prefect.db", lately)), {}, {})


def _at_server(lately: timedelta) -> Seen:
    now = datetime.now(UTC)
    top = {"parent_task_run_id": {"is_null_": True}}
    criteria = (
        {"state": {"type": {"any_": list(OPEN)}}} | top,
        {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now.isoformat()}} | top,
        {"state": {"type": {"any_": list(BAD)}}, "end_time": {"after_": (now - lately).isoformat()}} | top,
    )
    runs = [_run(one) for each in criteria for one in api.every("/flow_runs/filter", {"flow_runs": each})]
    pools = list(api.every("/work_pools/filter"))
    return Seen(
        tuple(runs),
        {one["name"]: Pool(bool(one.get("is_paused")), one.get("status") == "READY") for one in pools},
        _people(pools),
    )


def _run(one: dict[str, Any]) -> Run:
    state = one.get("state") or {}
    return Run(
        id=one["id"],
        name=one["name"],
        kind=one["state_type"],
        state=one["state_name"],
        since=str(state.get("timestamp") or one["created"])[:19] + "+00:00",
        message=state.get("message") or "",
        deployment=one.get("deployment_id"),
        pool=one.get("work_pool_name"),
        labels=one.get("labels") or {},
    )


def _people(pools: list[dict[str, Any]]) -> dict[str, str]:
    """What people switched in Prefect since the files of this server's deployments last set it."""
    variables = api.ask("POST", "/variables/filter", {"variables": {"name": {"any_": [switches.RECORD]}}})
    if not variables or not isinstance(variables[0]["value"], dict):
        return {}
    files = variables[0]["value"]["switches"]
    ours = {name.partition(":")[0] for name in files}
    deployments = [one for one in api.every("/deployments/filter") if one["name"] in ours]
    mine = [one for one in pools if f"pool {one['name']}" in ours]
    now = switches.now(deployments, api.every("/automations/filter"), mine)
    return {
        name: f"{_word(is_)} (files: {_word(intended)})"
        for name, (intended, is_) in switches.changed(files, now).items()
    }


def _word(value: Any) -> str:
    return "none" if value is None else "yes" if value is True else str(value)


def _in_file(path: Path, lately: timedelta) -> Iterator[Run]:
    if not path.exists():
        return
    now, form = datetime.now(UTC), "%Y-%m-%d %H:%M:%S.%f"
    marks = ", ".join("?" * len(OPEN))
    wanted = (
        "SELECT r.id, r.name, r.state_type, r.state_name, COALESCE(r.state_timestamp, r.created), s.message, "
        "r.deployment_id, p.name, r.labels FROM flow_run r LEFT JOIN flow_run_state s ON s.id = r.state_id "
        "LEFT JOIN work_queue q ON q.id = r.work_queue_id LEFT JOIN work_pool p ON p.id = q.work_pool_id "
        f"WHERE r.parent_task_run_id IS NULL AND (r.state_type IN ({marks}) "
        "OR (r.state_type = 'SCHEDULED' AND r.expected_start_time < ?) "
        "OR (r.state_type IN (?, ?) AND r.end_time > ?)) ORDER BY r.created"
    )
    values = (*OPEN, now.strftime(form), *BAD, (now - lately).strftime(form))
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            listed = file.execute(wanted, values).fetchall()
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):  # whoever made it was killed at it; the next start goes on
            return
        raise DamagedError(
            f"Prefect's database {str(path)!r} cannot be read ({error}): run the same command again; where that does "
            "not help, put back a backup by `shardtune restore`, or move the file away to begin without flow runs"
        ) from error
    for id, name, kind, state, since, message, deployment, pool, labels in listed:
        when = f"{since[:19].replace(' ', 'T')}+00:00"
        yield Run(id, name, kind, state, when, message or "", deployment, pool, json.loads(labels or "{}"))
