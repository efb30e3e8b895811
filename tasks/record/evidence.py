"""Evidence of a job, written to its MLflow run: losses, scores, answers, and the model itself."""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.contract import Decoding, JobStatus, Link, Quote
from tasks.core import settings, store
from tasks.core.errors import DamagedError
from tasks.core.models import Finetuned
from tasks.core.redaction import redacted
from tasks.evaluation import plots
from tasks.evaluation.forgetting import ForgettingMatrix, heat_map
from tasks.record import attempts, describe, names, note, view
from tasks.record.describe import LIBRARIES, LONGEST, library
from tasks.record.ledger import client, load, put, read
from tasks.record.names import (
    COST,
    DETAIL,
    EVENTS,
    FLOW_RUN,
    FORGOTTEN,
    JOB_PAGE,
    KEPT,
    NOTE,
    REASON,
    SIMULATED,
    SPENT,
    STATE,
    TUNED,
    UNTIL,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

log = logging.getLogger(__name__)
DEFAULT = Decoding()  # of a served model, where its caller sets no parameters
TRUE = "the row's own text"
SHOWN = ("question", "before", "after", TRUE, "group", "after_t0", "before_t0", "uid", "line")  # MLflow shows four
# MLflow orders the charts of a run by name, and puts every name with a slash before those without. So no name has one,
# and these stand in the order in which they are wanted; what is under `system/` has a page of its own.
MEASURED = {
    "loss": "loss",
    "heldout_loss": "loss_heldout",
    "learning_rate": "optimizer_learning_rate",
    "gradient_norm": "optimizer_gradient_norm",
    "accuracy": "token_accuracy",
}
SPEED = ("seconds", "seconds_per_step", "tokens_per_second", "examples_per_second", "peak_memory_bytes")


def progress(run_id: str, status: JobStatus) -> None:
    """Record the job's state, and those loss points and events that the run does not have yet."""
    from mlflow.entities import Metric

    api = client()
    run, now = api.get_run(run_id), _now()
    first = attempts.offset(run)
    last = max((m.step for m in api.get_metric_history(run_id, "loss")), default=0)
    metrics = [
        Metric(shown, value, now, first + point.step)
        for point in status.points
        if first + point.step > last
        for name, shown in MEASURED.items()
        if (value := getattr(point, name, None)) is not None
    ]
    for part in range(0, len(metrics), 900):  # the store takes at most 1,000 at once
        api.log_batch(run_id, metrics=metrics[part : part + 900])
    tags: dict[str, str] = {STATE: status.state}
    if status.events and run.data.tags.get(EVENTS) != str(len(status.events)):
        api.log_dict(run_id, {"events": [event.model_dump(mode="json") for event in status.events]}, "events.json")
        tags[EVENTS] = str(len(status.events))
    if simulator := status.facts.get("simulator"):
        tags[SIMULATED] = str(simulator)
    if status.detail not in ("", status.state):
        tags[DETAIL] = status.detail
    elif DETAIL in run.data.tags:
        api.delete_tag(run_id, DETAIL)
    _tag(api, run, tags)


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def _tag(api: MlflowClient, run: Run, tags: dict[str, str]) -> None:
    """Set the tags whose value changed, in one request."""
    from mlflow.entities import RunTag

    new = [RunTag(name, value[:LONGEST]) for name, value in tags.items() if names.value(run.data.tags, name) != value]
    if new:
        api.log_batch(run.info.run_id, tags=new)


def wait(run_id: str, until: str, reason: str) -> None:
    """Record that the provider accepts no job before `until`. The run stays RUNNING."""
    _stop(run_id, {STATE: "waiting", UNTIL: until}, reason)


def lead(run_id: str, flow_run: str | None, job: str | None) -> None:
    """Record the pages of the flow run and of the provider's job, as tags and as links in the description."""
    api = client()
    run, pages = api.get_run(run_id), {name: at for name, at in ((FLOW_RUN, flow_run), (JOB_PAGE, job)) if at}
    link = _link(run_id)
    about = note.begun(link, run.data.tags | pages) if link else note.pages(pages)
    _tag(api, run, pages | {NOTE: about})


def fail(run_id: str, state: str, reason: str, usd: float = 0.0) -> None:
    """End the run FAILED, or KILLED where the job was cancelled, with the reason where people look.

    `usd` is what its job may have cost, in US dollars; a later attempt's budget is charged with it.
    """
    _stop(run_id, {STATE: state} | ({SPENT: str(usd)} if usd else {}), reason)
    client().set_terminated(run_id, "KILLED" if state == "cancelled" else "FAILED")


def _stop(run_id: str, tags: dict[str, str], reason: str) -> None:
    api = client()
    run, reason = api.get_run(run_id), redacted(reason)
    about = note.stopped(reason[:LONGEST], _link(run_id), run.data.tags)
    _tag(api, run, tags | {REASON: reason[:LONGEST], NOTE: about})


def _link(run_id: str) -> Link | None:
    """The link of a run; None where it is damaged, since a description can do without it."""
    try:
        return load(run_id, "link.json", Link)
    except DamagedError as error:
        log.warning("%s", error)
        return None


def finish(run_id: str, link: Link, status: JobStatus, quote: Quote, result: Finetuned) -> None:
    """Write all evidence of a successful job. The run becomes FINISHED last, so a FINISHED run is complete."""
    progress(run_id, status)
    api = client()
    run = api.get_run(run_id)
    passing = (*SPEED, "eta_seconds")
    known = {name: v for name, v in status.facts.items() if name not in passing and not isinstance(v, dict | None)}
    metrics = _ends(api, run, result, attempts.offset(run) + result.steps) + _once(run, status, result)
    api.log_batch(run_id, metrics=metrics, params=describe.params(run, known))
    _tables(api, run_id, result, {"facts": status.facts, "cost": _costs(status, quote)})
    if status.points:
        api.log_figure(run_id, plots.curve(status.points), "loss.png")
    keep(run_id, link, result.model)
    tags = {COST: _cost(status, quote), TUNED: result.model or ""}
    about = note.ended(result, link, run.data.tags | tags, view.link(run.info.experiment_id), status.facts)
    _tag(api, run, tags | {REASON: "", NOTE: about, "mlflow.loggedArtifacts": TABLES})
    api.set_terminated(run_id, "FINISHED")


def _ends(api: MlflowClient, run: Run, result: Finetuned, last: int) -> list[Metric]:
    """Held-out loss and answer scores before and after, as the first and the last point of a line."""
    from mlflow.entities import Metric

    ends_of = {"loss_heldout": (result.heldout_loss.get("before"), result.heldout_loss.get("after"))}
    for group, arms in result.scores.items():
        ends_of[f"sample_chrf_{group}"] = (arms.get("before", {}).get("chrf"), arms.get("after", {}).get("chrf"))
    metrics, now = [], _now()
    for name, ends in ends_of.items():
        had = {(m.step, m.value) for m in api.get_metric_history(run.info.run_id, name)}
        both = zip((0, last), ends, strict=True)
        metrics += [Metric(name, v, now, step) for step, v in both if v is not None and (step, v) not in had]
    return metrics


def _once(run: Run, status: JobStatus, result: Finetuned) -> list[Metric]:
    """Metrics with one value: the price, which sorts runs, and the speed of the machine."""
    from mlflow.entities import Metric

    values = {f"system/{name}": status.facts[name] for name in SPEED if isinstance(status.facts.get(name), int | float)}
    usd = result.cost.get("usd")
    values |= {"usd": usd} if isinstance(usd, int | float) else {}
    now = _now()
    return [Metric(name, float(value), now, 0) for name, value in values.items() if name not in run.data.metrics]


def keep(run_id: str, link: Link, model: str | None) -> str | None:
    """Log the model to MLflow, once. Returns its URI, or None where there is no model."""
    api = client()
    kept = api.get_run(run_id).data.tags.get(KEPT)
    if model and not kept:
        kept = _model(run_id, link, model)
        api.set_tag(run_id, KEPT, kept)
    return kept


def fetched(uri: str, into: str) -> str | None:
    """Download the adapter of a logged model from MLflow to a folder under `into`; None for a provider's model."""
    import mlflow
    from mlflow.models import Model

    mlflow.set_tracking_uri(settings.tracking_uri())
    place = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=into))
    adapter = Model.load(str(place)).flavors["python_function"]["artifacts"].get("adapter")
    return str(place / adapter["path"]) if adapter else None


