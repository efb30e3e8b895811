"""Sweep: one short look at every open job; what has ended is finished. `shardtune sweep` runs it, or a schedule."""

from __future__ import annotations

import logging

from prefect import flow

from tasks import tune
from tasks.backends import get_backend
from tasks.backends.contract import ENDED
from tasks.errors import BackendError, ShardtuneError
from tasks.models import Swept
from tasks.record import evidence, ledger

log = logging.getLogger(__name__)


@flow(name="sweep")
def sweep() -> tuple[Swept, ...]:
    """Refresh every MLflow run that is still open; conclude those whose job has ended. Waits for nobody."""
    return tuple(look(key) for key in ledger.unfinished())


def look(key: str) -> Swept:
    """One open run: take in what is new, and finish it where its job has ended."""
    run, known = ledger.run_id(key), ledger.known(key)
    job = known and tune.found(known.link, known.job)
    if known is None or job is None:
        evidence.fail(run, "failed", "it was intended and never started: run finetune again")
        return Swept(key=key, state="failed", concluded=True)
    status = get_backend(known.link.backend).status(job)
    evidence.progress(run, status)
    if status.state not in ENDED:
        return Swept(key=key, state=status.state, concluded=False)
    try:
        tune.conclude(known.link, known.recipe, known.questions, status, tune.quote(known.link))
    except ShardtuneError as error:
        log.warning("%s", error)
    return Swept(key=key, state=status.state, concluded=True)


@flow(name="cancel", flow_run_name="cancel-{key}")
def cancel(key: str) -> str:
    """Cancel the job of `key` and end its run KILLED; returns the state it ended in."""
    known = ledger.known(key)
    job = known and tune.found(known.link, known.job)
    if known is None or job is None:
        raise BackendError(f"no job has key {key!r}: `shardtune sweep` lists the open ones")
    backend = get_backend(known.link.backend)
    backend.cancel(job)
    status = backend.status(job)
    if status.state == "cancelled":
        evidence.fail(ledger.run_id(key), "cancelled", "cancelled on demand")
    return status.state
