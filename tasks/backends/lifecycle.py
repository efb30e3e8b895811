"""Lifecycle: one job per key, found again after any death. Written once, for all backends.

The intent stands in the ledger before the first create call; then the ledger is asked, then the provider, and only
then is a job submitted. A create call whose answer was lost is never repeated before the provider was searched.
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

UNLISTED = "absent"  # what a sweep that finds no job waits for: that its provider lists one
LOOKS = 8  # for a job whose create call may or may not have worked
TRIES = 5  # looks at a job whose provider does not answer
GONE = 8  # looks at a job that its provider does not know: it may be too new
AWAY = 3600.0  # seconds without an answer that a job under watch is waited for


class Ledger(Protocol):
    """What is known of each key, kept where any later process finds it."""

    def turn(self, key: str) -> AbstractContextManager[None]:
        """Held by one machine at a time, of all that share the ledger. LimitError where another one holds it."""

    def open(self, link: Link, anew: bool = False) -> str:
        """The entry of this link's key, made if there is none; `anew` begins a new attempt in it. Durable on return."""

    def job(self, key: str) -> Job | None:
        """The job that was last recorded for the key."""

    def record(self, job: Job) -> None:
        """Keep `job` as the one that works on its key."""


class Started(NamedTuple):
    """The job of a link; `adopted` where it was found and not made."""

    job: Job
    adopted: bool


def start(link: Link, backend: Backend, ledger: Ledger, again: bool = False) -> Started:
    """The one job of this link: found, resumed, or submitted. Two callers at once get the same one.

    Raises BackendError for a job that failed or was cancelled, unless `again` asks for a new attempt; LimitError where
    the provider takes no job now. What was uploaded for nothing is gone by then.
    """
    log.debug("%s starts from %r", link.title, link.start)  # BackendError where the link before left nothing
    with locked(link.key), ledger.turn(link.key) if backend.paid else nullcontext():
        ledger.open(link)
        patience.over(link.key, UNLISTED)  # of the job of this start a sweep has not waited for yet
        try:
            job = ledger.job(link.key) or known(link.key, backend) or _half_made(link, backend)
            if job is None:
                job, adopted = _submit(link, backend), False
            else:
                job, adopted = _adopt(job, link, backend, ledger, again)
        except BackendError as error:
            limited = isinstance(error, LimitError) and not isinstance(error, NotReadyError)
            if not error.unclear and (not isinstance(error, TransientError) or limited):
                with suppress(BackendError):  # the first error is the one to tell
                    backend.tidy(link)
            raise
        ledger.record(job)
        if backend.paid and (call := calls.last(link.key)) and call.state == "sent":
            calls.over(call, "answered", job)
        with suppress(BackendError):  # the next start or sweep does it
            backend.tidy(link, job)
        return Started(job, adopted)


def locked(key: str, wait: bool = True) -> FileLock:
    """The lock under which a key is started and recorded on this machine; filelock.Timeout where it is held."""
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
        raise BackendError(f"job {job.id!r} ended {status.state}: {reason}; mend the cause, then add --again")
    ended = {job.id}
    for newer in (calls.job(link.key) if backend.paid else None, backend.find(link.key)):
        if newer is not None and newer.id not in ended:
            if look(backend, newer).state not in ("failed", "cancelled"):
                return newer, True  # a new attempt was made before, and who made it died before it was recorded
            ended.add(newer.id)
    if (newer := _half_made(link, backend, frozenset(ended))) is not None:
        return newer, True
    ledger.open(link, anew=True)
    return _submit(link, backend, frozenset(ended)), False


def _submit(link: Link, backend: Backend, ended: frozenset[str] = frozenset()) -> Job:
    """One create call. If its answer is lost, the provider is searched with patience before a second one, the last.

    `ended` are ids of jobs of an attempt before. Where the search itself had no answer, there is no second call.
    """
    for last in (False, True):
        try:
            return _eldest(backend.submit(link), link, backend, ended) if backend.paid else backend.submit(link)
        except TransientError as error:
            log.warning("the create call has no clear answer (%s): looking for its job", error)
            error.unclear = last  # the first call may have made a job that is not listed yet
            # A limit is an answer: one look is enough to be sure.
            limited = isinstance(error, LimitError)
            found, blind = _searched(link, backend, ended, 1 if limited else LOOKS)
            if found is not None:
                return found
            if last or limited:
                raise
            if blind is not None:
                raise TransientError(
                    f"{error}; whether its job is there nobody can say ({blind}): run the same command again later"
                ) from error
        except BackendError as error:
            error.unclear = last
            raise
    raise AssertionError("unreachable")


@contextmanager
def creating(key: str, poll: tuple[float, float]) -> Iterator[Callable[[Job], Job]]:
    """Around a create call, whose job goes through what this yields.

    Until it is answered or refused, a mark under the root tells the next start, on any machine, that a job may be there
    which its provider does not list yet. TransientError where such a mark stands that was not waited for yet.
    """
    before, made = calls.last(key), list[Job]()
    unanswered = before is not None and before.state == "sent" and before.ago < patient(poll)
    call = None if unanswered else calls.claim(key, before)
    if call is None:
        raise TransientError("another create call of this link was sent a moment ago, and nobody knows yet its answer")

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
    """The job of this key as the marks of create calls tell it, or else the provider."""
    return (calls.job(key) if backend.paid else None) or backend.find(key)


