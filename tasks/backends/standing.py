"""Standing: where a job at OpenAI stands, from everything the provider tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.backends import curve, pricing
from tasks.backends.contract import Event, Job, LossPoint, State, Status
from tasks.errors import BackendError, VanishedError

if TYPE_CHECKING:
    from tasks.backends.openai import OpenAI

# Words for states, those of Azure and of jobs that a person stopped for a while among them.
STATES: dict[str, State] = {
    **dict.fromkeys(("validating_files", "pending", "created", "queued", "notRunning"), "queued"),
    **dict.fromkeys(("running", "paused", "pausing", "resuming"), "running"),
    "succeeded": "succeeded",
    "failed": "failed",
    **dict.fromkeys(("cancelled", "canceled"), "cancelled"),
}
HELD = "resume it at the provider, or end it with `shardtune cancel KEY`"


def status(backend: OpenAI, job: Job) -> Status:
    """State, losses from events and, once there, from the result file, and what was billed."""
    with backend._told(f"reading job {job.id!r}"):
        found = backend.client.fine_tuning.jobs.retrieve(job.id)
        events = list(backend.client.fine_tuning.jobs.list_events(job.id, limit=100))[::-1]
    state = STATES.get(found.status, "running")
    metrics = [e.data for e in events if e.type == "metrics" and isinstance(e.data, dict)]
    resolved = _resolved(found)
    epochs = resolved.get("n_epochs")
    points = curve.of_events(metrics, epochs if isinstance(epochs, int) else None)
    facts: dict[str, Any] = {f"used_{name}": value for name, value in resolved.items()}
    if state == "succeeded":
        for file in found.result_files or ():
            points = curve.merged(points, _curve(backend, file, facts))
        facts["checkpoints"] = _checkpoints(backend, job.id)
    if found.trained_tokens is not None:
        facts["billed_usd"] = pricing.billed_usd(backend.offer, found.trained_tokens)
    facts["simulator"] = (found.model_extra or {}).get("simulator")
    code = found.error.code if found.error else None  # healthy jobs have an error object too, an empty one
    model = found.fine_tuned_model if state == "succeeded" else None
    return Status(
        state=state,
        detail=found.status,
        step=points[-1].step if points else 0,
        steps=next((int(m["total_steps"]) for m in metrics if m.get("total_steps")), None),
        points=points,
        events=tuple(_event(e) for e in events),
        heldout_after=curve.heldout(metrics),
        billed_tokens=found.trained_tokens,
        facts={name: value for name, value in facts.items() if value is not None},
        model=model,
        model_digest=model,
        error=f"{code}: {found.error.message}" if code and found.error else None,
        held=HELD if found.status == "paused" else None,
    )


def _curve(backend: OpenAI, file: str, facts: dict[str, Any]) -> tuple[LossPoint, ...]:
    """Points of a result file; one that cannot be read is told of, and the events have to do."""
    try:
        with backend._told(f"reading result file {file!r}"):
            return curve.of_csv(backend.client.files.content(file).read())
    except BackendError as error:
        facts["result_file"] = str(error)
        return ()


def _checkpoints(backend: OpenAI, job: str) -> list[dict[str, Any]]:
    """Step and model of the checkpoints that were kept; none at an endpoint without this route."""
    try:
        with backend._told("reading checkpoints"):
            listed = backend.client.fine_tuning.jobs.checkpoints.list(job)
            return [{"step": c.step_number, "model": c.fine_tuned_model_checkpoint} for c in listed]
    except VanishedError:
        return []


def _resolved(job: Any) -> dict[str, Any]:
    """Hyperparameters as the provider resolved them, from either place it tells them in."""
    method = getattr(job.method, "supervised", None)
    found = job.hyperparameters or getattr(method, "hyperparameters", None)
    return {} if found is None else found.model_dump(include={"n_epochs", "batch_size", "learning_rate_multiplier"})


def _event(event: Any) -> Event:
    at = datetime.fromtimestamp(event.created_at, UTC).isoformat()
    return Event(id=event.id, at=at, level=event.level, message=event.message)
