"""Imports: what a library would load for the sake of something that nobody here uses."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NEW = 20_000  # objects after which Python looks for garbage among them; its default is 700
GRAMMAR = "rfc3987_syntax"  # of international addresses; jsonschema, which Prefect imports, builds it in a second


@contextmanager
def without(*packages: str) -> Iterator[list[str]]:
    """Imports inside find none of these packages; those that are loaded already stay. Gives those that are hidden."""
    hidden = [name for name in packages if name not in sys.modules]
    hide(*hidden)
    try:
        yield hidden
    finally:
        show(*hidden)


def hide(*packages: str) -> None:
    """From here on this process finds none of these packages, but those that it has loaded already."""
    for name in packages:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's way to say that there is none


def show(*packages: str) -> None:
    """What `hide` hid is found again."""
    for name in packages:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def seldom() -> None:
    """Look for garbage seldom, and not once more when this process ends.

    Importing Prefect, MLflow and torch makes millions of objects that all stay: to look through them takes a sixth of
    the import's CPU seconds, and 1.5 of them at the end, when the system takes back all memory anyway.
    """
    gc.set_threshold(NEW, *gc.get_threshold()[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
