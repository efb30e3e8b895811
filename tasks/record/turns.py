"""Turns: a mutex among the machines that share an MLflow store; one at a time starts the job of a key.

MLflow has no locks, but a tag of the experiment that every machine can read and write is enough for Fischer's mutual
exclusion: write your name where nobody's is, wait longer than a write takes, and go on if it is still yours.
(M. Fischer, in L. Lamport, "A fast mutual exclusion algorithm", ACM TOCS 5(1), 1987.)
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tasks.core import settings
from tasks.core.errors import LimitError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

SETTLE = 1.0  # seconds; longer than any write to the store takes
LONGEST = timedelta(hours=2)  # enough to upload half a gigabyte on a slow line; then the holder counts as dead
LEASE, RENEWED = timedelta(minutes=15), 60.0  # of a lasting turn: when it expires, and seconds between renewals


@contextmanager
def turn(api: MlflowClient, experiment: str, key: str, lasting: bool = False) -> Iterator[None]:
    """Hold the turn of `key`; LimitError where another machine holds it. The machine's own lock is held already.

    A `lasting` turn is for work of days: a thread renews it each minute, and it expires soon after its process dies.
    """
    tag, place = _tag(key), _place()
    mine = {"place": place, "id": uuid.uuid4().hex, "until": _after(LEASE if lasting else LONGEST)}

    def refuse(other: dict[str, str]) -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat(timespec="seconds")
        raise LimitError(f"{other['place']!r} is working on {key!r}", soon)

    if elsewhere(api, experiment, key):
        refuse(_holder(api, experiment, key))
    api.set_experiment_tag(experiment, tag, json.dumps(mine))
    time.sleep(SETTLE)
    now = _holder(api, experiment, key)
    if now.get("id") != mine["id"]:
        refuse(now or {"place": "another machine"})
    over = threading.Event()
    alive = threading.Thread(target=_renew, args=(api, experiment, tag, mine, over), daemon=True)
    if lasting:
        alive.start()
    try:
        yield
    finally:
        over.set()
        if lasting:
            alive.join()
        if _holder(api, experiment, key).get("id") == mine["id"]:
            api.delete_experiment_tag(experiment, tag)


def _renew(api: MlflowClient, experiment: str, tag: str, mine: dict[str, str], over: threading.Event) -> None:
    """Renew the turn until `over` is set. Where the store does not answer, the next renewal tries again."""
    from mlflow.exceptions import MlflowException

    while not over.wait(RENEWED):
        try:
            api.set_experiment_tag(experiment, tag, json.dumps(mine | {"until": _after(LEASE)}))
        except MlflowException as error:
            log.warning("the turn %r could not be renewed (%s); retrying", tag, error)


def _after(span: timedelta) -> str:
    return (datetime.now(UTC) + span).isoformat()


def elsewhere(api: MlflowClient, experiment: str, key: str) -> bool:
    """Whether another machine holds the turn. One of this machine is left by a dead process: we hold its lock."""
    holder = _holder(api, experiment, key)
    return bool(holder) and holder["place"] != _place() and holder["until"] > datetime.now(UTC).isoformat()


def _holder(api: MlflowClient, experiment: str, key: str) -> dict[str, str]:
    recorded = api.get_experiment(experiment).tags.get(_tag(key))
    return dict(json.loads(recorded)) if recorded else {}


def _tag(key: str) -> str:
    return f"shardtune.turn.{key}"


def _place() -> str:
    return f"{socket.gethostname()}:{settings.local_root()}"
