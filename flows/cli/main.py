"""The `shardtune` command: each subcommand is one flow. Nothing heavy is imported before a subcommand runs."""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING

import click

from flows.cli import answers, backup, export, init, operate, schedule, serve, service, show, trace
from flows.cli.options import AS_JSON, DEBUG, enter, running
from tasks.core import plain
from tasks.core.errors import ShardtuneError

if TYPE_CHECKING:
    from tasks.core.models import CatalogueReport, Checked, Finetuned, Prepared
    from tasks.core.quotes import Quoted
    from tasks.recipe.model import Recipe


class Commands(click.Group):
    """A group whose help shows the first sentence of each command whole; click would cut it at the line's end."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(limit=1000)) for name in self.list_commands(ctx)]
            )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shardtune", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a product catalogue into tuned models, and prove what each one learned."""


@cli.command()
@click.option("--out", default=".shardtune/demo/catalogue.json", show_default=True, help="The file to write.")
@click.option("--rows", default=6_000, show_default=True, type=click.IntRange(min=1), help="Lines to write.")
@click.option("--seed", default=1, show_default=True, help="The same rows and seed give the same bytes.")
def sample(out: str, rows: int, seed: int) -> None:
    """Write a made-up catalogue to try everything on; the recipe `demo` reads it."""
    from pathlib import Path

    from deployments.demo import catalogue

    Path(out).parent.mkdir(parents=True, exist_ok=True)
    size = catalogue.write(out, rows, seed)
    click.echo(f"{rows:,} made-up lines, {size / 1e6:,.1f} MB: {out}")


@cli.command()
@running(show.prepared)
@click.option("--publish", "target", metavar="URI", help="Copy the clean shards and their card to this folder.")
def prepare(recipe: Recipe, target: str | None) -> Prepared:
    """Catalogue -> shards -> clean rows -> splits -> exports."""
    from flows.prepare import prepare as flow
    from flows.prepare import sure

    prepared = sure(recipe) if target else flow(recipe)
    if target:
        from tasks.catalogue.publish import publish

        publish(prepared, target)
    return prepared


@cli.command()
@running(show.reported)
@click.option("--out", metavar="FILE", help="Write the page to this file too.")
def report(recipe: Recipe, out: str | None) -> CatalogueReport:
    """One HTML page about a catalogue: rows before and after cleaning, what is left out and why, drift."""
    from pathlib import Path

    from flows.report import report as flow
    from tasks.core import store

    done = flow(recipe)
    if out:
        with store.reading(done.page) as stream:
            Path(out).write_bytes(stream.read())
    return done


@cli.command()
@running(show.finetuned)
@click.option("--promote", is_flag=True, help="Register the model; it becomes champion only if the gate says so.")
@click.option("--again", is_flag=True, help="Start a failed or cancelled job again.")
@click.option("--wait/--no-wait", default=True, help="Watch the job to its end, or leave it to `shardtune sweep`.")
def finetune(recipe: Recipe, again: bool, wait: bool, promote: bool) -> Finetuned:
    """Catalogue -> tuned model -> its evidence in MLflow. Run the same command again to resume."""
    from flows.finetune import finetune as flow

    return flow(recipe.model_copy(update={"promote": promote or recipe.promote}), again, wait)


@cli.command()
@running(show.checked)
@click.argument("files", nargs=-1, metavar="[FILE]...")
def check(recipe: Recipe, files: tuple[str, ...]) -> Checked:
    """Everything that would block or warn about this recipe, before anything is uploaded.

    With FILEs it checks those training files instead. Exit status 1 where there is an error.
    """
    from flows.check import check as flow
    from tasks.check import of_files

    return of_files(files, recipe.tune, recipe.export.fix) if files else flow(recipe)


@cli.command()
@running(show.quoted)
def quote(recipe: Recipe) -> Quoted:
    """The price of each link of a recipe, before it starts."""
    from flows.check import quote as flow

    return flow(recipe)


@cli.command()
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
@click.option("--catalogue", required=True, metavar="URI", help="Where the products come from.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Override one key of every recipe.")
@click.option("--speed", default=60.0, help="Simulated seconds in a real one.")
@AS_JSON
@DEBUG
def rehearse(names: tuple[str, ...], catalogue: str, overrides: tuple[str, ...], speed: float, as_json: bool) -> None:
    """Run recipes against simulators on this machine, at no cost; without names, those of both reports."""
    from flows import rehearse as flows
    from tasks.core import settings

    chosen = flows.load(names, catalogue, overrides)
    with flows.stage(settings.root(), speed):
        enter()
        result = flows.rehearse(chosen)
        if as_json:
            click.echo(plain.escaped(json.dumps(result.model_dump(mode="json"), ensure_ascii=False)))
        else:
            show.rehearsed(result)


@cli.command()
@AS_JSON
@DEBUG
def sweep(as_json: bool) -> None:
    """Check every open job once; finish those that have ended."""
    enter()
    from flows.sweep import sweep as flow

    swept = flow()
    if as_json:
        click.echo(json.dumps([s.model_dump(mode="json") for s in swept]))
        return
    for one in swept:
        parts = (one.state, one.concluded * "concluded", one.detail)
        show.echo(f"{one.key}  {'  '.join(part for part in parts if part)}")
    if not swept:
        click.echo("no job is open")


@cli.command()
@click.argument("key")
@AS_JSON
@DEBUG
def cancel(key: str, as_json: bool) -> None:
    """Cancel the job of KEY (its first digits are enough) and end its MLflow run."""
    enter()
    from flows.sweep import cancel as end
    from tasks.record import ledger

    key = ledger.whole(key)
    state = end(key)
    show.echo(json.dumps({"key": key, "state": state}) if as_json else f"{key}  {state}")


@cli.command(name="recipes")
@AS_JSON
def listed(as_json: bool) -> None:
    """List the named recipes."""
    from tasks.recipe import names

    known = names.described()
    lines = (f"{name:24} {description}" for name, description in known.items())
    show.echo(json.dumps(known) if as_json else "\n".join(lines))


for module in (init, answers, trace, operate, schedule, service, serve, export, backup):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line. An error is one line (with --debug a traceback) and a non-zero exit status."""
    try:
        cli.main(prog_name="shardtune", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("shardtune: stopped; run the same command again to resume", err=True)
        sys.exit(130)
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        from tasks.orchestrator import server

        message = f"{type(error).__name__}: {error}"
        message = str(error) if isinstance(error, ShardtuneError) else server.unanswered(error) or message
        message = server.lost() or message
        click.echo(f"shardtune: error: {' '.join(plain.terminal(message).split())}", err=True)
        sys.exit(1)
