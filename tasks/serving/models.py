"""Models: what can be asked, each loaded once, and replaced under way when a champion or its catalogue changes.

A request takes a model once and keeps it to its end, so nothing is dropped when another takes its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tasks.answers import ask
from tasks.answers.finding import calibration
from tasks.answers.index import Index
from tasks.answers.reply import NOBODY, Reply, Target
from tasks.backends.contract import Answer, Decoding
from tasks.core import store
from tasks.core.errors import ShardtuneError
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import Tune
from tasks.serving import talk
from tasks.serving.batcher import Asked, Batcher
from tasks.serving.refusals import RefusedRequest

log = logging.getLogger(__name__)
Wanted = dict[str, tuple[Target, Recipe]]


class Places(NamedTuple):
    """What a server is given by whoever starts it: it knows neither the registry nor how an index is made."""

    wanted: Callable[[], Wanted]  # the models to serve, by the name they are asked by; the first is the usual one
    indexed: Callable[[Recipe], str]  # brings the index of a recipe's catalogue up to date; returns its folder
    loaded: Callable[[Tune, str | None], Asked]  # loads a model


class Opened(NamedTuple):
    """An index, and what tells its catalogue and its files from themselves after a change."""

    rows: Index
    folder: str
    catalogue: dict[str, str]
    files: dict[str, str]


class Model:
    """One model with the catalogue it answers from."""

    def __init__(self, name: str, target: Target, recipe: Recipe, index: Index, batcher: _Lazy) -> None:
        self.name, self.target, self.recipe, self.index, self.batcher = name, target, recipe, index, batcher
        self.decoding = ask.decoding(recipe.evaluate, target.style, recipe.seed)

    def reply(self, questions: Sequence[str], until: float, uid: str | None = None) -> Reply:
        """The answer to the last of a conversation's questions, as `shardtune ask` gives it.

        `uid` names the row that it is about, where the person chose it. RefusedRequest where there is none.
        """

        def generate(_: Target, asked: ask.Talks, drawn: Decoding) -> Sequence[Answer]:
            return self.batcher().answers(asked, drawn, until)

        *before, last = questions
        wanted = self.recipe.ask
        looked = talk.chosen(last, uid, self.index) if uid else None
        looked = looked or ask.retrieve(last, self.index, wanted, talk=talk.before(before, self.index))
        (reply,) = ask.replies([last], self.target, self.index, wanted, self.decoding, generate, looked=[looked])
        return reply


class _Lazy:
    """A model that is loaded when it is first needed."""

    def __init__(self, load: Callable[[], Asked]) -> None:
        self.load, self._lock, self._made = load, Lock(), list[Batcher]()

    def __call__(self) -> Batcher:
        with self._lock:
            if not self._made:
                self._made.append(Batcher(self.load()))
            return self._made[0]

    def waiting(self) -> int:
        """How many conversations wait for it."""
        return sum(map(len, self._made))


class Models:
    """All that a server answers with. `refresh` is called by one thread; everything else by any."""

    def __init__(self, places: Places) -> None:
        self.places, self.held, self.trouble = places, dict[str, Model](), "the models are being loaded"
        self._indexes: dict[str, Opened] = {}

    def __getitem__(self, name: str | None) -> Model:
        """The model of this name, by default the first. RefusedRequest where there is none."""
        held = self.held
        if not held:
            raise RefusedRequest(503, f"no model can be asked yet: {self.trouble}", "not_ready", wait=10)
        if name is None:
            return next(iter(held.values()))
        if name not in held:
            raise RefusedRequest(404, f"no such model: choose one of {', '.join(held)}", "model_not_found", "model")
        return held[name]

    def refresh(self) -> None:
        """Bring models and indexes to what is wanted now. What cannot be had leaves what is there as it is."""
        try:
            wanted = self.places.wanted()
            made = {name: self._model(name, *found) for name, found in wanted.items()}
            if made:
                first = next(iter(made.values()))
                if first.target.name != NOBODY:
                    first.batcher()  # loaded before anybody waits for it
            self.held, self.trouble = made, "none is wanted"
        except Exception as error:
            told = " ".join(str(error).split())
            if told != self.trouble:
                log.warning("models stay as they are: %s", told, exc_info=not isinstance(error, ShardtuneError))
            self.trouble = told

    def _model(self, name: str, target: Target, recipe: Recipe) -> Model:
        index, before = self._opened(recipe), self.held.get(name)
        if before is None or before.target != target or before.recipe != recipe:
            same = next((m.batcher for m in self.held.values() if _loaded(m.target) == _loaded(target)), None)
            lazy = same or _Lazy(lambda: self.places.loaded(target.tune, target.model))
            return Model(name, target, recipe, index, lazy)
        return before if before.index is index else Model(name, target, recipe, index, before.batcher)

    def _opened(self, recipe: Recipe) -> Index:
        """The index of a recipe's catalogue; brought up to date where the catalogue has changed."""
        key = store.digest_of([recipe.catalogue.model_dump(), recipe.clean.model_dump(), recipe.split.model_dump()])
        before, catalogue = self._indexes.get(key), _marked(recipe.catalogue.uri)
        folder = before.folder if before and before.catalogue == catalogue else self.places.indexed(recipe)
        files = store.marks([str(Path(folder, "shards.json"))])
        if before is None or (before.folder, before.files) != (folder, files):
            opened = Index(folder)
            calibration(opened)  # before anybody waits for it
            self._indexes[key] = Opened(opened, folder, catalogue, files)
        elif before.catalogue != catalogue:
            self._indexes[key] = before._replace(catalogue=catalogue)
        return self._indexes[key].rows

    def watch(self, every: float, ended: Callable[[float], bool]) -> None:
        """Refresh now and every so many seconds; `ended` waits so long and says whether it is over."""
        while True:
            start = time.monotonic()
            self.refresh()
            if ended(max(every, 2 * (time.monotonic() - start))):
                return


def _loaded(target: Target) -> tuple[object, ...]:
    """What decides which weights are loaded."""
    return target.tune, target.model, target.digest, target.name == NOBODY


def _marked(uri: str | None) -> dict[str, str]:
    """What tells a catalogue from itself after a change; empty where its place tells nothing."""
    try:
        return store.marks([uri]) if uri else {}
    except Exception:  # each file system has errors of its own
        return {}
