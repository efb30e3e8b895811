"""Ask: questions -> answers with checked sources. `shardtune ask` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import ready, sure
from tasks import respond
from tasks.answers.index import Index
from tasks.answers.reply import Replied, nobody
from tasks.core.errors import AnswerError
from tasks.core.models import StyleName
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import traces


@flow(name="ask", flow_run_name="ask {model}", on_running=[runs.sign], on_failure=[runs.lost])
def ask(
    questions: tuple[str, ...],
    model: str = "champion",
    recipe: Recipe | None = None,
    style: StyleName | None = None,
    where: tuple[str, ...] = (),
) -> Replied:
    """Answer each question by `model` from the catalogue's rows, check it, and leave a trace of it in MLflow.

    Without a `recipe` the one that the model was tuned by says where the catalogue is. `style` asks a model in another
    style than its own; an un-tuned base is asked in the recipe's. Where a recipe is named and no champion is there yet,
    the rows are quoted and no model is asked.
    `where` looks only at rows with these facts (NAME=VALUE). Raises AnswerError where there is no such model.
    """
    try:
        target, recipe = respond.target(model, recipe)
    except AnswerError:
        if model != "champion" or recipe is None:
            raise
        target = nobody(recipe.tune, recipe.export.style)
    if style:
        target = target.model_copy(update={"style": style})
    recipe, prepared = ready(recipe) if recipe.tune else (recipe, sure(recipe))
    opened = respond.filtered(Index(respond.index(recipe, prepared)), prepared.shards, where)
    replies = respond.with_facts(respond.replies(questions, target, opened, recipe), prepared.shards, recipe)
    traces.write(replies, target.run_id)
    replied = Replied(target=target, catalogue=prepared.catalogue, replies=tuple(replies))
    respond.show(replied)
    return replied
