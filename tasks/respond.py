"""Prefect policy for answering: the index is brought up to date, a model's answers are cached, replies are shown."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks import evaluate
from tasks.answers import ask
from tasks.answers.index import Index, folder_of, update
from tasks.answers.reply import Replied, Reply, Target
from tasks.backends.contract import Answer, Decoding
from tasks.core import plain, settings, store
from tasks.core.models import Prepared
from tasks.evaluation import kept
from tasks.recipe.model import Recipe
from tasks.record import registry


def target(spec: str, recipe: Recipe | None = None) -> tuple[Target, Recipe]:
    """The model that `spec` names, and the recipe it is asked by: `recipe`, or else the one it was tuned by.

    `base` is the base model of `recipe`; see `registry.target` for other names. Raises RecipeError where `base` has no
    recipe with a 'tune', AnswerError where no model has this name.
    """
    if spec == "base" and recipe and recipe.tune:
        return registry.base(recipe.tune, recipe.export.style), recipe
    found, own = registry.target(spec, recipe.name if recipe else None)
    return found, recipe or own


@task(name="index", cache_policy=NO_CACHE)
def index(recipe: Recipe, prepared: Prepared) -> str:
    """Bring the index of these clean shards up to date, new shards only; returns its folder."""
    folder = folder_of(recipe.catalogue, recipe.clean, recipe.split)
    update(folder, prepared.shards)
    return str(folder)


URL = ":/?&=%#@+,;~"  # what may stand in a link as it is


def replies(questions: Sequence[str], target: Target, opened: Index, recipe: Recipe) -> list[Reply]:
    """Answers with checked sources; what a model has been asked before is served from the cache."""
    drawn = ask.decoding(recipe.evaluate, target.style, recipe.seed)
    return ask.replies(questions, target, opened, recipe.ask, drawn, generate)


def generate(target: Target, talks: ask.Talks, drawn: Decoding) -> Sequence[Answer]:
    """Answers of the target; what it has been asked before is served from what is kept."""

    def asked(new: ask.Talks) -> Sequence[Answer]:
        (told,) = evaluate.answers(target.endpoint, target.model, target.digest, target.tune, new, (drawn,))
        return told

    place = store.join(settings.root(), "answers", f"{evaluate.asked_as(target, drawn)}.json")
    return kept.once(place, talks, asked)


def show(replied: Replied) -> None:
    """A table of questions and replies, in the Prefect UI."""
    lines = [f"Asked: `{replied.target.name}`; catalogue: `{replied.catalogue}`.", ""]
    lines += ["| question | | answer | source | what does not hold |", "|---|---|---|---|---|"]
    for reply in replied.replies:
        said, source = reply.source, ""
        if said:
            source = f"[{plain.markdown(said.uid)}]({quote(said.url, safe=URL)}) line {said.line}"
        cells = [evaluate.cell(text) for text in (reply.question, reply.state, reply.text, "; ".join(reply.problems))]
        lines.append(f"| {' | '.join((*cells[:3], source, cells[3]))} |")
    create_markdown_artifact("\n".join(lines), key="replies", description="answers with their sources")
