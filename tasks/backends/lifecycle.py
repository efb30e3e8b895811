"""Lifecycle: one job per key, found again after any crash. Written once, for all backends.

The order of steps is what makes a job unique. The intent is recorded in the ledger before the first create call. Then
the ledger is asked for a job of this key, then the provider, and only then is a job submitted. A create call whose
answer was lost is not repeated before the provider was searched for its job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import NamedTuple, Protocol

from filelock import FileLock

from tasks.backends import calls, patience
from tasks.backends.contract import ENDED, Backend, Job, JobStatus, Link
from tasks.core import settings
from tasks.core.errors import BackendError, LimitError, NotReadyError, TransientError, VanishedError

log = logging.getLogger(__name__)

UNLISTED = "absent"  # name of the wait of a sweep that finds no job: its provider may list it late
LOOKS = 8  # searches for the job of a create call without a clear answer
TRIES = 5  # status requests while the provider does not answer
GONE = 8  # status requests while the provider does not know the job: a new job may not be listed yet
AWAY = 3600.0  # seconds that a watcher waits for a provider that does not answer


class Ledger(Protocol):
    """The durable record of each key, readable by any later process."""

    def turn(self, key: str) -> AbstractContextManager[None]:
        """A mutex on `key` among the machines that share the ledger. LimitError where another machine holds it."""

    def open(self, link: Link, anew: bool = False) -> str:
        """Create or open the entry of this link's key; `anew` starts a new attempt in it. Durable on return."""

    def job(self, key: str) -> Job | None:
        """The last recorded job of the key."""

    def record(self, job: Job) -> None:
        """Record `job` as the one that works on its key."""


class Started(NamedTuple):
    """The job of a link; `adopted` if it existed before."""

    job: Job
    adopted: bool


def start(link: Link, backend: Backend, ledger: Ledger, again: bool = False) -> Started:
    """Find, resume or submit the one job of this link. Two concurrent callers get the same job.

    Raises BackendError for a job that failed or was cancelled, unless `again` asks for a new attempt; LimitError where
    the provider accepts no job now. Unused uploads are deleted before an error leaves here.
    """
    # `link.start` raises BackendError where the parent left no model. Nothing may be sent to the provider before that.
    log.debug("%s starts from %r", link.title, link.start)
    # Two locks: a file for the processes of this machine, and for paid jobs the ledger's for all machines. A local job
    # needs only the first, because its folder lies on this machine.
    with locked(link.key), ledger.turn(link.key) if backend.paid else nullcontext():
        ledger.open(link)
        patience.over(link.key, UNLISTED)  # reset: a sweep's wait for an unlisted job starts again with this job
        try:
            job = ledger.job(link.key) or known(link.key, backend) or _half_made(link, backend)
            if job is None:
                job, adopted = _submit(link, backend), False
            else:
                job, adopted = _adopt(job, link, backend, ledger, again)
        except BackendError as error:
            # Uploads are deleted only if no job can need them: not after an unclear answer, and not while the provider
            # prepares them (NotReadyError), since the next try uses them.
            limited = isinstance(error, LimitError) and not isinstance(error, NotReadyError)
            if not error.unclear and (not isinstance(error, TransientError) or limited):
                with suppress(BackendError):  # report the first error, not one of the clean-up
                    backend.tidy(link)
            raise
        ledger.record(job)
        if backend.paid and (call := calls.last(link.key)) and call.state == "sent":
            calls.over(call, "answered", job)
        with suppress(BackendError):  # the job runs; the next start or sweep deletes unused uploads
            backend.tidy(link, job)
        return Started(job, adopted)


