"""Address: where a browser finds a run."""

from __future__ import annotations

from tasks.core import settings
from tasks.record import names, reader
from tasks.record.ledger import client


def page(run: str) -> str | None:
    """Where a browser finds the run; None where MLflow is a file and no server."""
    uri = settings.pages()
    if not uri.startswith("http"):
        return None
    return f"{uri}/#/experiments/{reader.experiment_of(run)}/runs/{run}"


def flow_run(run: str) -> str | None:
    """Where a browser finds the flow run that made the run; None where no server outlived it."""
    return names.value(client().get_run(run).data.tags, names.FLOW_RUN) or None
