"""Finetune: one link, from the catalogue to its evidence in MLflow. `shardtune finetune --recipe demo` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import prepare
from tasks import tune
from tasks.models import Finetuned
from tasks.recipe import Recipe
from tasks.record import ledger


@flow(name="finetune", flow_run_name="finetune-{recipe.name}")
def finetune(recipe: Recipe, again: bool = False) -> Finetuned:
    """Fine-tune one model on the recipe's shards, once; started again, it goes on where it was.

    A job that is done and recorded is not done again. `again` starts a failed or cancelled one anew. Killed at any
    moment, the same call finds the same job and finishes the same MLflow run.
    """
    recipe = tune.exporting(recipe)
    prepared = prepare(recipe, tune.rendering(recipe))
    link = tune.link(recipe, prepared)
    result = ledger.finished(link.key)
    if result is None:
        tune.check(link)
        cost = tune.quote(link)
        questions = tune.exam(recipe, link, prepared)
        job = tune.start(link, recipe, questions, again)
        status = tune.watch(job, link)
        result = tune.conclude(link, recipe, questions, status, cost)
    tune.show(result)
    return result
