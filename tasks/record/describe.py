"""What a run records before its job starts: hyperparameters, versions, inputs, commit, parent."""

from __future__ import annotations

import functools
import getpass
import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.contract import Link
from tasks.core import processes
from tasks.core.models import Export
from tasks.record.names import BACKEND, ENDPOINT, LINES, MODEL, NEAR, PARENT, RECIPE, SHARDS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Param, Run

LIBRARIES = (
    "torch transformers trl peft bitsandbytes unsloth datasets pyarrow prefect mlflow openai google-genai".split()
)
LONGEST = 5_000  # characters of a tag or parameter; every MLflow store accepts that many


def describe(api: MlflowClient, run_id: str, link: Link, tags: dict[str, str]) -> None:
    """Every hyperparameter as resolved, versions of libraries, the tags, and the exports as inputs, each once."""
    from mlflow.entities import RunTag

    known = _flat(link.tune.model_dump(mode="json"))
    known |= {"style": link.style, "seed": link.seed, "backend": link.backend, "heldout_rows": link.heldout_rows}
    known |= {f"library.{name}": installed for name in LIBRARIES if (installed := library(name))}
    run = api.get_run(run_id)
    new = {name: value for name, value in tags.items() if run.data.tags.get(name) != value}
    api.log_batch(run_id, params=params(run, known), tags=[RunTag(name, value) for name, value in new.items()])
    had = run.inputs
    digests = {i.dataset.digest for i in had.dataset_inputs} if had else set()
    inputs = [_input(e) for e in (*link.train, *link.holdout) if e.digest not in digests]
    if inputs:
        api.log_inputs(run_id, datasets=inputs)


def params(run: Run, known: Mapping[str, Any]) -> list[Param]:
    """The parameters that the run does not have yet: MLflow refuses to change one."""
    from mlflow.entities import Param

    return [Param(name, str(value)[:LONGEST]) for name, value in known.items() if name not in run.data.params]


def tags(link: Link, recipe: str, lines: int | None, near: int | None, parent: str | None) -> dict[str, str]:
    """Tags that distinguish this run in a list, then those that lead to its parent; MLflow shows them in this order."""
    model = link.base_model.rstrip("/").rpartition("/")[2] or link.base_model
    values = {RECIPE: recipe, MODEL: model, SHARDS: link.shards, BACKEND: link.backend}
    values |= {LINES: str(lines)} if lines is not None else {}
    values |= {NEAR: str(near)} if near is not None else {}
    values |= {ENDPOINT: link.endpoint} if link.endpoint else {}
    values |= {PARENT: link.parent_key} if link.parent_key else {}
    return values | ({"mlflow.parentRunId": parent} if parent else {})


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested hyperparameters under names with points: {"lora": {"r": 8}} is {"lora.r": 8}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def _input(export: Export) -> DatasetInput:
    """An export as MLflow's data set: its digest, counts and place."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"shard {export.shard} {export.split}",
        digest=export.digest,
        source_type="local" if "://" not in export.uri else "remote",
        source=json.dumps({"uri": export.uri}),
        profile=json.dumps({"examples": export.examples, "tokens": export.tokens, "truncated": export.truncated}),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", export.split)])


def library(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@functools.cache
def source() -> dict[str, str]:
    """What MLflow shows as a run's source and author: this program, its commit where it is a checkout, the account."""
    values = {"mlflow.source.name": f"shardtune {library('shardtune') or ''}".strip(), "mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):  # an account without a name, as in some containers
        values["mlflow.user"] = getpass.getuser()
    call = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, env=processes.environment())
        values |= {"mlflow.source.git.commit": done.stdout.strip()} if done.returncode == 0 else {}
    return values
