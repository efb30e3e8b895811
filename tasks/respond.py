"""Prefect policy for answering: update the index, cache a model's answers, show replies."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks import evaluate
from tasks.answers import ask
from tasks.answers.finding import calibration
from tasks.answers.index import Index, folder_of, update
from tasks.answers.reply import Replied, Reply, SourceRow, Target
from tasks.backends.contract import Answer, Decoding
from tasks.catalogue import facts
from tasks.core import plain, settings, store
from tasks.core.models import CleanShard, Prepared
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
    model, own = registry.target(spec, recipe.name if recipe else None)
    return model, recipe or own


@task(name="index", cache_policy=NO_CACHE)
def index(recipe: Recipe, prepared: Prepared) -> str:
    """Add new clean shards to the index; returns its folder."""
    folder = folder_of(recipe.catalogue, recipe.clean, recipe.split)
    update(folder, prepared.shards)
    return str(folder)


URL = ":/?&=%#@+,;~"  # what may stand in a link as it is


def replies(questions: Sequence[str], target: Target, opened: Index, recipe: Recipe) -> list[Reply]:
    """Answers with checked sources. A question that the model answered before is served from the cache."""
    drawn = ask.decoding(recipe.evaluate, target.style, recipe.seed)
    return ask.replies(questions, target, opened, recipe.ask, drawn, generate)


def filtered(opened: Index, shards: Sequence[CleanShard], where: Sequence[str]) -> Index:
    """The index with only the rows that have these facts; it weighs evidence as the whole catalogue does."""
    if not where:
        return opened
    calibration(opened)
    return opened.only(facts.having(shards, where))


def with_facts(replies: Sequence[Reply], shards: Sequence[CleanShard], recipe: Recipe) -> list[Reply]:
    """The replies, each of their rows with the facts that the recipe carries."""
    fields = recipe.catalogue.fields
    if fields is None or not fields.facts:
        return list(replies)
    rows = [row for reply in replies for row in (reply.source, *reply.near) if row]
    known = facts.of(shards, [(row.shard, row.line) for row in rows])

    def told(row: SourceRow) -> SourceRow:
        return row.model_copy(update={"facts": known.get(row.line, {})})

    return [
        r.model_copy(update={"source": r.source and told(r.source), "near": tuple(map(told, r.near))}) for r in replies
    ]


def generate(target: Target, talks: ask.Talks, drawn: Decoding) -> Sequence[Answer]:
    """Answers of the target. A conversation that it answered before is served from the cache."""

    def asked(new: ask.Talks) -> Sequence[Answer]:
        (answers,) = evaluate.answers(target.endpoint, target.model, target.digest, target.tune, new, (drawn,))
        return answers

    place = store.join(settings.root(), "answers", f"{evaluate.asked_as(target, drawn)}.json")
    return kept.once(place, talks, asked)


def show(replied: Replied) -> None:
    """A table of questions and replies, in the Prefect UI."""
    lines = [f"Asked: `{replied.target.name}`; catalogue: `{replied.catalogue}`.", ""]
    lines += ["| question | | answer | source | what does not hold |", "|---|---|---|---|---|"]
    for reply in replied.replies:
        row, source = reply.source, ""
        if row:
            source = f"[{plain.markdown(row.uid)}]({quote(row.url, safe=URL)}) line {row.line}"
        cells = [evaluate.cell(text) for text in (reply.question, reply.state, reply.text, "; ".join(reply.problems))]
        lines.append(f"| {' | '.join((*cells[:3], source, cells[3]))} |")
    create_markdown_artifact("\n".join(lines), key="replies", description="answers with their sources")
