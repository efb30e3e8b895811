"""Owing: what comes after a link that nobody waits for is owed until it is done, whoever is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.record import ledger
from tasks.record.names import KEY, OWING
from tasks.record.reader import Wanted, rows


def owe(key: str) -> None:
    """Note, before the run of `key` ends, that a sweep goes on from it: an ended run is no longer looked at."""
    ledger.client().set_tag(ledger.run_id(key), OWING, "owed")


def owed() -> list[str]:
    """Keys of the runs that ended well and that nobody went on from yet."""
    return [run.tags[KEY] for run in rows(Wanted("FINISHED", tag=OWING, value="owed"), patient=True)]


def done(keys: Iterable[str]) -> None:
    """Note that what follows is done, or that it is refused for good."""
    for key in {*keys} & {*owed()}:
        ledger.client().set_tag(ledger.run_id(key), OWING, "done")
