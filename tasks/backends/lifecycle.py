"""Lifecycle: one job per key, found again after any death. Written once, for all backends.

The intent stands in the ledger before the first create call; then the ledger is asked, then the provider, and only
then is a job submitted. A create call whose answer was lost is never repeated before the provider was searched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from filelock import FileLock

from tasks import settings
from tasks.backends.contract import ENDED, Backend, Job, Link, Status
from tasks.errors import BackendError, TransientError

log = logging.getLogger(__name__)

LOOKS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between looks for a job whose create call may or may not have worked
POLL = (0.5, 5.0)  # first and longest pause between two looks at a job, seconds


class Ledger(Protocol):
    """What is known of each key, kept where any later process finds it."""

    def open(self, link: Link, anew: bool = False) -> str:
        """The entry of this link's key, made if there is none or a new one is asked for. Durable when it returns."""

    def job(self, key: str) -> Job | None:
        """The job that was last recorded for the key."""

    def record(self, job: Job) -> None:
        """Keep `job` as the one that works on its key."""


class Started(NamedTuple):
    """The job of a link; `adopted` where it was found and not made."""

    job: Job
    adopted: bool


def start(
    link: Link, backend: Backend, ledger: Ledger, again: bool = False, looks: tuple[float, ...] = LOOKS
) -> Started:
    """The one job of this link: found, resumed, or submitted. Two callers at once get the same one.

    Raises BackendError for a job that failed or was cancelled, unless `again` asks for a new attempt.
    """
    with locked(link.key):
        ledger.open(link)
        job = ledger.job(link.key) or backend.find(link.key)
        if job is None:
            job, adopted = _submit(link, backend, looks), False
        else:
            job, adopted = _adopt(job, link, backend, ledger, again, looks)
        ledger.record(job)
        return Started(job, adopted)


def locked(key: str) -> FileLock:
    """The lock under which a key is started and recorded on this machine."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")


def _adopt(
    job: Job, link: Link, backend: Backend, ledger: Ledger, again: bool, looks: tuple[float, ...]
) -> tuple[Job, bool]:
    status = _read(backend, job)
    if status.interrupted:
        return backend.submit(link), True
    if status.state not in ("failed", "cancelled"):
        return job, True
    if not again:
        reason = status.error or status.detail or "no reason given"
        raise BackendError(f"job {job.id!r} ended {status.state}: {reason}; mend the cause, then add --again")
    ledger.open(link, anew=True)
    return _submit(link, backend, looks, but=job), False


def _submit(link: Link, backend: Backend, looks: tuple[float, ...], but: Job | None = None) -> Job:
    """One create call. If its answer is lost, the provider is searched with patience; a second call comes last."""
    try:
        return backend.submit(link)
    except TransientError as error:
        log.warning("the answer to the create call was lost (%s): looking for its job", error)
    for pause in looks:
        with suppress(TransientError):
            found = backend.find(link.key)
            if found is not None and (but is None or found.id != but.id):
                return found
        time.sleep(pause)
    return backend.submit(link)


def _read(backend: Backend, job: Job, tries: int = 5) -> Status:
    """The status, read again where the backend did not answer."""
    for attempt in range(tries):
        try:
            return backend.status(job)
        except TransientError as error:
            if attempt == tries - 1:
                raise
            log.warning("no status of job %r (%s): looking again", job.id, error)
            time.sleep(min(2.0**attempt, 30.0))
    raise AssertionError("unreachable")


def watch(
    job: Job,
    link: Link,
    backend: Backend,
    on_change: Callable[[Status], None],
    poll: tuple[float, float] = POLL,
    deadline: float | None = None,
) -> Status:
    """Look at the job until it ends; `on_change` sees every new state, step and loss point.

    An interrupted job is resumed as long as it got further than the time before. Raises BackendError after `deadline`
    seconds: the job goes on, and the same command takes it up again.
    """
    began, pause, resumed_at, last = time.monotonic(), poll[0], -1, None
    while True:
        status = _read(backend, job)
        if status.interrupted and status.step > resumed_at:
            log.warning("job %r died at step %s: it goes on from its last checkpoint", job.id, status.step)
            resumed_at = status.step
            backend.submit(link)
            continue
        seen = (status.state, status.detail, status.step, len(status.points))
        if seen != last:
            if last is None or seen[:2] != last[:2]:
                log.info("job %s is %s%s", job.id[:12], status.state, f" ({status.detail})" if status.detail else "")
            on_change(status)
            last, pause = seen, poll[0]
        if status.state in ENDED:
            return status
        if deadline is not None and time.monotonic() - began > deadline:
            raise BackendError(f"job {job.id!r} has not ended within {deadline:.0f} s: run the same command to go on")
        time.sleep(pause)
        pause = min(pause * 1.5, poll[1])
