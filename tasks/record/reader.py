"""Reader: runs of links, read without importing MLflow, because that import takes seconds.

It uses MLflow's REST API or the SQLite file of the root. Any other store, or a file of another version, is read by
MLflow's own client. Only `ledger` and `evidence` write.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from tasks.core import settings, store
from tasks.core.errors import ServiceError
from tasks.record.names import EXPERIMENT, KEY

TOKENS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH")
PAGE = 1000
PROXIED = "mlflow-artifacts:/"  # artifacts that the server of the tracking URI hands out


class RunRow(NamedTuple):
    """A run as a store gives it; `start` in milliseconds since 1970, `artifacts` the URI of their folder."""

    run_id: str
    name: str
    start: int
    experiment: str
    status: str
    artifacts: str
    tags: dict[str, str]


class Wanted(NamedTuple):
    """Which links' runs: of a status, ended at or after a time (milliseconds since 1970), with a tag of this value.

    What is left out does not matter; every run has a key.
    """

    status: str = ""
    since: int = 0
    tag: str = KEY
    value: str = ""


def rows(wanted: Wanted, patient: bool = False) -> list[RunRow]:
    """The wanted runs of shardtune's experiment, oldest first.

    Where MLflow does not answer, `patient` retries for minutes by MLflow's client; otherwise ServiceError.
    """
    uri = settings.tracking_uri()
    try:
        if _plain(uri):
            listed = list(_at_server(uri.rstrip("/"), wanted))
        elif uri.startswith("sqlite:///"):
            listed = list(_in_file(Path(uri.removeprefix("sqlite:///").partition("?")[0]), wanted))
        else:
            listed = list(_by_client(wanted))
    except sqlite3.DatabaseError:  # a file of another version, or a damaged one, which it names
        listed = list(_by_client(wanted))
    except (OSError, ValueError) as error:
        if patient:
            return sorted(_by_client(wanted), key=lambda row: row.start)
        raise ServiceError(
            f"MLflow at {uri!r} does not answer ({error}): check MLFLOW_TRACKING_URI, and that the server is running"
        ) from error
    return sorted(listed, key=lambda row: row.start)


def artifact(row: RunRow, name: str) -> bytes | None:
    """A file among the artifacts of a run; None where there is none, or where only MLflow's client can read it."""
    if row.artifacts.startswith(
        PROXIED
    ):  # a path below the server's own folder; only the server knows that folder's address
        uri = settings.tracking_uri()
        place = quote(f"{row.artifacts.removeprefix(PROXIED).lstrip('/')}/{name}")
        with suppress(OSError):
            return _ask(f"{uri.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts/{place}") if _plain(uri) else None
        return None
    # MLflow writes a folder as an address: a space in it is %20.
    path = store.local(unquote(row.artifacts) if row.artifacts.startswith("file:") else row.artifacts)
    return (path / name).read_bytes() if path is not None and (path / name).is_file() else None


def experiment_of(run_id: str) -> str:
    """The id of the experiment that a run belongs to."""
    uri = settings.tracking_uri()
    if _plain(uri):
        with suppress(OSError, ValueError):
            answer = json.loads(_ask(f"{uri.rstrip('/')}/api/2.0/mlflow/runs/get?run_id={quote(run_id)}"))
            return str(answer["run"]["info"]["experiment_id"])
    from tasks.record import ledger

    return str(ledger.client().get_run(run_id).info.experiment_id)


def _plain(uri: str) -> bool:
    """Whether urllib can read this server. Logins in the address, tokens and certificates need MLflow's client."""
    return uri.startswith("http://") and "@" not in uri and not any(os.environ.get(name) for name in TOKENS)


def _in_file(path: Path, wanted: Wanted) -> Iterator[RunRow]:
    if not path.exists():
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        asked = (
            "SELECT r.run_uuid, r.name, r.start_time, r.experiment_id, r.status, r.artifact_uri "
            "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
            "WHERE e.name = :experiment AND r.lifecycle_stage = 'active' AND :status IN ('', r.status) "
            "AND COALESCE(r.end_time, 0) >= :since AND EXISTS (SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid "
            "AND t.key = :tag AND t.value != '' AND :value IN ('', t.value))"
        )
        for run_id, name, *rest in file.execute(asked, wanted._asdict() | {"experiment": EXPERIMENT}).fetchall():
            tags = dict(file.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall())
            start, experiment, status, artifacts = rest
            yield RunRow(run_id, name or "", start, str(experiment), status, artifacts, tags)


def _at_server(uri: str, wanted: Wanted) -> Iterator[RunRow]:
    try:
        experiment = json.loads(_ask(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}"))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return
        raise
    body = {
        "experiment_ids": [experiment["experiment"]["experiment_id"]],
        "filter": _filter(wanted),
        "max_results": PAGE,
    }
    while True:
        page = json.loads(_ask(f"{uri}/api/2.0/mlflow/runs/search", body))
        for run in page.get("runs", ()):
            info, tags = run["info"], {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
            where = (int(info["start_time"]), info["experiment_id"], info["status"], info["artifact_uri"])
            yield RunRow(info["run_id"], info.get("run_name", ""), *where, tags)
        if not page.get("next_page_token"):
            return
        body["page_token"] = page["next_page_token"]


def _filter(wanted: Wanted) -> str:
    """What is wanted, in the language of MLflow's search."""
    parts = [f"tags.`{wanted.tag}` = '{wanted.value}'" if wanted.value else f"tags.`{wanted.tag}` != ''"]
    parts += [f"attributes.status = '{wanted.status}'"] if wanted.status else []
    parts += [f"attributes.end_time >= {wanted.since}"] if wanted.since else []
    return " and ".join(parts)


def _ask(url: str, body: dict[str, Any] | None = None) -> bytes:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        login = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as reply:
        return bytes(reply.read())


def _by_client(wanted: Wanted) -> Iterator[RunRow]:
    from tasks.record import ledger

    api = ledger.client()
    place = ledger.experiment(api)
    if place is None:
        return
    for run in api.search_runs([place], _filter(wanted), max_results=50_000):
        info = run.info
        where = (info.start_time, place, info.status, info.artifact_uri)
        yield RunRow(info.run_id, info.run_name or "", *where, dict(run.data.tags))
