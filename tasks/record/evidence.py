"""Evidence: what an ended job proves goes into its MLflow run: losses, scores, answers, and the model itself."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from mlflow.models import Model
from mlflow.utils.time import get_current_time_millis

from tasks import settings, store
from tasks.answers import picture
from tasks.answers.forgetting import Forgetting, heat_map
from tasks.backends.contract import Decoding, Link, Quote, Status
from tasks.models import Asked, Finetuned
from tasks.record import attempts
from tasks.record.describe import LIBRARIES, LONGEST, library
from tasks.record.ledger import client, read
from tasks.record.names import EVENTS, FLOW_RUN, FORGOTTEN, JOB_PAGE, REASON, SIMULATED, STATE, UNTIL

DEFAULT = Decoding(repetition_penalty=1.15)  # how a served model answers where nobody says otherwise
SHOWN = ("group", "question", "before", "after", "after_t0", "content")  # first in the table of answers
MEASURED = ("loss", "learning_rate", "epoch", "accuracy", "heldout_loss")
NOTE = "mlflow.note.content"  # the run's description in MLflow's UI


def progress(run_id: str, status: Status) -> None:
    """Take in the state, and the loss points and events that the run has not got yet, each once."""
    api = client()
    run, now = api.get_run(run_id), get_current_time_millis()
    first = attempts.offset(run)
    last = max((m.step for m in api.get_metric_history(run_id, "loss")), default=0)
    metrics = [
        Metric(name, value, now, first + point.step)
        for point in status.points
        if first + point.step > last
        for name in MEASURED
        if (value := getattr(point, name)) is not None
    ]
    for part in range(0, len(metrics), 900):  # the store takes at most 1,000 at once
        api.log_batch(run_id, metrics=metrics[part : part + 900])
    if status.events and run.data.tags.get(EVENTS) != str(len(status.events)):
        told = [event.model_dump(mode="json") for event in status.events]
        api.log_dict(run_id, {"events": told}, "events.json")
        api.set_tag(run_id, EVENTS, str(len(status.events)))
    if simulator := status.facts.get("simulator"):
        api.set_tag(run_id, SIMULATED, str(simulator))
    api.set_tag(run_id, STATE, status.state)
    api.set_tag(run_id, "shardtune.detail", status.detail)


def wait(run_id: str, until: str, reason: str) -> None:
    """The provider takes no job now: the run says until when, and goes on being RUNNING."""
    for name, value in ((STATE, "waiting"), (UNTIL, until), (REASON, reason[:LONGEST]), (NOTE, reason[:LONGEST])):
        client().set_tag(run_id, name, value)


def lead(run_id: str, flow_run: str | None, job: str | None) -> None:
    """Addresses of the flow run and of the provider's page of the job: as tags, and as links in the description."""
    api = client()
    for name, address in ((FLOW_RUN, flow_run), (JOB_PAGE, job)):
        if address:
            api.set_tag(run_id, name, address)
    api.set_tag(run_id, NOTE, _pages(api.get_run(run_id).data.tags))


def _pages(tags: dict[str, str]) -> str:
    told = {"The flow run in Prefect": tags.get(FLOW_RUN), "The job at its provider": tags.get(JOB_PAGE)}
    return " · ".join(f"[{words}]({address})" for words, address in told.items() if address)


def fail(run_id: str, state: str, reason: str) -> None:
    """End the run FAILED, or KILLED where the job was cancelled, with the reason where people look."""
    api = client()
    for name, value in ((STATE, state), (REASON, reason[:LONGEST]), (NOTE, reason[:LONGEST])):
        api.set_tag(run_id, name, value)
    api.set_terminated(run_id, "KILLED" if state == "cancelled" else "FAILED")


