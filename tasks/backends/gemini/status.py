"""Status: the state of a tuning job on Vertex, from the job and what it left in the bucket."""

from __future__ import annotations

from typing import Any

from tasks.backends import patience
from tasks.backends.contract import Job, JobStatus, LossPoint, State
from tasks.backends.gemini import bucket
from tasks.backends.shapes import whole
from tasks.core.errors import BackendError

STATES: dict[str, State] = {
    **dict.fromkeys(("QUEUED", "PENDING"), "queued"),
    **dict.fromkeys(("RUNNING", "CANCELLING", "PAUSED", "UPDATING"), "running"),
    **dict.fromkeys(("SUCCEEDED", "PARTIALLY_SUCCEEDED"), "succeeded"),
    **dict.fromkeys(("FAILED", "EXPIRED"), "failed"),
    "CANCELLED": "cancelled",
}
NO_LOSS = "not available through this API"
HELD = "resume it at the provider, or end it with `shardtune cancel KEY`"


def status(tuning: Any, job: Job, poll: tuple[float, float]) -> JobStatus:
    """State, progress and statistics, and at the end the losses if the service has left any.

    "succeeded" means that an endpoint can be asked. A job that is called so without an endpoint counts as running,
    until a deadline. The service's "billable tokens" are those of the data set: the bill is that number times epochs.
    """
    said, tuned = word(tuning), tuning.tuned_model
    state, facts = STATES.get(said, "running"), _facts(tuning)
    endpoint = (tuned.endpoint if tuned else None) or None
    error, detail = _error(tuning, said) if state == "failed" else None, said
    if said == "PARTIALLY_SUCCEEDED" and not endpoint:
        state, error = "failed", _error(tuning, said)
    elif state == "succeeded":
        state, detail, error = patience.named(poll, job, endpoint, said)
    ended = state == "succeeded"
    points = _losses(tuning.gcs_metrics_uri, facts) if ended else ()
    return JobStatus(
        state=state,
        detail=detail,
        step=int(facts.get("steps") or facts.get("completed_steps") or 0),
        steps=facts.get("steps"),
        points=points,
        heldout_after=points[-1].heldout_loss if points else None,
        facts={name: value for name, value in facts.items() if value is not None},
        model=endpoint if ended else None,
        model_digest=endpoint if ended else None,
        continue_from=_start(tuned) if ended else None,
        error=error,
        held=HELD if said == "PAUSED" else None,
    )


def _start(tuned: Any) -> str | None:
    """What a next job starts from: the model, at its last checkpoint if it has any; None if no model is named."""
    named = [c for c in tuned.checkpoints or () if c.checkpoint_id]
    last = [c.checkpoint_id for c in sorted(named, key=lambda c: (whole(c.step) or 0, whole(c.epoch) or 0))]
    return f"{tuned.model}#{last[-1]}" if tuned.model and last else tuned.model or None


def _losses(uri: str | None, facts: dict[str, Any]) -> tuple[LossPoint, ...]:
    points: tuple[LossPoint, ...] = ()
    try:
        points = bucket.losses(uri) if uri else ()
    except BackendError as error:
        facts["loss_error"] = str(error)
    if not points:
        facts["loss"] = NO_LOSS
    return points


def word(job: Any) -> str:
    """The service's word for the state, without the common prefix."""
    state = job.state
    return str(getattr(state, "value", state) or "").removeprefix("JOB_STATE_")


def _error(job: Any, word: str) -> str:
    parts = (getattr(job.error, "code", None), getattr(job.error, "message", None))
    return ": ".join(str(part) for part in parts if part) or f"the service ended it as {word} and gives no reason"


def _epochs(job: Any) -> Any:
    """Epochs as the service resolved them."""
    chosen = job.supervised_tuning_spec and job.supervised_tuning_spec.hyper_parameters
    return chosen.epoch_count if chosen else None


def _facts(job: Any) -> dict[str, Any]:
    """What the service measured, under our names."""
    facts: dict[str, Any] = {
        "provider_state": getattr(job.tuning_job_state, "value", None),
        "experiment": job.experiment,
    }
    if progress := job.tuning_job_metadata:
        facts |= {"completed_epochs": progress.completed_epoch_count, "completed_steps": progress.completed_step_count}
    stats = job.tuning_data_stats and job.tuning_data_stats.supervised_tuning_data_stats
    if stats:
        facts |= {
            "examples": stats.tuning_dataset_example_count,
            "characters": stats.total_tuning_character_count,
            "billable_tokens": whole(stats.total_billable_token_count),
            "steps": whole(stats.tuning_step_count),
            "epochs": whole(_epochs(job)),
            "truncated": stats.total_truncated_example_count,
        }
    if job.tuned_model and job.tuned_model.checkpoints:
        checkpoints = [{"id": c.checkpoint_id, "epoch": c.epoch, "step": c.step} for c in job.tuned_model.checkpoints]
        facts["checkpoints"] = checkpoints
    headers = job.sdk_http_response.headers if job.sdk_http_response else None
    if headers and headers.get("x-shardtune-simulator"):
        facts["simulator"] = "shardtune"
    return facts
