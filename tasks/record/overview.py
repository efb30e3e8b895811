"""Runs of links that are open, and that failed lately, for `shardtune status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tasks.core import settings
from tasks.record.names import KEY, REASON, STATE, UNTIL, value
from tasks.record.reader import RunRow, Wanted, rows


class OpenRun(NamedTuple):
    """One MLflow run of a link; `state` is that of its job."""

    key: str
    run_id: str
    name: str
    state: str
    since: str  # ISO 8601, UTC
    reason: str
    url: str | None


def open_runs() -> list[OpenRun]:
    """All RUNNING runs, oldest first."""
    return [_open_run(row) for row in rows(Wanted("RUNNING"))]


def failed_runs(days: int) -> list[OpenRun]:
    """The runs that failed in the last `days`, oldest first."""
    since = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)
    return [_open_run(row) for row in rows(Wanted("FAILED", since))]


def _open_run(row: RunRow) -> OpenRun:
    tags, uri = row.tags, settings.pages()
    waits = (
        f"its provider takes no job before {tags[UNTIL]}" if value(tags, STATE) == "waiting" and tags.get(UNTIL) else ""
    )
    page = f"{uri}/#/experiments/{row.experiment}/runs/{row.run_id}"
    return OpenRun(
        key=tags[KEY],
        run_id=row.run_id,
        name=row.name,
        state=value(tags, STATE, "unknown"),
        since=datetime.fromtimestamp(row.start / 1000, UTC).isoformat(timespec="seconds"),
        reason=value(tags, REASON) or waits,
        url=page if uri.startswith("http") else None,
    )
