"""Create calls: what was sent to a provider for each key, and what came of it.

Each call leaves a mark under the root before it is sent, where every machine that shares the root reads it, whatever
became of the ledger and however late the provider lists its jobs. Marks of a key are numbered, and each is written only
where none stands: of two machines that would send the same call, one does.
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
    """One create call. `sent`: nobody knows yet what came of it; `answered`: `job` is what it made."""

    key: str
    number: int
    sender: str = Field(default_factory=lambda: uuid.uuid4().hex)  # tells this mark from that of another machine
    state: Literal["sent", "refused", "answered"] = "sent"
    job: Job | None = None

    @property
    def ago(self) -> float:
        """Seconds since it was sent, or first seen on this machine: clocks of two machines may differ."""
        return patience.waited(f"{self.key}-{self.number}", CREATING)


def last(key: str) -> Call | None:
    """The last call for this key; None where there was none. One whose mark cannot be read may have been sent."""
    newest = None
    while (one := _read(key, 1 if newest is None else newest.number + 1)) is not None:
        newest = one
    return newest


def job(key: str) -> Job | None:
    """The job of the last call that was answered, of those that were not refused."""
    call = last(key)
    while call is not None and call.state == "refused":
        call = _read(key, call.number - 1)
    return call.job if call else None


def claim(key: str, after: Call | None) -> Call | None:
    """A mark for the call that comes after this one, or None where another machine has just made it."""
    call = Call(key=key, number=1 if after is None else after.number + 1)
    if not store.claim(_place(key, call.number), call):
        return None
    _ = call.ago  # begins to count
    return call


def over(call: Call, state: Literal["refused", "answered"], job: Job | None = None) -> None:
    """What came of a call. It is told and no error where that cannot be kept: the mark says `sent`, which is safe."""
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
