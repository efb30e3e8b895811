"""Finetune: a link or a chain of them, from the catalogue to the evidence in MLflow. `shardtune finetune` runs it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prefect import flow

from flows.prepare import ready
from flows.promote import promote
from tasks import check, forgetting, links, train
from tasks.core.models import Finetuned, Prepared
from tasks.forgetting import ChainState
from tasks.links import PlannedLink
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import ledger, owing


@flow(name="finetune", flow_run_name="finetune {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def finetune(recipe: Recipe, again: bool = False, wait: bool = True) -> Finetuned:
    """Fine-tune a model on the recipe's shards, each link once; started again, it goes on where it was.

    A job that is done and recorded is not done again. `again` starts a failed or cancelled one anew. Killed at any
    moment, the same call finds the same job and finishes the same MLflow run. Without `wait` it returns once a job is
    started, and the flow `sweep` finishes it. Returns the result of the last link that the chain was to go on from;
    TrainingError where one forgets more than the recipe allows.
    """
    recipe, prepared = ready(recipe)
    steps = [PlannedLink(link, recipe, prepared) for link in links.chain(recipe, prepared)]
    results, so = follow(steps, recipe, prepared, ChainState(), again, wait, "finetune")
    if results[-1].state != "succeeded":
        return results[-1]  # it is not waited for
    assert so.parent is not None  # a chain has a link, and the first one forgets nothing
    train.show(so.parent)
    done = promote(recipe, so.parent, prepared, so.known) if recipe.promote else so.parent
    owing.done(key for key, _ in so.links)
    return done


def follow(
    steps: Sequence[PlannedLink], recipe: Recipe, prepared: Prepared, so: ChainState, again: bool, wait: bool, by: str
) -> tuple[list[Finetuned], ChainState]:
    """Link after link from where the chain is; ends early at one that is not waited for."""
    results: list[Finetuned] = []
    for step in steps:
        link = links.after(step.link, so.parent)
        result = ledger.finished(link.key) or one(step._replace(link=link), so.spent, again, wait, by)
        results.append(result)
        if result.state != "succeeded":
            break
        chain = (*so.links, (link.key, link))
        known = forgetting.after(recipe, prepared, chain, result, so.known)
        so = ChainState(
            chain, known, forgetting.goes_on(recipe, known, result, so.parent), so.spent + check.spent(result)
        )
    return results, so


def one(step: PlannedLink, spent: float, again: bool, wait: bool, by: str) -> Finetuned:
    """One link that is not done yet: check -> quote -> start -> watch -> conclude."""
    link, recipe, prepared = step
    questions = train.exam(recipe, link, prepared)
    cost = check.quote(link)
    if again or not train.has_job(link):
        check.passes(link, questions)
        check.affordable(link, cost, recipe.budget_usd, spent + ledger.spent(link.key))
    job = train.start(link, recipe, questions, cost, again, wait, train.beside(recipe, link, prepared))
    if job is None or not wait:
        return train.pending(link, job, cost, by)
    began = time.monotonic()
    status = train.watch(job, link)
    watched = time.monotonic() - began
    return train.conclude(link, recipe, questions, status, cost).model_copy(update={"watched": watched})
