"""Finetune: a link or a chain of them, from the catalogue to the evidence in MLflow. `shardtune finetune` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare
from flows.promote import promote
from tasks import check, forgetting, links, runs, tune
from tasks.backends.contract import Link
from tasks.models import Finetuned, Prepared
from tasks.recipe import Recipe
from tasks.record import ledger


@flow(name="finetune", flow_run_name="finetune-{recipe.name}", on_running=[runs.sign])
def finetune(recipe: Recipe, again: bool = False, wait: bool = True) -> Finetuned:
    """Fine-tune a model on the recipe's shards, each link once; started again, it goes on where it was.

    A job that is done and recorded is not done again. `again` starts a failed or cancelled one anew. Killed at any
    moment, the same call finds the same job and finishes the same MLflow run. Without `wait` it returns once a job is
    started, and the flow `sweep` finishes it. Returns the result of the last link that the chain was to go on from;
    TrainingError where one forgets more than the recipe allows.
    """
    recipe = links.exporting(recipe)
    prepared = prepare(recipe, links.rendering(recipe))
    ended: list[tuple[Link, Finetuned]] = []
    known, parent, spent = None, None, 0.0
    for link in links.chain(recipe, prepared):
        link = links.after(link, parent)
        result = ledger.finished(link.key) or one(link, recipe, prepared, spent, again, wait)
        if result.state != "succeeded":
            return result  # it is not waited for
        spent += check.usd(result)
        ended.append((link, result))
        known = forgetting.after(recipe, prepared, ended, known)
        parent = forgetting.goes_on(recipe, known, result, parent)
    assert parent is not None  # a chain has a link, and the first one forgets nothing
    tune.show(parent)
    return promote(recipe, parent, prepared, known) if recipe.promote else parent


def one(link: Link, recipe: Recipe, prepared: Prepared, spent: float, again: bool, wait: bool) -> Finetuned:
    """One link that is not done yet: check -> quote -> start -> watch -> conclude."""
    questions = tune.exam(recipe, link, prepared)
    cost = check.quote(link, recipe)
    if again or not tune.known(link):
        check.passes(link, recipe)
        check.affordable(link, cost, recipe, spent)
    job = tune.start(link, recipe, questions, cost, again, wait, tune.beside(recipe, link, prepared))
    if job is None or not wait:
        return tune.pending(link, job, cost)
    status = tune.watch(job, link)
    return tune.conclude(link, recipe, questions, status, cost)
