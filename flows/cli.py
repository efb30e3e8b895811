"""The `shardtune` command: each subcommand is one flow. Nothing heavy is imported before a subcommand runs."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any

import click

from flows import show
from tasks import recipes, settings
from tasks.errors import ShardtuneError
from tasks.recipe import Recipe


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Turn a product catalogue into tuned models, and prove what each one learned."""


def running(function: Any) -> Any:
    """The options every flow has."""
    options = [
        click.option("--recipe", "recipe_name", metavar="NAME|FILE", help="A named recipe or a YAML file."),
        click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Override one key of the recipe."),
        click.option("--catalogue", metavar="URI", help="Where the products come from (catalogue.uri)."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else."),
        click.option("--verbose", is_flag=True, help="Show the orchestrator's own log."),
        click.option("--debug", is_flag=True, help="Show a traceback with an error."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def begin(recipe_name: str | None, overrides: tuple[str, ...], catalogue: str | None, verbose: bool) -> Recipe:
    """Read the recipe, then make the process ready for a flow."""
    chosen = [*overrides, *([f"catalogue.uri={json.dumps(catalogue)}"] if catalogue else [])]
    recipe = recipes.load(recipe_name, chosen)
    enter(verbose)
    return recipe


def enter(verbose: bool = False) -> None:
    """Set the environment that Prefect and MLflow read at import, and how progress and warnings are shown."""
    if not verbose:
        # Errors are told once, in one line; the Prefect UI has the whole log.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    settings.enter()
    logging.captureWarnings(True)
    show.bars()


@cli.command()
@running
@click.option("--publish", "target", metavar="URI", help="Copy the clean shards and their card to this folder.")
def prepare(
    target: str | None,
    recipe_name: str | None,
    overrides: tuple[str, ...],
    catalogue: str | None,
    as_json: bool,
    verbose: bool,
    debug: bool,
) -> None:
    """Catalogue -> shards -> clean rows -> splits -> exports."""
    recipe = begin(recipe_name, overrides, catalogue, verbose)
    from flows.prepare import prepare as flow

    prepared = flow(recipe)
    if target:
        from tasks.catalogue.publish import publish

        publish(prepared, target)
    if as_json:
        click.echo(json.dumps(prepared.model_dump(mode="json"), ensure_ascii=False))
    else:
        show.prepared(prepared)


@cli.command()
@running
@click.option("--again", is_flag=True, help="Start a failed or cancelled job anew.")
def finetune(
    again: bool,
    recipe_name: str | None,
    overrides: tuple[str, ...],
    catalogue: str | None,
    as_json: bool,
    verbose: bool,
    debug: bool,
) -> None:
    """Catalogue -> tuned model -> its evidence in MLflow. The same command goes on where it was stopped."""
    recipe = begin(recipe_name, overrides, catalogue, verbose)
    from flows.finetune import finetune as flow

    result = flow(recipe, again)
    if as_json:
        click.echo(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    else:
        show.finetuned(result)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def sweep(as_json: bool, debug: bool) -> None:
    """One short look at every open job; what has ended is finished."""
    enter()
    from flows.sweep import sweep as flow

    swept = flow()
    if as_json:
        click.echo(json.dumps([s.model_dump(mode="json") for s in swept]))
        return
    for found in swept:
        click.echo(f"{found.key}  {found.state}{'  concluded' if found.concluded else ''}")
    if not swept:
        click.echo("no job is open")


@cli.command()
@click.argument("key")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cancel(key: str, debug: bool) -> None:
    """Cancel the job of KEY and end its MLflow run."""
    enter()
    from flows.sweep import cancel as end

    click.echo(f"{key}  {end(key)}")


@cli.command(name="recipes")
def listed() -> None:
    """List the named recipes."""
    for name in recipes.names():
        click.echo(f"{name:24} {recipes.load(name).description}")


def main() -> None:
    """Run the command line; exit status 0 only when all went well, and errors are one line without --debug."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("shardtune: stopped; the same command goes on where this one was", err=True)
        sys.exit(130)
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        told = str(error) if isinstance(error, ShardtuneError) else f"{type(error).__name__}: {error}"
        click.echo(f"shardtune: error: {' '.join(told.split())}", err=True)
        sys.exit(1)
