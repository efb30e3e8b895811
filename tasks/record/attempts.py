"""Attempts: a failed or cancelled job that is started anew goes on in the same run; what ended is kept in its history.

A point cannot be taken back out of an MLflow metric, so the losses of a later job continue after the last step of the
one before, and the tag says where each begins.
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
    told = run.data.tags.get(ATTEMPTS)
    return list(json.loads(told)) if told else []


def close(api: MlflowClient, run: Run) -> None:
    """Put the run's job among the ended attempts; the run is RUNNING and has no job."""
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
    if job:  # else a new attempt was begun before, and whoever began it died
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