def finish(run_id: str, link: Link, status: Status, quote: Quote, result: Finetuned) -> None:
    """All evidence of a job that succeeded; then, last, the run is FINISHED."""
    progress(run_id, status)
    api, now = client(), get_current_time_millis()
    # MLflow has a section of charts for each name before a slash, in the order of the alphabet: loss comes first.
    measured = {f"run/{name}": float(v) for name, v in status.facts.items() if isinstance(v, int | float)}
    measured |= {f"run/{name}": float(v) for name, v in _costs(status, quote).items() if v is not None}
    if result.parity:
        measured |= {
            "run/parity_same": result.parity.same / result.parity.asked,
            "run/parity_merged": result.parity.merged,
        }
    measured |= {f"heldout_loss_{when}": v for when, v in result.heldout_loss.items() if v is not None}
    for group, arms in result.scores.items():
        for arm, values in arms.items():
            measured |= {f"scores {group}/{name} {arm}": value for name, value in values.items()}
    known = set(api.get_run(run_id).data.metrics)
    metrics = [Metric(name, value, now, 0) for name, value in measured.items() if name not in known]
    epochs = picture.epoch_means(status.points)
    if "loss_epoch_mean" not in known:
        metrics += [Metric("loss_epoch_mean", loss, now, epoch) for epoch, loss in epochs.items()]
    told = {name: str(v)[:LONGEST] for name, v in status.facts.items() if not isinstance(v, int | float)}
    tags = [RunTag(f"shardtune.fact.{name}", value) for name, value in told.items()]
    tags += [RunTag("shardtune.model", result.model or ""), RunTag("shardtune.model_digest", status.model_digest or "")]
    tags += [RunTag("shardtune.cost", quote.basis)]
    api.log_batch(run_id, metrics=metrics, tags=tags)
    _tables(api, run_id, result)
    if status.points:
        api.log_figure(run_id, picture.curve(status.points), "loss.png")
    if result.parity:
        api.set_tag(run_id, "shardtune.parity", result.parity.told)
    keep(run_id, link, result.model)
    api.log_dict(run_id, result.model_dump(mode="json"), "result.json")
    api.set_tag(run_id, REASON, "")
    pages = _pages(api.get_run(run_id).data.tags)
    api.set_tag(run_id, NOTE, f"{_summary(result)}\n\n{pages}".strip())
    api.set_terminated(run_id, "FINISHED")


def keep(run_id: str, link: Link, model: str | None) -> str | None:
    """The model as MLflow keeps it, logged once; its URI, or None where there is no model."""
    api = client()
    kept = api.get_run(run_id).data.tags.get("shardtune.mlflow_model")
    if model and not kept:
        kept = _model(run_id, link, model)
        api.set_tag(run_id, "shardtune.mlflow_model", kept)
    return kept


def fetched(uri: str, into: str) -> str | None:
    """The adapter of a kept model as a folder under `into`, as MLflow hands it out; None for a provider's model."""
    import mlflow

    mlflow.set_tracking_uri(settings.tracking_uri())
    place = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=into))
    held = Model.load(str(place)).flavors["python_function"]["artifacts"].get("adapter")
    return str(place / held["path"]) if held else None


def _about(run_id: str, link: Link, model: str) -> dict[str, Any]:
    """What a served model must know of itself."""
    recipe = read(run_id, "recipe.json") or {}
    place = store.local((recipe.get("catalogue") or {}).get("uri") or "")
    if place and place.exists():
        recipe["catalogue"]["uri"] = str(place.resolve())  # it is served from another folder
    about = {"style": link.style, "key": link.key, "recipe": recipe, "model": model}
    return about | {"tune": link.tune.model_dump(mode="json")}


def forgetting(run_id: str, told: Forgetting) -> None:
    """What the link of this run still knows of the shards before it: the matrix, its picture, and the worst drop."""
    api = client()
    api.log_dict(run_id, told.model_dump(mode="json"), "forgetting.json")
    api.log_figure(run_id, heat_map(told), "forgetting.png")
    if told.drops and "forgetting/worst_drop" not in api.get_run(run_id).data.metrics:
        api.log_metric(run_id, "forgetting/worst_drop", max(told.drops.values()))
    api.set_tag(run_id, FORGOTTEN, told.told if told.forgotten else "")


def _costs(status: Status, quote: Quote) -> dict[str, float | None]:
    """What was expected beside what was billed."""
    billed = status.billed_tokens
    return {
        "quoted_tokens": quote.tokens,
        "billed_tokens": billed,
        "quote_error": quote.tokens / billed - 1 if quote.tokens is not None and billed else None,
        "quoted_usd_low": quote.usd_low,
        "quoted_usd_high": quote.usd_high,
    }


def _is_folder(model: str) -> bool:
    """Whether the model is files that MLflow can keep, and not the name of one at a provider."""
    return model.startswith("/") or "://" in model


def _summary(result: Finetuned) -> str:
    before, after = result.heldout_loss.get("before"), result.heldout_loss.get("after")
    marked = f"**Simulated by {result.simulated}: no provider was asked, no number here is real.** "
    told = marked if result.simulated else ""
    if before is None or after is None:
        return f"{told}{result.steps} steps; held-out loss after: {'unknown' if after is None else f'{after:.3f}'}."
    return (
        f"{told}Held-out loss {before:.3f} → {after:.3f} nats per answer token on the same rows; {result.steps} steps."
    )


def _tables(api: MlflowClient, run_id: str, result: Finetuned) -> None:
    """The sample answers as a table that MLflow shows; written whole, so that doing it twice doubles nothing."""
    rows = [row.model_dump(mode="json") for row in result.answers]
    columns = [*SHOWN, *(name for name in Asked.model_fields if name not in SHOWN)]
    table = {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
    api.log_dict(run_id, table, "answers.json")
    api.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": "answers.json", "type": "table"}]))


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
