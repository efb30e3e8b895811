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
    """Fine-tune a model on the recipe's shards. Every link is trained once; the same call resumes after a kill.

    A recorded job is not repeated. `again` starts a failed or cancelled job again. Without `wait` this returns once a
    job is started, and the flow `sweep` finishes it. Returns the result of the last link that the chain continues from.
    Raises TrainingError where a link forgets more than the recipe allows.
    """
    recipe, prepared = ready(recipe)
    steps = [PlannedLink(link, recipe, prepared) for link in links.chain(recipe, prepared)]
    results, state = follow(steps, recipe, prepared, ChainState(), again, wait, "finetune")
    if results[-1].state != "succeeded":
        return results[-1]  # running: the sweep finishes it
    assert state.parent is not None  # a chain has at least one link, and the first one cannot forget anything
    train.show(state.parent)
    done = promote(recipe, state.parent, prepared, state.known) if recipe.promote else state.parent
    owing.done(key for key, _ in state.links)
    return done


def follow(
    steps: Sequence[PlannedLink],
    recipe: Recipe,
    prepared: Prepared,
    state: ChainState,
    again: bool,
    wait: bool,
    by: str,
) -> tuple[list[Finetuned], ChainState]:
    """Run the links in order, each from the model that the chain continues from; stop at a link left running."""
    results: list[Finetuned] = []
    for step in steps:
        link = links.after(step.link, state.parent)
        result = ledger.finished(link.key) or one(step._replace(link=link), state.spent, again, wait, by)
        results.append(result)
        if result.state != "succeeded":
            break
        chain = (*state.links, (link.key, link))
        known = forgetting.after(recipe, prepared, chain, result, state.known)
        state = ChainState(
            chain, known, forgetting.goes_on(recipe, known, result, state.parent), state.spent + check.spent(result)
        )
    return results, state


def one(step: PlannedLink, spent: float, again: bool, wait: bool, by: str) -> Finetuned:
    """One link without a recorded result: quote -> check -> start -> watch -> conclude."""
    link, recipe, prepared = step
    questions = train.exam(recipe, link, prepared)
    cost = check.quote(link)
    if again or not train.has_job(link):  # an existing job is already paid for: adopt it without a check
        check.passes(link, questions)
        check.affordable(link, cost, recipe.budget_usd, spent + ledger.spent(link.key))
    job = train.start(link, recipe, questions, cost, again, wait, train.origin(recipe, link, prepared))
    if job is None or not wait:
        return train.pending(link, job, cost, by)
    began = time.monotonic()
    status = train.watch(job, link)
    watched = time.monotonic() - began
    return train.conclude(link, recipe, questions, status, cost).model_copy(update={"watched": watched})
