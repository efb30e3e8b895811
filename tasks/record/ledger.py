"""Ledger: the MLflow run of a link, found by its tag `shardtune.key`. One key has one run, whichever process opens it.

Every function here is idempotent: a process may be killed after any line and the next one repeats the call.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.backends.contract import Job, Link, Quote
from tasks.backends.local.models import stands
from tasks.core import settings, store
from tasks.core.errors import AnswerError, DamagedError
from tasks.core.models import Finetuned, Frozen, Prepared
from tasks.evaluation.exams import Exam
from tasks.examples.overlap import Overlap
from tasks.recipe.model import Recipe
from tasks.record import attempts, describe, fresh, names, note, reader, turns, view
from tasks.record.names import EXPERIMENT, JOB, KEY, NOTE, STATE, UNATTENDED, UNTIL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
KEYS = re.compile(r"[0-9a-f]{4,32}")  # of a link, whole or its beginning

for noisy in ("alembic", "mlflow.store", "mlflow.tracking", "mlflow.utils"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


def client() -> MlflowClient:
    """A client of the store that the settings name. MLflow is imported here, not above: its import takes seconds."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError

    uri = settings.tracking_uri()
    if uri.startswith("sqlite") and uri not in _made:
        with fresh.lock():
            try:
                if uri == f"sqlite:///{settings.local_root() / 'mlflow.db'}":
                    fresh.database()
                MlflowClient(tracking_uri=uri).get_experiment_by_name(EXPERIMENT)
            except (DatabaseError, MlflowException) as error:
                if "locked" in str(error):  # by another process, for a while
                    raise
                raise DamagedError(
                    f"MLflow's database {uri.removeprefix('sqlite:///')!r} cannot be used "
                    f"({str(error).splitlines()[0]}): put back a backup by `shardtune restore`, or move the file away "
                    "to start without records"
                ) from error
        _made.add(uri)
    return MlflowClient(tracking_uri=uri)


_made: set[str] = set()  # SQLite stores that this process has opened once without an error


def experiment(api: MlflowClient) -> str | None:
    """The id of shardtune's experiment; None where no run was recorded yet."""
    ours = api.get_experiment_by_name(EXPERIMENT)
    return ours.experiment_id if ours else None


def run_of(key: str) -> Run | None:
    """The run of `key`, or None. Where two machines made one at the same moment, the older one counts."""
    api = client()
    place = experiment(api)
    if place is None:
        return None
    first = ["attributes.start_time ASC"]
    runs = api.search_runs([place], f"tags.`{KEY}` = '{key}'", max_results=1, order_by=first)
    return runs[0] if runs else None


class ExportOrigin(NamedTuple):
    """The shards that a link is tuned on, and their near duplicates in the holdout; recorded in its run."""

    prepared: Prepared
    overlap: Overlap


