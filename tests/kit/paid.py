"""Links of paid providers on a few made-up rows, simulators for them, and one pass from the start to the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployments.simulators import serve
from tasks import evaluate, train
from tasks.backends import get_backend, lifecycle
from tasks.backends.contract import Link
from tasks.core.models import Export, Finetuned, Format, Split
from tasks.evaluation import exams
from tasks.evaluation.exams import Exam
from tasks.examples import lint
from tasks.examples.export import export
from tasks.recipe.model import Exporting, Recipe
from tasks.recipe.tuning import GeminiTune, OpenAITune, Tune
from tasks.record import evidence, ledger
from tests.kit import rows as shards
from tests.kit.models import ROWS

TUNES: dict[str, Tune] = {
    "openai": OpenAITune(base_model="gpt-4o-mini-2024-07-18", epochs=3, batch_size=8),
    "gemini": GeminiTune(base_model="gemini-3.1-flash-lite", epochs=3),
}
SERVICE = {"openai": "openai", "gemini": "vertex"}  # a backend's name in the simulators
HELDOUT = [(f"Tent {n}", f"A tent for {n} nights.") for n in range(6)]


@contextmanager
def simulated(patch: pytest.MonkeyPatch, speed: float = 1_200.0) -> Iterator[serve.Simulators]:
    """Simulators, and an environment that leads to them."""
    with serve.running(speed=speed) as simulators:
        for name, value in (simulators.environment | {"SHARDTUNE_BUCKET": simulators.bucket}).items():
            patch.setenv(name, value)
        yield simulators


def exported(place: Path, rows: list[tuple[str, str]], format: Format, split: Split, model: str) -> Export:
    """An export of these rows, with its tokens counted."""
    shard = shards.shard(place / split, rows, split)
    made = export(shard, Exporting(formats=(format,)), format, split, None, str(place))
    return lint.of_export(made, model, fix=False).export


def linked(place: Path, wanted: Tune, **changes: Any) -> Link:
    """A link of this tune on the made-up rows."""
    format: Format = get_backend(wanted).format(wanted)
    values = {
        "name": "tiny",
        "backend": wanted.kind,
        "base_model": wanted.base_model,
        "endpoint": get_backend(wanted).endpoint(wanted),
        "train": (exported(place, ROWS, format, "train", wanted.base_model),),
        "holdout": (exported(place, HELDOUT, format, "holdout", wanted.base_model),),
        "heldout_rows": 4,
        "tune": wanted,
        "style": "describe",
        "seed": 7,
        "asked": 3,
        "answer_tokens": 20,
    }
    return Link(**(values | changes))


def exam(place: Path, link: Link) -> Exam:
    """Three questions on the rows of a link."""
    train, heldout = shards.shard(place / "train", ROWS, "train"), shards.shard(place / "holdout", HELDOUT, "holdout")
    seen = exams.exam(link.train, (), [train], 2, 0, 1).seen
    return Exam(seen=seen, unseen=exams.exam((), link.holdout, [heldout], 0, 1, 1).unseen)


def work(place: Path, link: Link, again: bool = False) -> Finetuned:
    """What the flow does with one link, but for its orchestrator: start, watch, conclude."""
    evaluate.ask = exams.ask  # what the task of this name calls
    recipe = Recipe(name="tiny", tune=link.tune)
    backend, questions = get_backend(link.tune), exam(place, link)
    done = ledger.finished(link.key)
    if done is not None:
        return done
    cost = backend.quote(link)
    job = train.start.fn(link, recipe, questions, cost, again, True)
    run_id = ledger.run_id(link.key)
    status = lifecycle.watch(job, link, backend, lambda seen: evidence.progress(run_id, seen))
    return train.conclude(link, recipe, questions, status, cost)


def left_behind(simulators: serve.Simulators) -> list[str]:
    """Uploads that no job uses."""
    seen = serve.seen(simulators.state)
    used = {uri for job in simulators.state.tuning.values() for uri in job["_uris"]}
    files = [f["filename"] for f in seen["files"] if not f["used_by"]]
    return files + [uri for uri in simulators.objects if uri not in used]
