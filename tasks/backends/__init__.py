"""Backends by the kind of a tune. A backend's module, and the SDK it needs, is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from tasks.backends.contract import Backend
from tasks.recipe.tuning import Tune

MODULES = {
    "local": "tasks.backends.local.backend",
    "openai": "tasks.backends.openai.backend",
    "gemini": "tasks.backends.gemini.backend",
}


def get_backend(tune: Tune) -> Backend:
    """The backend of this tune; its module has a function `backend(tune)`."""
    return cast(Backend, import_module(MODULES[tune.kind]).backend(tune))
