"""Imports: what a library would load for the sake of something that nobody here uses."""

from __future__ import annotations

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
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python's way to say that there is none
    try:
        yield hidden
    finally:
        for name in hidden:
            del sys.modules[name]


def seldom() -> None:
    """Look for garbage seldom: importing Prefect, MLflow, torch makes millions of objects that all stay, and looking
    through them takes a sixth of its CPU seconds."""
    gc.set_threshold(NEW, *gc.get_threshold()[1:])
