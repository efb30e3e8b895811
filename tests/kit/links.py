"""A link, a job and a result to play with; nothing of them exists."""

from __future__ import annotations

from typing import Any

from tasks.backends.contract import Job, Link
from tasks.core.models import ExamAnswers, Export, Finetuned
from tasks.recipe.tuning import LocalTune


def made(**changes: Any) -> Link:
    """A link; `changes` replace its fields."""
    common = {
        "shard": 0,
        "format": "chat",
        "style": "describe",
        "rows_uri": "rows.parquet",
        "examples": 3,
        "tokens": 9,
        "truncated": 0,
    }
    train = Export(split="train", uri="train.jsonl", digest="a" * 32, **common)
    holdout = Export(split="holdout", uri="holdout.jsonl", digest="b" * 32, **common)
    values = {
        "name": "n",
        "backend": "provider",
        "base_model": "base",
        "train": (train,),
        "holdout": (holdout,),
        "heldout_rows": 4,
        "tune": LocalTune(base_model="base"),
        "style": "describe",
        "seed": 1,
    }
    return Link(**(values | changes))


def job(link: Link, number: int = 0) -> Job:
    """The job of a link."""
    return Job(key=link.key, backend=link.backend, id=f"job-{number}", submitted_at="2026-01-01T00:00:00")


def result(link: Link, run_id: str, **changes: Any) -> Finetuned:
    """The result of a link that succeeded; its model lies at a provider."""
    answers = {name: f"{name} of it" for name in ("before", "after", "before_t0", "after_t0")}
    row = ExamAnswers(group="seen", uid="U1", line=1, question="What?", content="a drum", **answers)
    values = {
        "key": link.key,
        "state": "succeeded",
        "job": "job-0",
        "mlflow_run_id": run_id,
        "model": "ft:small:shop::1",
        "heldout_loss": {"before": 4.0, "after": 3.5},
        "scores": {"seen": {"before": {"chrf": 10.0}, "after": {"chrf": 20.0}}},
        "cost": {"usd": 0.0, "basis": "nobody sends a bill"},
        "steps": 6,
        "trained": True,
        "answers": (row,),
    }
    return Finetuned(**(values | changes))
