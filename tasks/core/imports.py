"""Imports: keep libraries from loading packages that shardtune never uses; faster garbage collection at import."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NEW = 20_000  # new objects between two garbage collections; Python's default is 700
GRAMMAR = "rfc3987_syntax"  # of international addresses; jsonschema, which Prefect imports, builds it in a second


@contextmanager
def without(*packages: str) -> Iterator[list[str]]:
    """Hide packages from the imports inside; loaded ones stay visible. Yields the hidden ones."""
    hidden = [name for name in packages if name not in sys.modules]
    hide(*hidden)
    try:
        yield hidden
    finally:
        show(*hidden)


def hide(*packages: str) -> None:
    """Hide packages from later imports of this process; loaded ones stay visible."""
    for name in packages:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None makes `import` raise ImportError


def show(*packages: str) -> None:
    """Undo `hide`."""
    for name in packages:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def seldom() -> None:
    """Collect garbage rarely, and not at the end of this process.

    Importing Prefect, MLflow and torch makes millions of objects that all stay: to look through them takes a sixth of
    the import's CPU seconds, and 1.5 of them at the end, when the system takes back all memory anyway.
    """
    gc.set_threshold(NEW, *gc.get_threshold()[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