class MlflowLedger:
    """The ledger that `tasks.backends.lifecycle` writes to: one run per key, with every attempt in its history.

    The lifecycle knows no MLflow; it calls `turn`, `open`, `job` and `record` of whatever ledger it is given.
    """

    def __init__(
        self, recipe: Recipe, questions: Exam, quote: Quote | None = None, beside: ExportOrigin | None = None
    ) -> None:
        self.recipe, self.overlap = recipe, beside.overlap if beside else None
        self.documents: dict[str, Frozen | None] = {"recipe": recipe, "questions": questions, "quote": quote}
        self.documents |= {"overlap": self.overlap, "prepared": beside.prepared if beside else None}

    @staticmethod
    def turn(key: str) -> AbstractContextManager[None]:
        """A mutex on `key` among machines: only one may start its job at a time."""
        api = client()
        return turns.turn(api, experiment(api) or made(api), key)

    def open(self, link: Link, anew: bool = False) -> str:
        """The id of the run of this link's key. Creates it RUNNING, with everything known before the job starts.

        `anew` moves the recorded job to the run's ended attempts and sets the run RUNNING again.
        """
        api, run = client(), run_of(link.key)
        if run is not None and anew:
            attempts.close(api, run)
        parent = run_of(link.parent_key) if link.parent_key else None
        shown = self._shown(link, str(parent.info.run_id) if parent else None)
        if run is None:
            place = experiment(api) or made(api)
            own = {KEY: link.key, "mlflow.runName": f"{link.title} {link.key[:8]}", NOTE: note.begun(link, shown)}
            if view.TAG not in api.get_experiment(place).tags:
                api.set_experiment_tag(place, view.TAG, view.saved())
            run = api.create_run(place, tags={STATE: "intended"} | shown | own | describe.source())
        run_id = str(run.info.run_id)
        describe.describe(api, run_id, link, shown)
        documents = {"link": link} | self.documents
        put(
            api, run_id, {name: value.model_dump(mode="json") for name, value in documents.items() if value is not None}
        )
        return run_id

    def _shown(self, link: Link, parent: str | None) -> dict[str, str]:
        prepared = self.documents["prepared"]
        lines = sum(s.lines for s in prepared.shards) if isinstance(prepared, Prepared) else None
        return describe.tags(link, self.recipe.name, lines, self.overlap.near if self.overlap else None, parent)

    @staticmethod
    def job(key: str) -> Job | None:
        """The job recorded for this key; None where none was started, or its start was not recorded."""
        run = run_of(key)
        recorded = run.data.tags.get(JOB) if run else None
        return Job.model_validate_json(recorded) if recorded else None

    @staticmethod
    def record(job: Job) -> None:
        """Record `job` in its run. A run that had ended becomes RUNNING again."""
        api, run = client(), run_id(job.key)
        api.set_tag(run, JOB, job.model_dump_json())
        if api.get_run(run).info.status != "RUNNING":
            api.update_run(run, status="RUNNING")


def made(api: MlflowClient) -> str:
    """Create shardtune's experiment and return its id; the id of the existing one where another process was faster."""
    from mlflow.exceptions import MlflowException

    kind = {"mlflow.experimentKind": "finetuning"}  # which of MLflow's views opens first
    try:
        return str(api.create_experiment(EXPERIMENT, artifact_location=settings.artifact_location(), tags=kind))
    except MlflowException:
        there = experiment(api)  # another process created it a moment ago
        if there is None:
            raise
        return there


def finished(key: str) -> Finetuned | None:
    """The recorded result of `key`, if its run is FINISHED and its model still exists; else None.

    A damaged record counts as none: the job still exists, so its evidence is written again.
    """
    run = next(iter(reader.rows(reader.Wanted(value=key), patient=True)), None)
    if run is None or run.status != "FINISHED":
        return None
    try:
        kept = reader.artifact(run, "result.json")
        values = read(run.run_id, "result.json") if kept is None else _opened(run.run_id, "result.json", kept)
        result = Finetuned.model_validate(values | {"trained": False}) if values else None
    except (DamagedError, ValidationError) as error:
        log.warning("%s", " ".join(str(error).split()))
        return None
    return result if result and _there(result) else None


def _there(result: Finetuned) -> bool:
    """Whether a model in a folder is intact. A provider's model has only a name here, so it counts as there."""
    model = result.model
    return model is not None and (not (model.startswith("/") or "://" in model) or stands(model, result.model_digest))


def spent(key: str) -> float:
    """US dollars that failed and cancelled jobs of `key` may have cost."""
    run = run_of(key)
    return attempts.spent(run) if run else 0.0


def waiting(key: str) -> str | None:
    """Time until which the start of `key` waits for its provider (ISO 8601, UTC); None where it does not wait."""
    run = run_of(key)
    return run.data.tags.get(UNTIL) if run and names.value(run.data.tags, STATE) == "waiting" else None


def taken(key: str) -> bool:
    """Whether another machine is starting the job of `key` now."""
    api = client()
    place = experiment(api)
    return place is not None and turns.elsewhere(api, place, key)


def leave(key: str, by: str) -> None:
    """Record that no process waits for the job of `key`. A sweep then resumes its chain with the flow `by`."""
    client().set_tag(run_id(key), UNATTENDED, by)


def left(key: str) -> str | None:
    """The flow that left the job of `key` to a sweep; None where a process waits for it."""
    run = run_of(key)
    return (run.data.tags.get(UNATTENDED) or None) if run else None


