"""Follow-up work (next link, promotion) after a link that no process waits for.

It is recorded before the run ends, so that a later sweep completes it after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.record import ledger
from tasks.record.names import KEY, OWING
from tasks.record.reader import Wanted, rows


def owe(key: str) -> None:
    """Record that work follows the link of `key`. Call it before the run ends: a sweep looks at open runs only."""
    ledger.client().set_tag(ledger.run_id(key), OWING, "owed")


def owed() -> list[str]:
    """Keys of the runs that succeeded and whose follow-up work is not done yet."""
    return [run.tags[KEY] for run in rows(Wanted("FINISHED", tag=OWING, value="owed"), patient=True)]


def done(keys: Iterable[str]) -> None:
    """Record that the follow-up work of these keys is done, or refused for good."""
    for key in {*keys} & {*owed()}:
        ledger.client().set_tag(ledger.run_id(key), OWING, "done")
