"""Sweep: one short look at every open job; what has ended is finished. `shardtune sweep` runs it, or a schedule."""

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

ABSENT = 5  # longest pauses between two looks for which a provider may not list a job that it has


@flow(name="sweep", flow_run_name="sweep", on_running=[runs.sign], on_failure=[runs.lost])
def sweep() -> tuple[Swept, ...]:
    """Refresh every MLflow run that is still open; conclude those whose job has ended. Waits for nobody.

    A start that waited for its provider is tried again when it is due. A chain that nobody waits for goes on, and its
    model is promoted where the recipe says so; what a killed sweep left of that is done first. Flow runs that lost
    their process are marked, and started again where they came from a deployment.
    """
    recovered = runs.recover()
    swept = []
    for does, key in (*((go_on, key) for key in owing.owed()), *((look, key) for key in ledger.unfinished())):
        try:
            swept.append(does(key))
        except Exception as error:  # of this run only; the others have their look
            told = str(error) if isinstance(error, ShardtuneError) else redacted(f"{type(error).__name__}: {error}")
            again = isinstance(error, DamagedError) and patience.since(key, "damaged") is not None
            log.log(logging.DEBUG if again else logging.WARNING, "the look at the job of %s failed: %s", key, told)
            if isinstance(error, DamagedError):  # what is damaged stays so, and is told once
                patience.waited(key, "damaged")
            swept.append(Swept(key=key, state="unknown", concluded=False, detail=told))
    ended = sum(found.concluded for found in swept)
    pages.outcome(f"jobs looked at {len(swept)}, ended {ended}; flow runs seen to {len(recovered)}")
    return tuple(swept)


def look(key: str) -> Swept:
    """One open run: take in what is new, and finish it where its job has ended."""
    if train.busy(key):
        return Swept(key=key, state="running", concluded=False, detail="somebody is at work on it")
    run, known = ledger.run_id(key), ledger.known(key)
    if known is None:
        return unstarted(key, run)
    if where := elsewhere(known.link):
        return Swept(key=key, state="elsewhere", concluded=False, detail=where)
    try:
        job = train.find_job(known.link, known.job) or due(key, known)
    except LimitError as limit:
        return Swept(key=key, state="waiting", concluded=False, detail=str(limit))
    if job is None:
        backend = get_backend(known.link.tune)
        if patience.waited(key, lifecycle.UNLISTED) < ABSENT * backend.poll[1]:
            detail = "no job is found yet: its provider may list it late"
            return Swept(key=key, state="unknown", concluded=False, detail=detail)
        patience.over(key, lifecycle.UNLISTED)
        backend.tidy(known.link)
        return unstarted(key, run)
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
        raise  # the run is open still, and the next sweep tries it again
    except ShardtuneError as error:
        log.warning("%s", error)
        return Swept(key=key, state=status.state, concluded=True, detail=str(error))
    return go_on(key) if follows else Swept(key=key, state=status.state, concluded=True)


def elsewhere(link: Link) -> str:
    """Why a link is not this process's to finish: its job is at another endpoint, as a rehearsal's at a simulator."""
    here = get_backend(link.tune).endpoint(link.tune)
    if here == link.endpoint:
        return ""
    at, mine = (one or f"{link.backend}'s own service" for one in (link.endpoint, here))
    return f"its job is at {at} and this process asks {mine}: sweep or cancel where it was started"


def go_on(key: str) -> Swept:
    """What follows a link that ended well, by the flow that had begun it. Refused, it is told once."""
    try:
        recipe = ledger.load(ledger.run_id(key), "recipe.json", Recipe)
        if recipe is None:
            raise DamagedError(f"the MLflow run of {key!r} holds no recipe: run the command again that started it")
        link = ledger.load(ledger.run_id(key), "link.json", Link)
        if link and (where := elsewhere(link)):
            return Swept(key=key, state="elsewhere", concluded=False, detail=where)
        with lifecycle.locked(f"after-{key}", wait=False):
            if ledger.left(key) == "retrain":
                retrain(recipe, wait=False)
            else:
                finetune(recipe, wait=False)
    except Timeout:
        return Swept(key=key, state="succeeded", concluded=False, detail="somebody goes on from it")
    except TransientError:
        raise  # the next sweep tries it again
    except ShardtuneError:
        owing.done([key])
        raise
    owing.done([key])
    return Swept(key=key, state="succeeded", concluded=True)


def due(key: str, known: ledger.Known) -> Job | None:
    """The job of a start that waited for its provider, started now if it is time; LimitError if it is not."""
    until = ledger.waiting(key)
    if until is None:
        return None
    if until > datetime.now(UTC).isoformat():
        raise LimitError("its provider takes no job now", until)
    cost = known.quote or check.quote(known.link)
    job = train.start(known.link, known.recipe, known.questions, cost, again=False, wait=False)
    if job is None:
        raise LimitError("its provider takes no job now", ledger.waiting(key) or "")
    return job


def unstarted(key: str, run: str) -> Swept:
    """A run whose start died before there was a job."""
    reason = "it was intended and never started: run finetune again"
    evidence.fail(run, "failed", reason)
    return Swept(key=key, state="failed", concluded=True, detail=reason)


@flow(name="cancel", flow_run_name="cancel {key}", on_running=[runs.sign], on_failure=[runs.lost])
def cancel(key: str) -> str:
    """Cancel the job of `key` (or of what begins with it) and end its run KILLED; returns the state it ended in."""
    key = ledger.whole(key)
    known = ledger.known(key)
    if known and (where := elsewhere(known.link)):
        raise BackendError(where)
    job = known and train.find_job(known.link, known.job)
    if known and job is None and ledger.waiting(key):
        evidence.fail(ledger.run_id(key), "cancelled", "cancelled before its provider took it")
        return "cancelled"
    if known is None or job is None:
        raise BackendError(f"no job has key {key!r}: `shardtune sweep` lists the open ones")
    backend = get_backend(known.link.tune)
    backend.cancel(job)
    status = lifecycle.look(backend, job)
    if status.state == "cancelled":
        cost = known.quote or check.quote(known.link)
        evidence.fail(ledger.run_id(key), "cancelled", "cancelled on demand", train.lost(status, cost))
    return status.state
