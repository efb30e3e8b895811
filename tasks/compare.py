"""Prefect policy for comparing models: answers are cached, so nothing is asked twice; a comparison is made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from tasks import evaluate, links, respond
from tasks.answers import ask
from tasks.answers.index import Index
from tasks.answers.reply import Target
from tasks.backends import get_backend
from tasks.backends.contract import Decoding
from tasks.core import progress, settings, store
from tasks.core.models import Export, Prepared, StyleName
from tasks.core.redaction import redacted
from tasks.evaluation import forms, gate, report, trial
from tasks.evaluation.candidacy import Candidacy
from tasks.evaluation.comparison import RATES, Compared, arms, verdicts
from tasks.evaluation.forms import TrialQuestion
from tasks.evaluation.trial import Mark, Way
from tasks.examples.styles import STYLES
from tasks.recipe.model import Recipe
from tasks.record import address, comparisons

VERSION = 3  # bump it when what is asked, or how it is marked, changes


def questions(
    recipe: Recipe, prepared: Prepared, opened: Index, candidacy: Candidacy | None = None
) -> list[TrialQuestion]:
    """The fixed questions of this recipe's comparisons: on what it trains on, and on what it holds out.

    The gate has more of them, and others after each new champion: those that made it one are not asked again. Where the
    recipe tunes models that see no rows, it asks for titles only: that is what they learn.
    """
    mine = [e for e in prepared.exports if e.examples and (recipe.shards is None or e.shard in recipe.shards)]

    def of(split: str) -> list[Export]:
        return [e for e in mine if e.split == split]

    wanted, seed = recipe.compare, recipe.seed
    seen, unseen = wanted.seen, wanted.unseen
    if candidacy:
        seen = unseen = wanted.gate
        seed = int(store.digest_of([recipe.seed, candidacy.champion])[:15], 16)
    exam = evaluate.draw_exam(of("train"), of("holdout"), prepared.shards, seen, unseen, seed)
    titles = candidacy and not STYLES[recipe.export.style].grounded
    return forms.asked(exam, opened, ("title",) if titles else forms.EVERY)


def key_of(
    recipe: Recipe, targets: Sequence[Target], asked: Sequence[TrialQuestion], candidacy: Candidacy | None = None
) -> str:
    """32 hex digits of all that decides a comparison: which models, which questions, how they are asked and judged."""
    models = [t.model_dump(mode="json", include={"name", "model", "digest", "endpoint", "tune"}) for t in targets]
    rows = [[a.group, a.form, a.text, a.row.uid, a.row.digest, a.question.prompt_hash] for a in asked]
    drawn = [_drawn(recipe, style).model_dump() for style in (trial.closed(recipe.export.style), "grounded")]
    by = [recipe.compare.measure, recipe.ask.model_dump(), drawn, recipe.seed]
    return store.digest_of([VERSION, models, rows, *by, candidacy.champion if candidacy else None])


def run(
    recipe: Recipe,
    targets: Sequence[Target],
    asked: Sequence[TrialQuestion],
    opened: Index,
    catalogue: str,
    candidacy: Candidacy | None = None,
) -> Compared:
    """Every arm asked, marked and judged, and all of it recorded.

    For the gate, where the last target is the candidate, each model is asked in its own way only, and no longer than
    until it is clear.
    """
    ways: dict[str, tuple[Way, ...]] = {t.name: ("alone", "with rows") for t in targets}
    marks: list[Mark] = []
    if candidacy is None:
        marks += [
            *trial.quotes(asked, opened, recipe.export.style, recipe.ask),
            *_marked(recipe, targets, ways, asked, opened),
        ]
    else:
        ways = {t.name: (gate.way(t, targets[-1]),) for t in targets}
        arms_of_gate = [trial.name_of(t, *ways[t.name]) for t in targets]
        for part in forms.rounds(asked):
            marks += _marked(recipe, targets, ways, part, opened)
            if gate.done(marks, recipe.compare.measure, arms_of_gate[-1], arms_of_gate[:-1], candidacy):
                break
    progress.report("answers", 1, 1)
    like = [t for t in targets if _like(recipe, t)]
    alike = [{trial.name_of(t, "alone") for t in like}]
    for style in {trial.opened(t, recipe.export.style) for t in like}:
        alike.append({trial.name_of(t, "with rows") for t in like if trial.opened(t, recipe.export.style) == style})
    for names in alike:
        trial.same_prompts([m for m in marks if m.arm in names])
    order = [trial.name_of(t, "alone") for t in targets] + [trial.QUOTES]
    order += [trial.name_of(t, "with rows") for t in targets]
    marks.sort(key=lambda m: order.index(m.arm))
    compared = _compared(recipe, targets, marks, candidacy).model_copy(
        update={"key": key_of(recipe, targets, asked, candidacy), "catalogue": catalogue}
    )
    return comparisons.record(compared, marks)


def _drawn(recipe: Recipe, style: StyleName) -> Decoding:
    return ask.decoding(recipe.evaluate, style, recipe.seed)


def _like(recipe: Recipe, target: Target) -> bool:
    """Whether the target renders a prompt as the recipe's own model does."""
    own, theirs = links.tuning(recipe), target.tune
    return (theirs.kind, get_backend(theirs).rendering(theirs)) == (own.kind, get_backend(own).rendering(own))


