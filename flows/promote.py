"""Promote: register a model, compare it with the base and the champion, and set an alias by the gate."""

from __future__ import annotations

from prefect import flow

from flows.compare import between
from tasks.core.errors import AnswerError
from tasks.core.models import Finetuned, Prepared
from tasks.evaluation import gate
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import aliases, comparisons

ATTEMPTS = 5


@flow(name="promote", flow_run_name="promote {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def promote(
    recipe: Recipe, result: Finetuned, prepared: Prepared, forgetting: ForgettingMatrix | None = None
) -> Finetuned:
    """Champion, where the evidence over base and present champion is enough and no guard says worse; else challenger.

    Killed at any moment, the same call goes on: the version is registered once, the comparison is served from its
    record, and the alias comes last. Where the champion changed meanwhile, the new one is compared with.
    """
    version = aliases.register(recipe.name, result)
    for _ in range(ATTEMPTS):
        champion = aliases.champion(recipe.name)
        if champion == version:
            return result
        others = ("base", champion) if champion else ("base",)
        candidacy = comparisons.next_candidacy(recipe.name, champion)
        compared = between(recipe, (*others, version), prepared, candidacy=candidacy)
        decided = gate.decide(compared, version, others, version, forgetting, result.parity)
        if aliases.settle(recipe.name, decided, champion):
            comparisons.decided(decided)
            return result.model_copy(update={"promotion": decided})
    raise AnswerError(
        f"the champion of {recipe.name!r} changed {ATTEMPTS} times during the comparison: run the same command again"
    )


@flow(name="rollback", flow_run_name="rollback {name}", on_running=[runs.sign], on_failure=[runs.lost])
def rollback(name: str) -> str:
    """Make the champion before the present one champion again; returns its version."""
    return aliases.rollback(name)
