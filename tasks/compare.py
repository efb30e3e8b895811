"""Prefect policy for comparing models: answers are cached, so nothing is asked twice; a comparison is made once."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from tasks import evaluate, links, respond
from tasks.answers import ask
from tasks.answers.index import Index
from tasks.answers.reply import Target
from tasks.backends import get_backend
from tasks.core import progress, settings, store
from tasks.core.models import Export, Prepared
from tasks.core.redaction import redacted
from tasks.evaluation import report, trial
from tasks.evaluation.comparison import RATES, Compared, arms, verdicts
from tasks.evaluation.trial import Mark, TrialQuestion
from tasks.recipe.model import Recipe
from tasks.record import address, comparisons

VERSION = 1  # bump it when what is asked, or how it is marked, changes


def questions(recipe: Recipe, prepared: Prepared, opened: Index) -> list[TrialQuestion]:
    """The fixed questions of this recipe's comparisons: on what it trains on, and on what it holds out."""
    mine = [e for e in prepared.exports if e.examples and (recipe.shards is None or e.shard in recipe.shards)]

    def of(split: str) -> list[Export]:
        return [e for e in mine if e.split == split]

    wanted = recipe.compare
    exam = evaluate.draw_exam(of("train"), of("holdout"), prepared.shards, wanted.seen, wanted.unseen, recipe.seed)
    return trial.asked(exam, opened)


def key_of(recipe: Recipe, targets: Sequence[Target], asked: Sequence[TrialQuestion]) -> str:
    """32 hex digits of all that decides a comparison: which models, which questions, how they are asked and judged."""
    models = [t.model_dump(mode="json", include={"name", "model", "digest", "endpoint", "tune"}) for t in targets]
    rows = [[a.group, a.row.uid, a.row.digest, a.question.prompt_hash] for a in asked]
    drawn = [ask.decoding(recipe, style).model_dump() for style in (trial.closed(recipe.export.style), "grounded")]
    return store.digest_of([VERSION, models, rows, recipe.compare.measure, recipe.ask.model_dump(), drawn, recipe.seed])


def run(
    recipe: Recipe, targets: Sequence[Target], asked: Sequence[TrialQuestion], opened: Index, catalogue: str
) -> Compared:
    """Every arm asked, marked and judged, and all of it recorded."""
    marks: list[Mark] = trial.quoting(asked, opened, recipe)
    own, rendering = get_backend(links.of(recipe)), links.of(recipe)
    at = (rendering.kind, own.rendering(rendering))
    for number, target in enumerate(targets):
        backend = get_backend(target.tune)
        hashed = (target.tune.kind, backend.rendering(target.tune)) == at
        progress.report("answers", 2 * number, 2 * len(targets), target.name)
        alone = trial.alone(target, asked, recipe, respond.generate, hashed)
        progress.report("answers", 2 * number + 1, 2 * len(targets), f"{target.name} with rows")
        marks += [*alone, *trial.retrieving(target, asked, opened, recipe, respond.generate)]
    progress.report("answers", 1, 1)
    like = [t.name for t in targets if (t.tune.kind, get_backend(t.tune).rendering(t.tune)) == at]
    for way in ("alone", "retrieval"):
        names = {trial.name_of(t, way) for t in targets if t.name in like}
        trial.same_prompts([m for m in marks if m.arm in names])
    order = [trial.name_of(t, "alone") for t in targets] + [trial.QUOTING]
    order += [trial.name_of(t, "retrieval") for t in targets]
    marks.sort(key=lambda m: order.index(m.arm))
    ways = {"alone": trial.closed(recipe.export.style), "with retrieval": "grounded"}
    compared = Compared(
        key=key_of(recipe, targets, asked),
        recipe=recipe.name,
        catalogue=catalogue,
        measure=recipe.compare.measure,
        targets=tuple(targets),
        decodings={way: ask.decoding(recipe, style).model_dump() for way, style in ways.items()},
        questions={group: sum(a.group == group for a in asked) for group in dict.fromkeys(a.group for a in asked)},
        arms=arms(marks),
        verdicts=verdicts(marks, recipe.compare.measure, recipe.seed),
        simulated=any(t.simulated for t in targets),
    )
    return comparisons.record(compared, marks)


def show(compared: Compared) -> None:
    """The table and the verdicts, in the Prefect UI."""
    place = (
        address.of(compared.mlflow_run_id) or f"run `{compared.mlflow_run_id}` in {redacted(settings.tracking_uri())}"
    )
    lines = [*(f"- {line}" for line in report.headlines(compared)), "", f"MLflow: {place}", ""]
    lines += [f"| group | arm | {' | '.join(RATES)} |", "|---|---|" + "---:|" * len(RATES)]
    for group in compared.questions:
        for arm in compared.arms:
            rates = [arm.groups[group][rate] for rate in RATES]
            cells = " | ".join("-" if rate is None else f"{rate:.3g}" for rate in rates)
            lines.append(f"| {group} | {arm.name} | {cells} |")
    create_markdown_artifact("\n".join(lines), key="comparison", description="the same questions to every model")
