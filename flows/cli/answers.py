"""Answers: the commands that ask models questions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, asking, chosen, enter
from tasks.core.choices import StyleName
from tasks.core.errors import AnswerError

if TYPE_CHECKING:
    from tasks.answers.reply import Replied
    from tasks.evaluation.comparison import Compared
    from tasks.recipe.model import Recipe

MODEL = click.option(
    "--model", default="champion", show_default=True, help="base, run:ID, KEY, champion, NAME@champion or NAME/VERSION."
)
STYLE = click.option("--style", type=click.Choice(get_args(StyleName)), help="Ask in another style than the model's.")


@click.command()
@asking(show.replied)
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--file", "file", metavar="FILE", help="More questions: one a line, or JSON lines with a 'question'.")
@click.option("--out", metavar="FILE", help="Write one reply a line as JSON to this file.")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Look only at rows with this fact; all must hold.")
@MODEL
@STYLE
def ask(
    recipe: Recipe | None,
    questions: tuple[str, ...],
    file: str | None,
    out: str | None,
    model: str,
    style: StyleName | None,
    where: tuple[str, ...],
) -> Replied:
    """Answer QUESTIONs by a model, with checked sources, from the rows of the catalogue it was tuned on."""
    asked = (*questions, *(_read(file) if file else ()))
    if not asked:
        raise click.UsageError("nothing is asked: give a question, or --file")
    from flows.ask import ask as flow

    replied = flow(asked, model, recipe, style, where)
    if out:
        lines = [reply.model_dump_json() for reply in replied.replies]
        Path(out).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return replied


@click.command()
@click.argument("file")
@click.option("--catalogue", required=True, metavar="URI", help="Where the products come from.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Override one key of the recipe.")
@AS_JSON
@DEBUG
def verify(file: str, catalogue: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the answers in FILE claim by claim against the rows of a catalogue, whichever model gave them.

    FILE holds JSON lines with `question`, `answer` and, where it is known, the `uid` of the row; `-` is standard input.
    With --json each line of the output is the result of the line of FILE at the same place.
    """
    from tasks.answers.verify import cases
    from tasks.recipe import loader

    recipe = loader.load(None, chosen(overrides, catalogue))
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerError(f"answers {file!r} cannot be read: {error}") from error
    told = tuple(cases(text.splitlines(), file))
    enter()
    from flows.verify import verify as flow

    show.verified(told, flow(told, recipe), as_json)


@click.command()
@asking(None)
@MODEL
@STYLE
def chat(recipe: Recipe | None, model: str, style: StyleName | None) -> None:
    """Ask one question after the other; under each answer stands its source. An empty line ends it."""
    from flows.chat import opened

    answer = opened(model, recipe, style)
    click.echo("ask about a product; an empty line ends it", err=True)
    while question := _line():
        show.reply(answer(question))


def _line() -> str:
    """The next question; empty at the end of the input."""
    if sys.stdin.isatty():
        return str(click.prompt(">", default="", show_default=False, prompt_suffix=" ")).strip()
    return sys.stdin.readline().strip()


def _read(file: str) -> Iterator[str]:
    """The questions of a file, in order; blank lines are none."""
    from tasks.core import limits

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerError(f"questions {file!r} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("{"):
            try:
                line = str(limits.json_value(line)["question"])
            except (ValueError, KeyError, TypeError) as error:
                raise AnswerError(f"questions {file!r} line {number}: no JSON object with a 'question'") from error
        if line.strip():
            yield line.strip()


@click.command()
@asking(show.compared)
@click.option("--models", default="base,champion", show_default=True, help="Names as of --model, with commas between.")
@click.option("--backends", default="", metavar="A,B", help="Leave out models of other backends.")
@click.option("--html", metavar="FILE", help="Write the report to this file too.")
def compare(recipe: Recipe | None, models: str, backends: str, html: str | None) -> Compared:
    """Ask several models the same questions, with rows and without; say which is better, or that nobody can tell."""
    from flows.compare import compare as flow
    from tasks.record import ledger

    compared = flow(_names(models), recipe, _names(backends))
    if html:
        Path(html).write_text(ledger.text(compared.mlflow_run_id, "report.html"), encoding="utf-8")
    return compared


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@click.command()
@click.argument("name")
@AS_JSON
@DEBUG
def rollback(name: str, as_json: bool) -> None:
    """Make the champion that the recipe NAME had before champion again."""
    enter()
    from flows.promote import rollback as flow

    version = flow(name)
    show.echo(json.dumps({"champion": version}) if as_json else f"champion is {version}")


COMMANDS = (ask, chat, verify, compare, rollback)
