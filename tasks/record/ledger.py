"""Ledger: the MLflow run of a link, found by its tag `shardtune.key`; one run per key, whoever opens it.

Everything here may be done twice and leaves the same run.
"""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run, RunTag

from tasks import settings, store
from tasks.answers.asking import Exam
from tasks.backends.contract import Job, Link
from tasks.models import Export, Finetuned
from tasks.recipe import Recipe

EXPERIMENT = "shardtune"
KEY, JOB, STATE, REASON = "shardtune.key", "shardtune.job", "shardtune.state", "shardtune.reason"
LIBRARIES = tuple("torch transformers trl peft bitsandbytes unsloth datasets pyarrow prefect mlflow".split())
LONGEST = 5_000  # characters of a tag or parameter that MLflow surely takes

for noisy in ("alembic", "mlflow.store", "mlflow.tracking", "mlflow.utils"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


def client() -> MlflowClient:
    """A client of the store that the settings name."""
    return MlflowClient(tracking_uri=settings.tracking_uri())


def run_of(key: str) -> Run | None:
    """The run of `key`, or None; the newest where a failed job was started anew."""
    api = client()
    experiment = api.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    newest = ["attributes.start_time DESC"]
    found = api.search_runs([experiment.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1, order_by=newest)
    return found[0] if found else None


class MlflowLedger:
    """The ledger of `tasks.backends.lifecycle`: one run per key, and one more for each new attempt after a failure."""

    def __init__(self, recipe: Recipe, questions: Exam) -> None:
        self.recipe, self.questions = recipe, questions

    def open(self, link: Link, anew: bool = False) -> str:
        """The run of this link's key; made, RUNNING and with all that is known before the start, if there is none.

        `anew` ends the run there is FAILED, if nothing ended it yet, and makes another.
        """
        api, run = client(), run_of(link.key)
        if run is not None and anew:
            if run.info.status == "RUNNING":
                api.set_terminated(run.info.run_id, "FAILED")
            run = None
        if run is None:
            api_experiment = api.get_experiment_by_name(EXPERIMENT)
            place = api_experiment.experiment_id if api_experiment else _experiment(api)
            tags = {KEY: link.key, STATE: "intended", "mlflow.runName": f"{link.name} {link.key[:8]}"}
            run = api.create_run(place, tags=tags | _source())
        run_id = str(run.info.run_id)
        _describe(api, run_id, link)
        for name, held in (("link", link), ("recipe", self.recipe), ("questions", self.questions)):
            api.log_dict(run_id, held.model_dump(mode="json"), f"{name}.json")
        api.set_tag(run_id, "shardtune.recipe", self.recipe.name)
        return run_id

    @staticmethod
    def job(key: str) -> Job | None:
        """The job recorded in the run's tag."""
        run = run_of(key)
        told = run.data.tags.get(JOB) if run else None
        return Job.model_validate_json(told) if told else None

    @staticmethod
    def record(job: Job) -> None:
        """Keep `job` in the run's tag; a run that had ended is RUNNING again."""
        api, run = client(), run_id(job.key)
        api.set_tag(run, JOB, job.model_dump_json())
        if api.get_run(run).info.status != "RUNNING":
            api.update_run(run, status="RUNNING")


def _experiment(api: MlflowClient) -> str:
    kind = {"mlflow.experimentKind": "finetuning"}  # which of MLflow's views opens first
    return str(api.create_experiment(EXPERIMENT, artifact_location=settings.artifact_location(), tags=kind))


def _describe(api: MlflowClient, run_id: str, link: Link) -> None:
    """Every hyperparameter as resolved, versions of libraries, and the exports as inputs, each once."""
    lora = link.tune.lora.model_dump(mode="json")
    known = link.tune.model_dump(mode="json", exclude={"lora"}) | {f"lora.{name}": v for name, v in lora.items()}
    known |= {"style": link.style, "seed": link.seed, "backend": link.backend, "heldout_rows": link.heldout_rows}
    known |= {f"library.{name}": found for name in LIBRARIES if (found := library(name))}
    params = [Param(name, str(value)[:LONGEST]) for name, value in known.items()]
    api.log_batch(run_id, params=params, tags=[RunTag("shardtune.parent", link.parent_key or "")])
    had = api.get_run(run_id).inputs
    digests = {i.dataset.digest for i in had.dataset_inputs} if had else set()
    inputs = [_input(e) for e in (*link.train, *link.holdout) if e.digest not in digests]
    if inputs:
        api.log_inputs(run_id, datasets=inputs)


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


def _source() -> dict[str, str]:
    """The commit of this checkout, where it is one."""
    call = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"mlflow.source.git.commit": done.stdout.strip()} if done.returncode == 0 else {}


def finished(key: str) -> Finetuned | None:
    """The recorded result of a key whose run is FINISHED and whose model is still there, or None."""
    run = run_of(key)
    if run is None or run.info.status != "FINISHED":
        return None
    told = read(run.info.run_id, "result.json")
    result = Finetuned.model_validate(told | {"trained": False}) if told else None
    return result if result and _there(result.model) else None


def _there(model: str | None) -> bool:
    """Whether a model that lies in a folder is still there; a provider's model is known by its name alone."""
    return model is not None and (not (model.startswith("/") or "://" in model) or store.exists(model))


def read(run_id: str, name: str) -> Any:
    """A JSON artifact of a run; None where the run has none of that name."""
    api = client()
    if name not in {item.path for item in api.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(Path(api.download_artifacts(run_id, name, folder)).read_text())


class Known(NamedTuple):
    """All that a run holds of its link: enough to finish it in any later process. No job where none was recorded."""

    link: Link
    recipe: Recipe
    questions: Exam
    job: Job | None


def known(key: str) -> Known | None:
    """What the run of `key` holds; None where there is none, or it was cut before it held all that a start needs."""
    run = run_of(key)
    if run is None:
        return None
    link, recipe, questions = (read(run.info.run_id, f"{name}.json") for name in ("link", "recipe", "questions"))
    if not (link and recipe and questions):
        return None
    return Known(
        Link.model_validate(link),
        Recipe.model_validate(recipe),
        Exam.model_validate(questions),
        MlflowLedger.job(key),
    )


def unfinished() -> list[str]:
    """Keys of the runs that are not ended."""
    api = client()
    experiment = api.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found = api.search_runs([experiment.experiment_id], f"tags.`{KEY}` != '' and attributes.status = 'RUNNING'")
    return [run.data.tags[KEY] for run in found]


def run_id(key: str) -> str:
    """The id of the run of `key`; LookupError where there is none."""
    run = run_of(key)
    if run is None:
        raise LookupError(f"no MLflow run has key {key!r}: start it with `shardtune finetune`")
    return str(run.info.run_id)


def job_id(key: str) -> str:
    """The id of the job recorded for `key`."""
    job = MlflowLedger.job(key)
    return job.id if job else ""


def address(run: str) -> str | None:
    """Where a browser finds the run; None where MLflow is a file and no server."""
    uri = settings.tracking_uri()
    if not uri.startswith("http"):
        return None
    return f"{uri.rstrip('/')}/#/experiments/{client().get_run(run).info.experiment_id}/runs/{run}"
