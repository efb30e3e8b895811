"""Finetune: a link or a chain of them, from the catalogue to the evidence in MLflow. `shardtune finetune` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare
from tasks import check, links, tune
from tasks.backends.contract import Link
from tasks.models import Finetuned, Prepared
from tasks.recipe import Recipe
from tasks.record import ledger


@flow(name="finetune", flow_run_name="finetune-{recipe.name}")
def finetune(recipe: Recipe, again: bool = False, wait: bool = True) -> Finetuned:
    """Fine-tune a model on the recipe's shards, each link once; started again, it goes on where it was.

    A job that is done and recorded is not done again. `again` starts a failed or cancelled one anew. Killed at any
    moment, the same call finds the same job and finishes the same MLflow run. Without `wait` it returns once a job is
    started, and the flow `sweep` finishes it. Returns the last link's result.
    """
    recipe = links.exporting(recipe)
    prepared = prepare(recipe, links.rendering(recipe))
    result, spent = None, 0.0
    for link in links.chain(recipe, prepared):
        link = links.after(link, result)
        result = ledger.finished(link.key) or one(link, recipe, prepared, spent, again, wait)
        if result.state != "succeeded":
            break  # it is not waited for
        spent += check.usd(result)
    assert result is not None  # a chain has a link
    tune.show(result)
    return result


def one(link: Link, recipe: Recipe, prepared: Prepared, spent: float, again: bool, wait: bool) -> Finetuned:
    """One link that is not done yet: check -> quote -> start -> watch -> conclude."""
    questions = tune.exam(recipe, link, prepared)
    cost = check.quote(link, recipe)
    if again or not tune.known(link):
        check.passes(link, recipe)
        check.affordable(link, cost, recipe, spent)
    job = tune.start(link, recipe, questions, cost, again, wait)
    if job is None or not wait:
        return tune.pending(link, job, cost)
    status = tune.watch(job, link)
    return tune.conclude(link, recipe, questions, status, cost)
