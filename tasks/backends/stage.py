"""Stage: where a tuning job on Vertex stands, from everything the service tells of it."""

from __future__ import annotations

from typing import Any

from tasks.backends import bucket, pricing
from tasks.backends.contract import LossPoint, State, Status
from tasks.backends.offers import Offer
from tasks.errors import BackendError

STATES: dict[str, State] = {
    **dict.fromkeys(("QUEUED", "PENDING"), "queued"),
    **dict.fromkeys(("RUNNING", "CANCELLING", "PAUSED", "UPDATING"), "running"),
    **dict.fromkeys(("SUCCEEDED", "PARTIALLY_SUCCEEDED"), "succeeded"),
    **dict.fromkeys(("FAILED", "EXPIRED"), "failed"),
    "CANCELLED": "cancelled",
}
NO_LOSS = "not available through this API"
HELD = "resume it at the provider, or end it with `shardtune cancel KEY`"


def status(job: Any, offer: Offer | None) -> Status:
    """State and progress, and at the end losses where the service left any, statistics and what was billed."""
    said, tuned = word(job), job.tuned_model
    state = STATES.get(said, "running")
    if said == "PARTIALLY_SUCCEEDED" and not (tuned and tuned.endpoint):
        state = "failed"
    ended, facts = state == "succeeded", _facts(job)
    points = _losses(job.gcs_metrics_uri, facts) if ended else ()
    billed = facts.pop("billable_tokens", None)
    if billed is not None:
        facts["billed_usd"] = pricing.billed_usd(offer, billed)
    last = tuned.checkpoints[-1].checkpoint_id if ended and tuned.checkpoints else None
    return Status(
        state=state,
        detail=said,
        step=int(facts.get("steps") or facts.get("completed_steps") or 0),
        steps=facts.get("steps"),
        points=points,
        heldout_after=points[-1].heldout_loss if points else None,
        billed_tokens=billed,
        facts={name: value for name, value in facts.items() if value is not None},
        model=tuned.endpoint if ended else None,
        model_digest=tuned.endpoint if ended else None,
        continue_from=f"{tuned.model}#{last}" if ended and last else tuned.model if ended else None,
        error=_error(job, said, state),
        held=HELD if said == "PAUSED" else None,
    )


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
    """The service's word for the state, without what all of them begin with."""
    state = job.state
    return str(getattr(state, "value", state) or "").removeprefix("JOB_STATE_")


def _error(job: Any, word: str, state: State) -> str | None:
    if job.error and (job.error.message or job.error.code):
        return f"{job.error.code}: {job.error.message}"
    return f"the service ended it as {word}" if state == "failed" else None


def _facts(job: Any) -> dict[str, Any]:
    """What the service measured, under names of ours."""
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
            "billable_tokens": stats.total_billable_token_count,
            "steps": stats.tuning_step_count,
            "truncated": stats.total_truncated_example_count,
        }
    if job.tuned_model and job.tuned_model.checkpoints:
        told = [{"id": c.checkpoint_id, "epoch": c.epoch, "step": c.step} for c in job.tuned_model.checkpoints]
        facts["checkpoints"] = told
    headers = job.sdk_http_response.headers if job.sdk_http_response else None
    if headers and headers.get("x-shardtune-simulator"):
        facts["simulator"] = "shardtune"
    return facts
