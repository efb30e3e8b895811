"""Address: where a browser finds a run."""

from __future__ import annotations

from tasks import settings
from tasks.record.ledger import client


def of(run: str) -> str | None:
    """Where a browser finds the run; None where MLflow is a file and no server."""
    uri = settings.tracking_uri()
    if not uri.startswith("http"):
        return None
    return f"{uri.rstrip('/')}/#/experiments/{client().get_run(run).info.experiment_id}/runs/{run}"
