"""Describe: what a run says of its link before anything starts: hyperparameters, versions, inputs, commit, parent."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

from tasks.backends.contract import Link
from tasks.models import Export

LIBRARIES = (
    "torch transformers trl peft bitsandbytes unsloth datasets pyarrow prefect mlflow openai google-genai".split()
)
LONGEST = 5_000  # characters of a tag or parameter that MLflow surely takes


def describe(api: MlflowClient, run_id: str, link: Link, parent: str | None) -> None:
    """Every hyperparameter as resolved, versions of libraries, and the exports as inputs, each once."""
    known = _flat(link.tune.model_dump(mode="json"))
    known |= {"style": link.style, "seed": link.seed, "backend": link.backend, "heldout_rows": link.heldout_rows}
    known |= {f"library.{name}": found for name in LIBRARIES if (found := library(name))}
    run = api.get_run(run_id)  # a parameter cannot change, and what does not decide the result may
    params = [Param(name, str(v)[:LONGEST]) for name, v in known.items() if name not in run.data.params]
    api.log_batch(run_id, params=params, tags=[RunTag(name, value) for name, value in _family(link, parent).items()])
    had = run.inputs
    digests = {i.dataset.digest for i in had.dataset_inputs} if had else set()
    inputs = [_input(e) for e in (*link.train, *link.holdout) if e.digest not in digests]
    if inputs:
        api.log_inputs(run_id, datasets=inputs)


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested hyperparameters under names with points: {"lora": {"r": 8}} is {"lora.r": 8}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _family(link: Link, parent: str | None) -> dict[str, str]:
    """Tags that lead from a child to its parent's run; MLflow shows the child under it."""
    tags = {"shardtune.parent": link.parent_key or "", "shardtune.endpoint": link.endpoint or ""}
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


def _input(export: Export) -> DatasetInput:
    """An export as MLflow's data set: its digest, counts and place."""
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


def source() -> dict[str, str]:
    """The commit of this checkout, where it is one."""
    call = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"mlflow.source.git.commit": done.stdout.strip()} if done.returncode == 0 else {}