def _about(run_id: str, link: Link, model: str) -> dict[str, Any]:
    """What a served model needs to answer: its recipe, style, tuning and key."""
    recipe = read(run_id, "recipe.json") or {}
    place = store.local((recipe.get("catalogue") or {}).get("uri") or "")
    if place and place.exists():
        recipe["catalogue"]["uri"] = str(place.resolve())  # it is served from another folder
    about = {"style": link.style, "key": link.key, "recipe": recipe, "model": model}
    return about | {"tune": link.tune.model_dump(mode="json")}


def forgetting(run_id: str, matrix: ForgettingMatrix) -> None:
    """Record how much of earlier shards this link forgot: the matrix, its picture, and the worst drop."""
    api = client()
    api.log_dict(run_id, store.sealed(matrix.model_dump(mode="json")), "forgetting.json")
    api.log_figure(run_id, heat_map(matrix), "forgetting.png")
    if matrix.drops and "worst_drop" not in api.get_run(run_id).data.metrics:
        api.log_metric(run_id, "worst_drop", max(matrix.drops.values()))
    api.set_tag(run_id, FORGOTTEN, matrix.told if matrix.forgotten else "")


def _costs(status: JobStatus, quote: Quote) -> dict[str, float | None]:
    """Quoted beside billed tokens and dollars."""
    billed = status.billed_tokens
    return {
        "quoted_tokens": quote.tokens,
        "billed_tokens": billed,
        "quote_error": quote.tokens / billed - 1 if quote.tokens is not None and billed else None,
        "quoted_usd_low": quote.usd_low,
        "quoted_usd_high": quote.usd_high,
    }