def put(api: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Write each value as the JSON artifact `NAME.json` of a run, in one upload."""
    with tempfile.TemporaryDirectory() as folder:
        for name, value in values.items():
            if isinstance(value, dict) and "columns" not in value:  # MLflow reads its tables itself, without our digest
                value = store.sealed(value)
            Path(folder, f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        api.log_artifacts(run_id, folder)


def read(run_id: str, name: str) -> Any:
    """A JSON artifact of a run; None where the run has none of that name. DamagedError where its digest differs."""
    if name not in {a.path for a in client().list_artifacts(run_id)}:
        return None
    return _opened(run_id, name, text(run_id, name))


def _opened(run_id: str, name: str, content: str | bytes) -> Any:
    try:
        return store.opened(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(run_id, name, str(error)) from error


def load(run_id: str, name: str, model: type[M]) -> M | None:
    """A JSON artifact of a run as `model`, or None. DamagedError where its digest differs or `model` rejects it."""
    values = read(run_id, name)
    if values is None:
        return None
    if not values:  # `{}` would validate as a model whose fields all have defaults
        raise _damaged(run_id, name, "it is empty")
    try:
        return model.model_validate(values)
    except ValidationError as error:  # pydantic's own text is several lines, with the value in it
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(run_id, name, f"{place + ': ' if place else ''}{first['msg']}") from error


def _damaged(run_id: str, name: str, reason: str) -> DamagedError:
    return DamagedError(
        f"artifact {name!r} of MLflow run {run_id!r} is damaged or of another version ({reason}): run the command "
        "that made it again, or put back a backup"
    )


def text(run_id: str, name: str) -> str:
    """A text artifact of a run. Raises MlflowException where it is missing."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(client().download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")


class Known(NamedTuple):
    """Everything a later process needs to finish a link. `job` is None where none was recorded."""

    link: Link
    recipe: Recipe
    questions: Exam
    job: Job | None
    quote: Quote | None = None


def known(key: str) -> Known | None:
    """What the run of `key` holds; None where there is no run, or it lacks what a start needs.

    Raises DamagedError where a part cannot be read. Returning None there would mean "never started", and a second job.
    """
    run = run_of(key)
    if run is None:
        return None
    place = run.info.run_id
    link, recipe = load(place, "link.json", Link), load(place, "recipe.json", Recipe)
    questions = load(place, "questions.json", Exam)
    if link is None or recipe is None or questions is None:
        return None
    return Known(link, recipe, questions, MlflowLedger.job(key), load(place, "quote.json", Quote))


def unfinished() -> list[str]:
    """Keys of all runs that are still RUNNING."""
    api = client()
    place = experiment(api)
    if place is None:
        return []
    runs = api.search_runs([place], f"tags.`{KEY}` != '' and attributes.status = 'RUNNING'")
    return [run.data.tags[KEY] for run in runs]


def run_id(key: str) -> str:
    """The id of the run of `key`; LookupError where there is none."""
    run = run_of(key)
    if run is None:
        raise LookupError(f"no MLflow run has key {key!r}: start it with `shardtune finetune`")
    return str(run.info.run_id)


def whole(key: str) -> str:
    """Complete a key from its first digits (at least 4; run names show 8).

    Raises AnswerError where no run or several runs match; the message lists those.
    """
    if not KEYS.fullmatch(key):
        raise AnswerError(f"{key!r} is not a key: give 4 to 32 hex digits; `shardtune status` lists open jobs")
    api = client()
    place = experiment(api)
    runs = api.search_runs([place], f"tags.`{KEY}` LIKE '{key}%'") if place else []
    names_by_key = {run.data.tags[KEY]: run.info.run_name for run in runs}
    if not names_by_key:
        raise AnswerError(f"no MLflow run has a key that starts with {key!r}: `shardtune status` lists open jobs")
    if len(names_by_key) > 1:
        several = ", ".join(f"{whole} ({name})" for whole, name in sorted(names_by_key.items()))
        raise AnswerError(f"{key!r} matches several keys, give more digits: {several}")
    return next(iter(names_by_key))


def job_id(key: str) -> str:
    """The id of the job recorded for `key`."""
    job = MlflowLedger.job(key)
    return job.id if job else ""
