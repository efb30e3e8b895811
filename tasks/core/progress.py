"""Progress of long work, reported to listeners. The command line draws a progress bar from it on a terminal."""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str, float, float, str], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Call `listener(what, done, total, detail)` at every report."""
    _listeners.append(listener)


def report(what: str, done: float, total: float, detail: str = "") -> None:
    """Tell the listeners that `done` of `total` of `what` is done."""
    for listener in _listeners:
        listener(what, done, total, detail)
