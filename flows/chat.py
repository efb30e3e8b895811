"""Chat: one question after the other to a model that stays loaded; every answer is checked and leaves a trace."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow

from flows.prepare import ready
from tasks import respond
from tasks.answers import ask
from tasks.answers.finding import Found
from tasks.answers.index import Index
from tasks.answers.reply import Reply
from tasks.backends.local.resident import resident
from tasks.core.models import StyleName
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import traces


def opened(model: str, recipe: Recipe | None, style: StyleName | None) -> Callable[[str], Reply]:
    """What answers questions while this process lives."""
    target, recipe = respond.target(model, recipe)
    target = target.model_copy(update={"style": style or target.style})
    index = Index(indexed(recipe))
    drawn = ask.decoding(recipe.evaluate, target.style, recipe.seed)
    told = resident(target.tune, target.model)

    talk: list[Found] = []  # a question without a product of its own goes on with the one before it

    def one(question: str) -> Reply:
        looked = ask.retrieve(question, index, recipe.ask, talk=talk)
        talk.append(looked[0])
        replies = ask.replies(
            [question], target, index, recipe.ask, drawn, lambda _, talks, drawn: told(talks, drawn), looked=[looked]
        )
        traces.write(replies, target.run_id)
        return replies[0]

    return one


@flow(name="index", flow_run_name="index {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def indexed(recipe: Recipe) -> str:
    """Catalogue -> clean shards -> index; returns its folder."""
    return respond.index(*ready(recipe))
