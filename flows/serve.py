"""Serve: the models of a root, answered from over HTTP while this process lives. `shardtune serve` runs it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import flow

from flows.prepare import ready, sure
from tasks import respond
from tasks.answers.reply import Reply, Target, nobody
from tasks.backends.local.resident import resident
from tasks.core.errors import AnswerError
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import feedback, registry, traces
from tasks.serving.app import made
from tasks.serving.limits import Limits
from tasks.serving.models import Models, Places, Wanted
from tasks.serving.protocol import Feedback

EVERY = 10.0  # seconds between two looks at the registry and the catalogue
AT_ONCE = 50  # traces that are written together
KEPT = 1_000  # answers that wait for their trace to be written; what comes then has none


@flow(name="index", flow_run_name="index {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def indexed(recipe: Recipe) -> str:
    """Catalogue -> clean shards -> index; returns its folder."""
    recipe, prepared = ready(recipe) if recipe.tune else (recipe, sure(recipe))
    return respond.index(recipe, prepared)


class Wants:
    """The models to serve now: those named (by default every champion), their base, and the catalogue alone."""

    def __init__(self, model: str, recipe: Recipe | None) -> None:
        self.model, self.recipe = model, recipe
        self._known: dict[str, tuple[Target, Recipe]] = {}

    def __call__(self) -> Wanted:
        found: Wanted = {name: self._kept(version, spec) for name, version, spec in self._named()}
        if not found and self.recipe is None:
            raise AnswerError(f"no model is {self.model!r}: `shardtune finetune --promote` makes one")
        recipe = next(iter(found.values()))[1] if found else self.recipe
        assert recipe is not None
        if recipe.tune:
            tune, style = recipe.tune, recipe.export.style
            key = f"base {tune.model_dump_json()} {style}"
            self._known[key] = self._known.get(key) or (registry.base(tune, style), recipe)
            found["base"] = self._known[key]
        return found | {"catalogue": (nobody(recipe.tune, recipe.export.style), recipe)}

    def _named(self) -> list[tuple[str, str, str]]:
        """Each model as it is asked for, its version, and its name in the registry."""
        if self.model != "champion":
            return [(self.model, self.model, self.model)]
        champions = registry.champions()
        if self.recipe is not None:
            champions = {name: v for name, v in champions.items() if name == self.recipe.name}
        single = len(champions) == 1
        return [("champion" if single else f"{n}@champion", f"{n}/{v}", f"{n}@champion") for n, v in champions.items()]

    def _kept(self, version: str, spec: str) -> tuple[Target, Recipe]:
        if version not in self._known:
            target, own = registry.target(spec)
            self._known[version] = target, self.recipe or own
        return self._known[version]


class Traces:
    """Writes what was answered, in a thread of its own and several at a time, so that no answer waits for it.

    What a person thinks of an answer comes after it in the same queue, so its trace is there by then.
    """

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[str, Reply, str | None] | Feedback] = queue.Queue(KEPT)
        self.lost: Callable[[], None] = lambda: None
        self._given: dict[str, None] = {}  # ids of the latest answers
        threading.Thread(target=self._work, daemon=True, name="traces").start()

    def answered(self, name: str, reply: Reply, run_id: str | None) -> None:
        """Have a trace of it written, soon."""
        try:
            self.waiting.put_nowait((name, reply, run_id))
        except queue.Full:
            self.lost()
            return
        self._given[name] = None
        while len(self._given) > KEPT:
            self._given.pop(next(iter(self._given)), None)

    def judged(self, judged: Feedback) -> bool:
        """An assessment of the answer's trace, once that is written; False where there is none."""
        if judged.id not in self._given:
            return feedback.give(judged.id, judged.helpful, judged.reason, judged.correct)
        self.waiting.put(judged)
        return True

    def _work(self) -> None:
        while True:
            several = [self.waiting.get()]
            while len(several) < AT_ONCE and not self.waiting.empty():
                several.append(self.waiting.get_nowait())
            runs_of = {one[2]: None for one in several if not isinstance(one, Feedback)}
            for run_id in runs_of:
                told = [one for one in several if not isinstance(one, Feedback) and one[2] == run_id]
                replies, names = [reply for _, reply, _ in told], [name for name, _, _ in told]
                self._try(partial(traces.write, replies, run_id, names))
            for one in several:
                if isinstance(one, Feedback):
                    self._try(partial(feedback.give, one.id, one.helpful, one.reason, one.correct))
                self.waiting.task_done()

    def _try(self, work: Callable[[], object]) -> None:
        """The answer was given already; that MLflow is away, or took nothing, is counted."""
        try:
            kept = work()
        except Exception:
            kept = False
        if kept is False:
            self.lost()


def application(
    model: str, recipe: Recipe | None, limits: Limits
) -> tuple[Any, Callable[[Callable[[float], bool]], None]]:
    """The application, and what keeps its models as they are wanted until it is told that it is over."""
    kept = Traces()
    models = Models(Places(Wants(model, recipe), indexed, resident))
    app = made(models, limits, kept)
    kept.lost = app.state.server.metrics.lost.inc
    return app, lambda over: models.watch(EVERY, over)