def _half_made(link: Link, backend: Backend, ended: frozenset[str] = frozenset()) -> Job | None:
    """The job of a create call that was cut a moment ago, here or on another machine, looked for with patience."""
    call = calls.last(link.key) if backend.paid else None
    if call is None or call.state != "sent" or call.ago > patient(backend.poll):
        return None
    log.warning("a create call of %s has no answer yet: looking whether its job is there", link.title)
    found, blind = _searched(link, backend, ended, LOOKS)
    if blind is not None:
        raise TransientError(f"whether a job of {link.title} is there nobody can say ({blind}): try again later")
    return found


def patient(poll: tuple[float, float]) -> float:
    """Seconds for which a job is looked for whose create call has no answer."""
    return sum(pauses(poll, LOOKS))


def _searched(
    link: Link, backend: Backend, ended: frozenset[str], looks: int
) -> tuple[Job | None, BackendError | None]:
    """The job whose create call had no clear answer; where none is listed, the error that kept the last look from
    seeing any."""
    blind = None
    for pause in pauses(backend.poll, looks):
        try:
            found, blind = backend.find(link.key), None
        except BackendError as error:
            found, blind = None, error
        if found is not None and found.id not in ended:
            return found, None
        time.sleep(pause)
    return None, blind


def _eldest(job: Job, link: Link, backend: Backend, ended: frozenset[str]) -> Job:
    """Of two jobs made at once by machines that share no ledger, the first one; the other is cancelled unpaid."""
    with suppress(BackendError):  # the job is there: nothing that a look meets may keep it from being recorded
        found = backend.find(link.key)
        if found is not None and found.id not in {job.id, *ended}:
            log.warning("job %r was made at the same moment as %r, which came first: it is cancelled", job.id, found.id)
            backend.cancel(job)
            return found
    return job


def pauses(poll: tuple[float, float], count: int) -> Iterator[float]:
    """That many pauses, in seconds: each twice as long as the one before, none longer than the longest."""
    return (min(poll[0] * 2.0**n, poll[1]) for n in range(count))


def look(backend: Backend, job: Job) -> JobStatus:
    """The status; looked for again where the backend did not answer. A job that is gone for good has failed."""
    for attempt in range(1, GONE + 1):
        try:
            return backend.status(job)
        except VanishedError as error:
            if attempt == GONE:
                return JobStatus(state="failed", detail="vanished", error=f"{error}; start it anew with --again")
            log.warning("no status of job %r (%s): looking again", job.id, error)
            time.sleep(list(pauses(backend.poll, attempt))[-1])
        except TransientError as error:
            if attempt >= TRIES:
                raise
            log.warning("no status of job %r (%s): looking again", job.id, error)
            time.sleep(list(pauses(backend.poll, attempt))[-1])
    raise AssertionError("unreachable")


def _answered(backend: Backend, job: Job) -> JobStatus:
    """The status, even of a provider that is away for a while: the job has all the time, and so has its watcher."""
    end = time.monotonic() + AWAY
    while True:
        try:
            return look(backend, job)
        except TransientError as error:
            if time.monotonic() > end:
                raise
            log.warning("job %r goes on unseen (%s): looking again in %.0f s", job.id, error, backend.poll[1])
            time.sleep(backend.poll[1])


def watch(
    job: Job,
    link: Link,
    backend: Backend,
    on_change: Callable[[JobStatus], None],
    deadline: float | None = None,
    on_look: Callable[[JobStatus], None] = lambda status: None,
) -> JobStatus:
    """Look at the job until it ends; `on_change` sees every new state, step and loss point, `on_look` every look.

    An interrupted job is resumed as long as it got further than the time before. Raises BackendError after `deadline`
    seconds, or where the job waits for somebody: it goes on, and the same command takes it up again.
    """
    began, pace, resumed_at, last = time.monotonic(), Pace(backend.poll), -1, None
    while True:
        status = _answered(backend, job)
        if status.interrupted and status.step > resumed_at:
            log.warning("job %r died at step %s: it goes on from its last checkpoint", job.id, status.step)
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
            raise BackendError(f"job {job.id!r} has not ended within {deadline:.0f} s: run the same command to go on")
        time.sleep(pace.pause(status, time.monotonic()))


class Pace:
    """Pauses between looks that follow the job's own pace.

    A job that counts its steps is looked at about twenty times in the time that it has left; one that does not, ever
    more seldom while its state stays the same.
    """

    def __init__(self, poll: tuple[float, float]) -> None:
        self.poll, self.last = poll, poll[0]
        self.state: tuple[str, str] | None = None
        self.since, self.first = 0.0, 0

    def pause(self, status: JobStatus, now: float) -> float:
        """Seconds until the next look, after this one at `now` (seconds of a monotonic clock)."""
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
