"""Verify: answers of any model -> claims checked against the rows of a catalogue. `shardtune verify` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import sure
from tasks import respond
from tasks.answers import verify as checks
from tasks.answers.index import Index
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe


@flow(name="verify", flow_run_name="verify {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def verify(told: tuple[checks.Case, ...], recipe: Recipe) -> tuple[checks.Verified, ...]:
    """Check each answer against its row. Raises AnswerError where a row that is named is not in the catalogue."""
    index = Index(respond.index(recipe, sure(recipe)))
    return tuple(checks.verify(told, index))
