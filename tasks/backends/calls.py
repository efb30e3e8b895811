"""Create calls: a record of each call that was sent to a provider for a key, and its result.

Each call writes a mark under the root before it is sent. Every machine that shares the root can read the mark, even if
the ledger is lost or the provider lists its jobs late. Marks of a key are numbered and never overwritten, so of two
machines that are about to send the same call only one does.
"""

from __future__ import annotations

import logging
import uuid
from typing import Literal

from pydantic import Field

from tasks.backends import patience
from tasks.backends.contract import Job
from tasks.core import settings, store
from tasks.core.errors import DamagedError
from tasks.core.models import Frozen

log = logging.getLogger(__name__)

CREATING = "creating"  # what a create call waits for: its answer


class Call(Frozen):
    """One create call. `sent`: its result is unknown; `answered`: it made `job`; `refused`: it made nothing."""

    key: str
    number: int
    sender: str = Field(default_factory=lambda: uuid.uuid4().hex)  # tells this mark from that of another machine
    state: Literal["sent", "refused", "answered"] = "sent"
    job: Job | None = None

    @property
    def ago(self) -> float:
        """Seconds since it was sent or first seen on this machine, since clocks of two machines may differ."""
        return patience.waited(f"{self.key}-{self.number}", CREATING)


def last(key: str) -> Call | None:
    """The last call for this key; None if there was none. A mark that cannot be read counts as `sent`, to be safe."""
    newest = None
    while (one := _read(key, 1 if newest is None else newest.number + 1)) is not None:
        newest = one
    return newest


def job(key: str) -> Job | None:
    """The job of the last call that was not refused; None if that call has no answer."""
    call = last(key)
    while call is not None and call.state == "refused":
        call = _read(key, call.number - 1)
    return call.job if call else None


def claim(key: str, after: Call | None) -> Call | None:
    """Mark the next call after `after` as sent. None if another machine has just done so."""
    call = Call(key=key, number=1 if after is None else after.number + 1)
    if not store.claim(_place(key, call.number), call):
        return None
    _ = call.ago  # the wait for its answer begins now
    return call


def over(call: Call, state: Literal["refused", "answered"], job: Job | None = None) -> None:
    """Record the result of a call. If that fails it only warns: the mark still says `sent`, which is safe."""
    try:
        store.write(_place(call.key, call.number), call.model_copy(update={"state": state, "job": job}))
        patience.over(f"{call.key}-{call.number}", CREATING)
    except Exception as error:
        log.warning("what came of create call %d of %s is not kept (%s)", call.number, call.key, error)


def _place(key: str, number: int) -> str:
    return store.join(settings.root(), "calls", f"{key}-{number}.json")


def _read(key: str, number: int) -> Call | None:
    try:
        return store.read(_place(key, number), Call, lost="it says that a job may be there")
    except DamagedError:
        return Call(key=key, number=number)
