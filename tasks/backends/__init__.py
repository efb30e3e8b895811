"""Backends by name. A backend's module, and the SDK it needs, is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from tasks.backends.contract import Backend
from tasks.errors import RecipeError

MODULES = {"local": "tasks.backends.local"}


def get_backend(name: str) -> Backend:
    """The backend called `name`; its module has a function `backend()`."""
    if name not in MODULES:
        raise RecipeError(f"unknown backend {name!r}: choose one of {', '.join(sorted(MODULES))}")
    return cast(Backend, import_module(MODULES[name]).backend())