def _is_folder(model: str) -> bool:
    """Whether the model is a folder that MLflow can store, rather than a name at a provider."""
    return model.startswith("/") or "://" in model


def _cost(status: JobStatus, quote: Quote) -> str:
    """The bill, or the quoted range where no bill is known, in words."""
    billed = status.facts.get("billed_usd")
    if billed is not None:
        return f"${billed:.2f}"
    low, high = quote.usd_low, quote.usd_high
    if high is None:
        return "unknown"
    return f"${high:.2f}" if high == low else f"${low or 0.0:.2f} to ${high:.2f} (quoted)"


TABLES = json.dumps([{"path": f"{name}.json", "type": "table"} for name in ("answers", "scores")])


def _tables(api: MlflowClient, run_id: str, result: Finetuned, measured: dict[str, Any]) -> None:
    """Write sample answers and scores as tables that MLflow shows, and the whole result. Safe to repeat."""
    rows = [row.model_dump(mode="json") | {TRUE: row.content} for row in result.answers]
    answers = {"columns": list(SHOWN), "data": [[row[name] for name in SHOWN] for row in rows]}
    arms = ("before", "after", "before_t0", "after_t0")
    scores = [
        [group, name, *(known.get(arm, {}).get(name) for arm in arms)]
        for group, known in result.scores.items()
        for name in dict.fromkeys(name for values in known.values() for name in values)
    ]
    facts = measured | {"parity": result.parity.model_dump(mode="json") if result.parity else None}
    tables = {"answers": answers, "scores": {"columns": ["group", "score", *arms], "data": scores}}
    put(api, run_id, tables | {"facts": facts, "result": result.model_dump(mode="json")})


def _model(run_id: str, link: Link, model: str) -> str:
    """The adapter, or the name of a provider's model, as an MLflow model that answers questions; returns its URI."""
    import mlflow
    from mlflow.models import infer_signature

    here = Path(__file__).parent
    mlflow.set_tracking_uri(settings.tracking_uri())
    quiet = warnings.catch_warnings(action="ignore")  # it asks for type hints, see serve.py
    with quiet, mlflow.start_run(run_id=run_id), tempfile.TemporaryDirectory() as folder:
        about = Path(folder) / "about.json"
        about.write_text(json.dumps(_about(run_id, link, model)))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(here / "serve.py"),
            artifacts={"about": str(about)} | ({"adapter": model} if _is_folder(model) else {}),
            signature=infer_signature(["a question"], ["an answer"], params=DEFAULT.model_dump() | {"checked": False}),
            code_paths=[str(here.parent)],
            pip_requirements=[f"{name}=={found}" for name in LIBRARIES if (found := library(name))],
        )
    # Leaving the block ended the run; what is still to be recorded belongs to a running one.
    client().update_run(run_id, status="RUNNING")
    return str(info.model_uri)
