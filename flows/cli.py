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
    """Read the recipe, then set the environment that Prefect and MLflow read at import."""
    chosen = [*overrides, *([f"catalogue.uri={json.dumps(catalogue)}"] if catalogue else [])]
    recipe = recipes.load(recipe_name, chosen)
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    settings.enter()
    logging.captureWarnings(True)
    show.bars()
    return recipe


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
