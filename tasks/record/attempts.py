"""Attempts: a failed or cancelled job that is started again uses the same run; a tag keeps the history of its attempts.

MLflow cannot remove a point from a metric. So the losses of a later attempt continue after the last step of the one
before, and the tag says where each attempt starts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasks.record import names
from tasks.record.names import ATTEMPTS, JOB, REASON, SPENT, STATE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def ended(run: Run) -> list[dict[str, Any]]:
    """The ended attempts of the run, oldest first: job, state, reason, and the last step in the run's metrics."""
    recorded = run.data.tags.get(ATTEMPTS)
    return list(json.loads(recorded)) if recorded else []


def close(api: MlflowClient, run: Run) -> None:
    """Move the run's job to its ended attempts. The run becomes RUNNING, without a job."""
    tags, run_id = run.data.tags, run.info.run_id
    job = json.loads(tags[JOB]) if tags.get(JOB) else None
    last = max((m.step for m in api.get_metric_history(run_id, "loss")), default=0)
    kept = {
        "job": job["id"] if job else None,
        "state": names.value(tags, STATE),
        "reason": names.value(tags, REASON),
        "last_step": last,
        "usd": float(tags.get(SPENT) or 0),
    }
    if job:  # without one, a process died after it had opened the new attempt
        api.set_tag(run_id, ATTEMPTS, json.dumps([*ended(run), kept]))
    for name, value in ((JOB, ""), (REASON, ""), (SPENT, ""), (STATE, "intended")):
        api.set_tag(run_id, name, value)
    api.update_run(run_id, status="RUNNING")


def spent(run: Run) -> float:
    """US dollars that failed and cancelled jobs of this run may have cost."""
    return sum(attempt.get("usd", 0.0) for attempt in ended(run)) + float(run.data.tags.get(SPENT) or 0)


def offset(run: Run) -> int:
    """Steps in the run's metrics that belong to other jobs than the present one."""
    job = json.loads(run.data.tags[JOB])["id"] if run.data.tags.get(JOB) else None
    others = [attempt["last_step"] for attempt in ended(run) if attempt["job"] != job]
    return max(others, default=0)