def _compared(
    recipe: Recipe, targets: Sequence[Target], marks: Sequence[Mark], candidacy: Candidacy | None
) -> Compared:
    """What the marks come to; the key and the catalogue are not in it yet."""
    styles: dict[Way, StyleName] = {"alone": trial.closed(recipe.export.style), "with rows": "grounded"}
    groups = [Counter(m.group for m in marks if m.arm == arm) for arm in dict.fromkeys(m.arm for m in marks)]
    return Compared(
        key="",
        recipe=recipe.name,
        catalogue="",
        measure=recipe.compare.measure,
        targets=tuple(targets),
        decodings={way: _drawn(recipe, style).model_dump() for way, style in styles.items()},
        questions={group: max(g[group] for g in groups) for group in dict.fromkeys(m.group for m in marks)},
        arms=arms(marks),
        verdicts=verdicts(marks, recipe.compare.measure, recipe.seed),
        simulated=any(t.simulated for t in targets),
        candidacy=candidacy,
    )


def _marked(
    recipe: Recipe,
    targets: Sequence[Target],
    ways: dict[str, tuple[Way, ...]],
    asked: Sequence[TrialQuestion],
    opened: Index,
) -> list[Mark]:
    """The marks of these questions, every target in its ways."""
    marks: list[Mark] = []
    own = recipe.export.style
    for number, target in enumerate(targets):
        progress.report("answers", number, len(targets), target.name)
        if "alone" in ways[target.name]:
            drawn = _drawn(recipe, trial.closed(own))
            marks += trial.alone(target, asked, own, drawn, respond.generate, _like(recipe, target))
        if "with rows" in ways[target.name]:
            drawn = _drawn(recipe, "grounded")
            marks += trial.with_rows(target, asked, opened, own, recipe.ask, drawn, respond.generate)
    return marks


def show(compared: Compared) -> None:
    """The table and the verdicts, in the Prefect UI."""
    place = (
        address.page(compared.mlflow_run_id) or f"run `{compared.mlflow_run_id}` in {redacted(settings.tracking_uri())}"
    )
    lines = [*(f"- {line}" for line in report.headlines(compared)), "", f"MLflow: {place}", ""]
    lines += [f"| group | arm | {' | '.join(RATES)} |", "|---|---|" + "---:|" * len(RATES)]
    for group in compared.questions:
        for arm in compared.arms:
            rates = [arm.groups.get(group, {}).get(rate) for rate in RATES]
            cells = " | ".join("-" if rate is None else f"{rate:.3g}" for rate in rates)
            lines.append(f"| {group} | {arm.name} | {cells} |")
    create_markdown_artifact("\n".join(lines), key="comparison", description="the same questions to every model")
