"""Sweep: check every open job once and finish those that have ended. `shardtune sweep` or a schedule runs it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from filelock import Timeout
from prefect import flow

from flows.finetune import finetune
from flows.retrain import retrain
from tasks import check, train
from tasks.backends import get_backend, lifecycle, patience
from tasks.backends.contract import ENDED, Job, Link
from tasks.core.errors import BackendError, DamagedError, LimitError, ShardtuneError, TransientError
from tasks.core.models import Swept
from tasks.core.redaction import redacted
from tasks.orchestrator import pages, runs
from tasks.recipe.model import Recipe
from tasks.record import evidence, ledger, owing

log = logging.getLogger(__name__)

ABSENT = 5  # poll intervals (the longest) for which a provider may not list an existing job


@flow(name="sweep", flow_run_name="sweep", on_running=[runs.sign], on_failure=[runs.lost])
def sweep() -> tuple[Swept, ...]:
    """Refresh every open MLflow run and conclude those whose job has ended. It never waits for a job.

    Starts that wait for a provider's limit are tried again when due. Chains that no process waits for are continued and
    promoted, as their recipe says; follow-up work that a killed sweep left is done first. Flow runs whose process died
    are marked, and started again if a deployment started them.
    """
    recovered = runs.recover()
    swept = []
    for does, key in (*((resume, key) for key in owing.owed()), *((refresh, key) for key in ledger.unfinished())):
        try:
            swept.append(does(key))
        except Exception as error:  # one broken run must not keep the sweep from the others
            reason = str(error) if isinstance(error, ShardtuneError) else redacted(f"{type(error).__name__}: {error}")
            again = isinstance(error, DamagedError) and patience.since(key, "damaged") is not None
            log.log(logging.DEBUG if again else logging.WARNING, "checking the job of %s failed: %s", key, reason)
            if isinstance(error, DamagedError):  # it stays damaged: warn once, then log at debug level
                patience.waited(key, "damaged")
            swept.append(Swept(key=key, state="unknown", concluded=False, detail=reason))
    ended = sum(one.concluded for one in swept)
    pages.outcome(f"jobs checked {len(swept)}, ended {ended}; flow runs recovered {len(recovered)}")
    return tuple(swept)


def refresh(key: str) -> Swept:
    """Refresh one open run, and finish it if its job has ended."""
    if train.busy(key):
        return Swept(key=key, state="running", concluded=False, detail="another process is working on it")
    run, known = ledger.run_id(key), ledger.known(key)
    if known is None:
        return fail_unstarted(key, run)
    if where := elsewhere(known.link):
        return Swept(key=key, state="elsewhere", concluded=False, detail=where)
    try:
        job = train.find_job(known.link, known.job) or start_due(key, known)
    except LimitError as limit:
        return Swept(key=key, state="waiting", concluded=False, detail=str(limit))
    if job is None:
        backend = get_backend(known.link.tune)
        if patience.waited(key, lifecycle.UNLISTED) < ABSENT * backend.poll[1]:
            detail = "no job found yet: its provider may list it late"
            return Swept(key=key, state="unknown", concluded=False, detail=detail)
        patience.over(key, lifecycle.UNLISTED)
        backend.tidy(known.link)
        return fail_unstarted(key, run)
    patience.over(key, lifecycle.UNLISTED)
    status = lifecycle.look(get_backend(known.link.tune), job)
    evidence.progress(run, status)
    if status.state not in ENDED:
        return Swept(key=key, state=status.state, concluded=False, detail=status.held or status.detail)
    cost = known.quote or check.quote(known.link)
    by = ledger.left(key)
    follows = by == "retrain" or (by and (known.recipe.chain or known.recipe.promote))
    if follows:
        owing.owe(key)
    try:
        train.conclude(known.link, known.recipe, known.questions, status, cost)
    except TransientError:
        raise  # the run stays open, so the next sweep tries again
    except ShardtuneError as error:
        log.warning("%s", error)
        return Swept(key=key, state=status.state, concluded=True, detail=str(error))
    return resume(key) if follows else Swept(key=key, state=status.state, concluded=True)


def elsewhere(link: Link) -> str:
    """Why this process cannot finish a link whose job is at another endpoint (a rehearsal's simulator); else empty."""
    here = get_backend(link.tune).endpoint(link.tune)
    if here == link.endpoint:
        return ""
    at, mine = (one or f"{link.backend}'s own service" for one in (link.endpoint, here))
    return f"its job is at {at}, but this process uses {mine}: sweep or cancel it where it was started"


def resume(key: str) -> Swept:
    """Run the flow that left a successful link to the sweep, to continue its chain. A refusal is reported once."""
    try:
        recipe = ledger.load(ledger.run_id(key), "recipe.json", Recipe)
        if recipe is None:
            raise DamagedError(f"the MLflow run of {key!r} has no recipe: run the command again that started it")
        link = ledger.load(ledger.run_id(key), "link.json", Link)
        if link and (where := elsewhere(link)):
            return Swept(key=key, state="elsewhere", concluded=False, detail=where)
        with lifecycle.locked(f"after-{key}", wait=False):
            if ledger.left(key) == "retrain":
                retrain(recipe, wait=False)
            else:
                finetune(recipe, wait=False)
    except Timeout:
        return Swept(key=key, state="succeeded", concluded=False, detail="another process continues from it")
    except TransientError:
        raise  # the next sweep tries again
    except ShardtuneError:
        owing.done([key])
        raise
    owing.done([key])
    return Swept(key=key, state="succeeded", concluded=True)


def start_due(key: str, known: ledger.Known) -> Job | None:
    """Start a job that waited for its provider's limit. None where none waits, LimitError where it is too early."""
    until = ledger.waiting(key)
    if until is None:
        return None
    if until > datetime.now(UTC).isoformat():
        raise LimitError("its provider accepts no job now", until)
    cost = known.quote or check.quote(known.link)
    job = train.start(known.link, known.recipe, known.questions, cost, again=False, wait=False)
    if job is None:
        raise LimitError("its provider accepts no job now", ledger.waiting(key) or "")
    return job


def fail_unstarted(key: str, run: str) -> Swept:
    """Fail a run whose process died before it started a job."""
    reason = "its start was recorded, but no job was started: run finetune again"
    evidence.fail(run, "failed", reason)
    return Swept(key=key, state="failed", concluded=True, detail=reason)


@flow(name="cancel", flow_run_name="cancel {key}", on_running=[runs.sign], on_failure=[runs.lost])
def cancel(key: str) -> str:
    """Cancel the job of `key` (or its first digits) and end its run KILLED; returns the final state of the job."""
    key = ledger.whole(key)
    known = ledger.known(key)
    if known and (where := elsewhere(known.link)):
        raise BackendError(where)
    job = known and train.find_job(known.link, known.job)
    if known and job is None and ledger.waiting(key):
        evidence.fail(ledger.run_id(key), "cancelled", "cancelled before its provider accepted it")
        return "cancelled"
    if known is None or job is None:
        raise BackendError(f"no job has key {key!r}: `shardtune sweep` lists open jobs")
    backend = get_backend(known.link.tune)
    backend.cancel(job)
    status = lifecycle.look(backend, job)
    if status.state == "cancelled":
        cost = known.quote or check.quote(known.link)
        evidence.fail(ledger.run_id(key), "cancelled", "cancelled by a person", train.lost(status, cost))
    return status.state
