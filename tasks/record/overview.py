"""Overview: which links' runs are open, and which failed lately."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mlflow.entities import Run

from tasks.models import Frozen
from tasks.record import address, ledger
from tasks.record.names import KEY, REASON, STATE, UNTIL, told


class Held(Frozen):
    """One MLflow run of a link. `state` is the ledger's word for it."""

    key: str
    run_id: str
    name: str
    state: str
    since: str  # ISO 8601, UTC
    reason: str
    url: str | None


def open_runs() -> list[Held]:
    """The runs that are not ended, oldest first."""
    return _found("attributes.status = 'RUNNING'")


def failed_runs(days: int) -> list[Held]:
    """The runs that failed in the last `days`, oldest first."""
    since = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)
    return _found(f"attributes.status = 'FAILED' and attributes.end_time >= {since}")


def _found(criteria: str) -> list[Held]:
    api = ledger.client()
    place = ledger.experiment(api)
    if place is None:
        return []
    first = ["attributes.start_time ASC"]
    return [_held(run) for run in api.search_runs([place], f"tags.`{KEY}` != '' and {criteria}", order_by=first)]


def _held(run: Run) -> Held:
    tags = run.data.tags
    waits = (
        f"its provider takes no job before {tags[UNTIL]}" if told(tags, STATE) == "waiting" and tags.get(UNTIL) else ""
    )
    return Held(
        key=tags[KEY],
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        state=told(tags, STATE, "unknown"),
        since=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        reason=told(tags, REASON) or waits,
        url=address.of(run.info.run_id),
    )
