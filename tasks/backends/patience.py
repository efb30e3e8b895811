"""Patience: how long all processes of this machine together have waited for something about a job.

The provider's timestamps are no measure, since its clock may differ from ours. The first look creates an empty file,
and the age of that file is the wait.
"""

from __future__ import annotations

import time
from pathlib import Path

from tasks.backends.contract import Job, State
from tasks.core import settings
from tasks.core.store import digest_of

NAMELESS = 15  # how long a succeeded job may have no name of its model, in longest pauses between two looks


def waited(job: str, what: str) -> float:
    """Seconds since the first call for this job and `what`; that call starts the wait."""
    place = _place(job, what)
    try:
        return max(0.0, time.time() - place.stat().st_mtime)
    except FileNotFoundError:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        return 0.0


def since(job: str, what: str) -> float | None:
    """Seconds since that wait started; None if there is none."""
    try:
        return max(0.0, time.time() - _place(job, what).stat().st_mtime)
    except FileNotFoundError:
        return None


def over(job: str, what: str) -> None:
    """End the wait: what it was for has come, or never will."""
    _place(job, what).unlink(missing_ok=True)


def named(poll: tuple[float, float], job: Job, model: str | None, word: str) -> tuple[State, str, str | None]:
    """State, detail and error of a job that its provider calls succeeded. Without a model it counts as running."""
    if model:
        over(job.id, "nameless")
        return "succeeded", word, None
    so_far = waited(job.id, "nameless")
    if so_far <= NAMELESS * poll[1]:
        return "running", f"{word}, its model has no name yet", None
    error = (
        f"the provider calls the job {word} and has named no model to ask for {so_far:.0f} s: look at job {job.id!r} "
        "there; once it names one, the same command goes on without another job"
    )
    return "failed", word, error


def _place(job: str, what: str) -> Path:
    return settings.local_root() / "locks" / f"{digest_of(job)}.{what}"
