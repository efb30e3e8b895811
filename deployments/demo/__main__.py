"""The demo: a tuned model, five questions of different kinds put to it, and a table of what was answered.

`python -m deployments.demo [A.B=VALUE]...`: each value overrides one key of the recipe `demo-facts`. A second time all
of it comes from its record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import fmean

from flows.cli import show
from flows.cli.options import enter
from tasks.evaluation.comparison import Arm, Compared
from tasks.evaluation.forms import Form, TrialQuestion
from tasks.recipe import loader

RECIPE = "demo-facts"
ASKED: tuple[Form, ...] = ("attribute", "title", "half a title", "category", "two products")
MANY = 4  # of them, beside one about a product that is nowhere
NOWHERE = "How much does the Plutonium Toaster 9000 weigh?"
COLUMNS = {
    "right_product": "right product", "to_the_point": "to the point", "answered": "in own words",
    "false_shown": "false shown",
}  # fmt: skip


def main(*overrides: str) -> None:
    """Tune, ask, compare; each result as the command line shows it."""
    enter()
    from flows.ask import ask
    from flows.compare import compare
    from flows.finetune import finetune
    from flows.prepare import ready
    from tasks import compare as verbs
    from tasks import respond
    from tasks.answers.index import Index
    from tasks.evaluation import trial

    recipe = loader.load(RECIPE, overrides)
    tuned = finetune(recipe)
    show.finetuned(tuned)
    recipe, prepared = ready(recipe)
    trial_questions = verbs.questions(recipe, prepared, Index(respond.index(recipe, prepared)))
    chosen = [trial.worded(one, recipe.export.style) for one in of_each_form(trial_questions)]
    show.echo("\nFive questions to the tuned model, each answered as `shardtune ask` does it:\n")
    show.replied(ask((*chosen, NOWHERE), tuned.key, recipe))
    compared = compare(("base", tuned.key), recipe)
    table(compared, {compared.targets[-1].name: "tuned", trial.QUOTES: "no model, quotes"})
    show.echo(f'\nask it yourself: .venv/bin/shardtune ask --model {tuned.key} "…"')


def of_each_form(questions: Sequence[TrialQuestion]) -> list[TrialQuestion]:
    """The first question of each form, then others; products that were not trained on come first."""
    there = sorted((one for one in questions if one.group != "absent"), key=lambda one: one.group == "seen")
    first = [one for form in ASKED if (one := next((q for q in there if q.form == form), None))]
    return [*first, *(one for one in there if one not in first)][:MANY]


def table(compared: Compared, names: dict[str, str]) -> None:
    """What became of the questions of all groups, one line an arm."""
    many = sum(number for group, number in compared.questions.items() if group != "absent")
    absent = compared.questions.get("absent", 0)
    show.echo(f"{many} questions with a row, and {absent} whose row is hidden; shares of answers:")
    heads = [*COLUMNS.values(), "declined wrongly", "declined rightly"]
    show.echo(f"{'':26}" + "".join(f"{head:>17}" for head in heads))
    for arm in compared.arms:
        name = next((arm.name.replace(key, told) for key, told in names.items() if arm.name.startswith(key)), arm.name)
        rates = [_mean(arm, rate, compared) for rate in (*COLUMNS, "declined")]
        rates.append(arm.groups.get("absent", {}).get("declined"))
        show.echo(f"{name:26}" + "".join(f"{'-' if rate is None else format(rate, '.0%'):>17}" for rate in rates))
    show.echo("A model by itself shows all that it says. With rows, only what the check lets through, beside quotes.")


def _mean(arm: Arm, rate: str, compared: Compared) -> float | None:
    """A rate over the groups that have a row."""
    held = [(arm.groups[g].get(rate), n) for g, n in compared.questions.items() if g != "absent" and g in arm.groups]
    told = [value for value, number in held if value is not None for _ in range(number)]
    return fmean(told) if told else None


if __name__ == "__main__":
    main(*sys.argv[1:])
