"""Overview: which links' runs are open, and which failed lately.

Read without MLflow where that is plain (its REST API, or the SQLite file of the root): importing it takes seconds, and
`shardtune status` asks for nothing else. Any other store, or a file of another version, is left to MLflow's client.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tasks import settings
from tasks.errors import ServiceError
from tasks.record.names import EXPERIMENT, KEY, REASON, STATE, UNTIL, told

TOKENS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH")
PAGE = 1000


class Held(NamedTuple):
    """One MLflow run of a link. `state` is the ledger's word for it."""

    key: str
    run_id: str
    name: str
    state: str
    since: str  # ISO 8601, UTC
    reason: str
    url: str | None


class Row(NamedTuple):
    """A run as a store gives it; `start` in milliseconds since 1970."""

    run_id: str
    name: str
    start: int
    experiment: str
    tags: dict[str, str]


def open_runs() -> list[Held]:
    """The runs that are not ended, oldest first."""
    return [_held(row) for row in _rows("RUNNING", 0)]


def failed_runs(days: int) -> list[Held]:
    """The runs that failed in the last `days`, oldest first."""
    since = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)
    return [_held(row) for row in _rows("FAILED", since)]


def _rows(status: str, since: int) -> list[Row]:
    """Links' runs of this status that ended after `since` (0: have not ended). ServiceError where MLflow is away."""
    uri = settings.tracking_uri()
    try:
        plain = uri.startswith("http://") and "@" not in uri  # a login in an address is not for urllib
        if plain and not any(os.environ.get(name) for name in TOKENS):
            found = list(_at_server(uri.rstrip("/"), status, since))
        elif uri.startswith("sqlite:///"):
            found = list(_in_file(Path(uri.removeprefix("sqlite:///").partition("?")[0]), status, since))
        else:
            found = list(_by_client(status, since))
    except sqlite3.DatabaseError:  # a file of another version, or a damaged one, which it names
        found = list(_by_client(status, since))
    except (OSError, ValueError) as error:
        raise ServiceError(f"MLflow at {uri!r} gave no answer ({error}): is it the one you mean?") from error
    return sorted(found, key=lambda row: row.start)


def _in_file(path: Path, status: str, since: int) -> Iterator[Row]:
    if not path.exists():
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        wanted = (
            "SELECT r.run_uuid, r.name, r.start_time, r.experiment_id FROM runs r JOIN experiments e "
            "ON e.experiment_id = r.experiment_id WHERE e.name = ? AND r.lifecycle_stage = 'active' AND r.status = ? "
            "AND COALESCE(r.end_time, 0) >= ? "
            "AND r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value != '')"
        )
        for run_id, name, start, experiment in file.execute(wanted, (EXPERIMENT, status, since, KEY)).fetchall():
            tags = dict(file.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall())
            yield Row(run_id, name or "", start, str(experiment), tags)


def _at_server(uri: str, status: str, since: int) -> Iterator[Row]:
    try:
        found = _ask(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}")["experiment"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return
        raise
    criteria = f"tags.`{KEY}` != '' and attributes.status = '{status}' and attributes.end_time >= {since}"
    body = {
        "experiment_ids": [found["experiment_id"]],
        "filter": criteria if since else criteria.rpartition(" and ")[0],
        "max_results": PAGE,
    }
    while True:
        page = _ask(f"{uri}/api/2.0/mlflow/runs/search", body)
        for run in page.get("runs", ()):
            info, tags = run["info"], {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
            yield Row(info["run_id"], info.get("run_name", ""), int(info["start_time"]), info["experiment_id"], tags)
        if not page.get("next_page_token"):
            return
        body["page_token"] = page["next_page_token"]


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        login = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def _by_client(status: str, since: int) -> Iterator[Row]:
    from tasks.record import ledger

    api = ledger.client()
    place = ledger.experiment(api)
    if place is None:
        return
    ended = f" and attributes.end_time >= {since}" if since else ""
    for run in api.search_runs([place], f"tags.`{KEY}` != '' and attributes.status = '{status}'{ended}"):
        yield Row(run.info.run_id, run.info.run_name or "", run.info.start_time, place, dict(run.data.tags))


def _held(row: Row) -> Held:
    tags, uri = row.tags, settings.pages()
    waits = (
        f"its provider takes no job before {tags[UNTIL]}" if told(tags, STATE) == "waiting" and tags.get(UNTIL) else ""
    )
    page = f"{uri}/#/experiments/{row.experiment}/runs/{row.run_id}"
    return Held(
        key=tags[KEY],
        run_id=row.run_id,
        name=row.name,
        state=told(tags, STATE, "unknown"),
        since=datetime.fromtimestamp(row.start / 1000, UTC).isoformat(timespec="seconds"),
        reason=told(tags, REASON) or waits,
        url=page if uri.startswith("http") else None,
    )
