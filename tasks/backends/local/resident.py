"""Resident: a model that stays loaded, for a chat or a server. `Backend.answer` loads one for each call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.backends import get_backend
from tasks.backends.contract import Answer, Decoding
from tasks.core.models import Message
from tasks.recipe.tuning import LocalTune, Tune

Talks = Sequence[Sequence[Message]]


def resident(tune: Tune, model: str | None) -> Callable[[Talks, Decoding], list[Answer]]:
    """A function that answers conversations by `model` (None: the base). A local model is loaded here, once."""
    if not isinstance(tune, LocalTune):
        backend = get_backend(tune)
        return lambda talks, decoding: backend.answer(model, tune, talks, decoding)[0]
    from tasks.backends.local import backend as local
    from tasks.backends.local import engines, models
    from tasks.backends.local.sampler import Sampler

    with engines.lean(tune), tempfile.TemporaryDirectory(prefix="shardtune-") as folder:
        engines.quiet()
        adapter = None if model is None else local.fetched(model, Path(folder))
        return Sampler(models.resolve(tune), adapter, tune, local.version(tune, adapter)).answer