def locked(key: str, wait: bool = True) -> FileLock:
    """The lock of this machine for starting and concluding `key`; filelock.Timeout where it is held and not `wait`."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock", timeout=-1 if wait else 0)


def _adopt(job: Job, link: Link, backend: Backend, ledger: Ledger, again: bool) -> tuple[Job, bool]:
    status = look(backend, job)
    if status.interrupted:
        return backend.submit(link), True
    if status.state not in ("failed", "cancelled"):
        return job, True
    if not again:
        reason = status.error or status.detail or "no reason given"
        raise BackendError(f"job {job.id!r} ended as {status.state}: {reason}; fix the cause, then add --again")
    ended = {job.id}
    for later in (calls.job(link.key) if backend.paid else None, backend.find(link.key)):
        if later is not None and later.id not in ended:
            if look(backend, later).state not in ("failed", "cancelled"):
                return later, True  # a process died after it had made this new attempt and before it recorded it
            ended.add(later.id)
    if (later := _half_made(link, backend, frozenset(ended))) is not None:
        return later, True
    ledger.open(link, anew=True)
    return _submit(link, backend, frozenset(ended)), False


def _submit(link: Link, backend: Backend, ended: frozenset[str] = frozenset()) -> Job:
    """Send the create call. If its answer is lost, search the provider for the job before a second and last call.

    `ended` are job ids of earlier attempts. If the search itself gets no answer, there is no second call: the first one
    may have made a job, and a second job would be paid as well.
    """
    for last in (False, True):
        try:
            return _eldest(backend.submit(link), link, backend, ended) if backend.paid else backend.submit(link)
        except TransientError as error:
            log.warning("the create call has no clear answer (%s): searching for its job", error)
            error.unclear = last  # the first call may have made a job that is not listed yet
            # At a limit the provider did answer, so one search is enough to be sure.
            limited = isinstance(error, LimitError)
            job, blind = _searched(link, backend, ended, 1 if limited else LOOKS)
            if job is not None:
                return job
            if last or limited:
                raise
            if blind is not None:
                raise TransientError(
                    f"{error}; it is unknown whether the job exists ({blind}): run the same command again later"
                ) from error
        except BackendError as error:
            error.unclear = last
            raise
    raise AssertionError("unreachable")


@contextmanager
def creating(key: str, poll: tuple[float, float]) -> Iterator[Callable[[Job], Job]]:
    """Wrap a create call; pass its job to the function that this yields.

    A mark under the root exists from before the call until its answer or refusal. It tells a later start, on any
    machine, that a job may exist which its provider does not list yet. TransientError where such a mark is still young.
    """
    before, made = calls.last(key), list[Job]()
    unanswered = before is not None and before.state == "sent" and before.ago < patient(poll)
    call = None if unanswered else calls.claim(key, before)
    if call is None:
        raise TransientError("another create call of this link was sent a moment ago and has no answer yet")

    def answered(job: Job) -> Job:
        made.append(job)
        return job

    try:
        yield answered
    except BackendError as error:
        if isinstance(error, TransientError) and not isinstance(error, LimitError):
            raise
        calls.over(call, "refused")
        raise
    calls.over(call, "answered" if made else "refused", *made)


def known(key: str, backend: Backend) -> Job | None:
    """The job of this key, from the marks of create calls or else from the provider."""
    return (calls.job(key) if backend.paid else None) or backend.find(key)


def _half_made(link: Link, backend: Backend, ended: frozenset[str] = frozenset()) -> Job | None:
    """Search for the job of an interrupted create call of this or another machine; None where none turns up."""
    call = calls.last(link.key) if backend.paid else None
    if call is None or call.state != "sent" or call.ago > patient(backend.poll):
        return None
    log.warning("a create call of %s has no answer yet: searching for its job", link.title)
    job, blind = _searched(link, backend, ended, LOOKS)
    if blind is not None:
        raise TransientError(f"it is unknown whether a job of {link.title} exists ({blind}): try again later")
    return job


def patient(poll: tuple[float, float]) -> float:
    """Seconds of searching for the job of a create call without an answer."""
    return sum(pauses(poll, LOOKS))


def _searched(
    link: Link, backend: Backend, ended: frozenset[str], looks: int
) -> tuple[Job | None, BackendError | None]:
    """Search for the job of an unclear create call. Returns it, or the error of the last search if that failed."""
    blind = None
    for pause in pauses(backend.poll, looks):
        try:
            job, blind = backend.find(link.key), None
        except BackendError as error:
            job, blind = None, error
        if job is not None and job.id not in ended:
            return job, None
        time.sleep(pause)
    return None, blind


def _eldest(job: Job, link: Link, backend: Backend, ended: frozenset[str]) -> Job:
    """Of two jobs that machines without a common ledger made at once, keep the older and cancel the other, unpaid."""
    with suppress(BackendError):  # the job exists; a failing search must not keep it from being recorded
        listed = backend.find(link.key)
        if listed is not None and listed.id not in {job.id, *ended}:
            log.warning("job %r was made at the same time as %r, which is older: cancelling it", job.id, listed.id)
            backend.cancel(job)
            return listed
    return job


def pauses(poll: tuple[float, float], count: int) -> Iterator[float]:
    """`count` pauses in seconds, doubling from the shortest to the longest of `poll`."""
    return (min(poll[0] * 2.0**n, poll[1]) for n in range(count))


def look(backend: Backend, job: Job) -> JobStatus:
    """The status of a job, with retries while the backend does not answer. A job that stays unknown has failed."""
    for attempt in range(1, GONE + 1):
        try:
            return backend.status(job)
        except VanishedError as error:
            if attempt == GONE:
                return JobStatus(state="failed", detail="vanished", error=f"{error}; start it again with --again")
            log.warning("no status of job %r (%s): retrying", job.id, error)
            time.sleep(list(pauses(backend.poll, attempt))[-1])
        except TransientError as error:
            if attempt >= TRIES:
                raise
            log.warning("no status of job %r (%s): retrying", job.id, error)
            time.sleep(list(pauses(backend.poll, attempt))[-1])
    raise AssertionError("unreachable")


def _answered(backend: Backend, job: Job) -> JobStatus:
    """The status, waiting up to AWAY seconds for a provider that does not answer: its job continues meanwhile."""
    end = time.monotonic() + AWAY
    while True:
        try:
            return look(backend, job)
        except TransientError as error:
            if time.monotonic() > end:
                raise
            log.warning("no status of job %r, which continues (%s): retrying in %.0f s", job.id, error, backend.poll[1])
            time.sleep(backend.poll[1])


def watch(
    job: Job,
    link: Link,
    backend: Backend,
    on_change: Callable[[JobStatus], None],
    deadline: float | None = None,
    on_look: Callable[[JobStatus], None] = lambda status: None,
) -> JobStatus:
    """Poll the job until it ends; `on_change` gets every new state, step and loss point, `on_look` every status.

    An interrupted job is resumed as long as it made progress since its last resume. Raises BackendError after
    `deadline` seconds, or where the job needs a person. The job continues, and the same command adopts it again.
    """
    began, pace, resumed_at, last = time.monotonic(), Pace(backend.poll), -1, None
    while True:
        status = _answered(backend, job)
        if status.interrupted and status.step > resumed_at:
            log.warning("job %r died at step %s: resuming from its last checkpoint", job.id, status.step)
            resumed_at = status.step
            backend.submit(link)
            continue
        on_look(status)
        seen = (status.state, status.detail, status.step, len(status.points))
        if seen != last:
            if last is None or seen[:2] != last[:2]:
                log.info("job %s is %s%s", job.id[:12], status.state, f" ({status.detail})" if status.detail else "")
            on_change(status)
            last = seen
        if status.state in ENDED:
            return status
        if status.held:
            raise BackendError(f"job {job.id!r} is {status.detail}: {status.held}")
        if deadline is not None and time.monotonic() - began > deadline:
            raise BackendError(
                f"job {job.id!r} has not ended within {deadline:.0f} s: run the same command to continue"
            )
        time.sleep(pace.pause(status, time.monotonic()))


class Pace:
    """Poll intervals that adapt to the speed of a job.

    A job that reports steps is polled about twenty times in its remaining time. Otherwise the interval grows by half
    with each poll in the same state.
    """

    def __init__(self, poll: tuple[float, float]) -> None:
        self.poll, self.last = poll, poll[0]
        self.state: tuple[str, str] | None = None
        self.since, self.first = 0.0, 0

    def pause(self, status: JobStatus, now: float) -> float:
        """Seconds until the next poll, after one at `now` (seconds of a monotonic clock)."""
        state = (status.state, status.detail if not status.steps else "")
        if state != self.state:
            self.state, self.since, self.first, self.last = state, now, status.step, self.poll[0]
        elif status.steps and status.step > self.first:
            left = (now - self.since) / (status.step - self.first) * max(0, status.steps - status.step)
            self.last = left / 20
        else:
            self.last *= 1.5
        self.last = min(max(self.last, self.poll[0]), self.poll[1])
        return self.last
