"""Options that the commands share, and the environment that every command enters first."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from tasks.core import plain
from tasks.core.errors import AnswerError

if TYPE_CHECKING:
    from tasks.recipe.model import Recipe

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
DEBUG = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback with an error.")
RECIPE = (
    click.option("--recipe", "recipe_name", metavar="NAME|FILE", help="A named recipe or a YAML file."),
    click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Override one key of the recipe."),
    click.option("--catalogue", metavar="URI", help="Where the products come from (catalogue.uri)."),
)
RUNNING = (
    *RECIPE,
    click.option("--fix", is_flag=True, help="Put examples with errors into quarantine (export.fix)."),
    AS_JSON,
    click.option("--verbose", is_flag=True, help="Show the orchestrator's own log."),
    DEBUG,
)
ASKING = (*RECIPE, AS_JSON, click.option("--verbose", is_flag=True, help="Show the orchestrator's own log."), DEBUG)


def running(shown: Callable[[Any], None]) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a command of a function of a recipe: add the options of every flow, and show its result."""

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(
            recipe_name: str | None,
            overrides: tuple[str, ...],
            catalogue: str | None,
            as_json: bool,
            verbose: bool,
            fix: bool = False,
            **own: Any,
        ) -> None:
            from tasks.recipe import loader

            recipe = loader.load(recipe_name, chosen(overrides, catalogue, fix))
            enter(verbose, flows=not own.get("files"))
            tell(function(recipe, **own), shown, as_json)

        return functools.reduce(lambda made, option: option(made), reversed(RUNNING), command)

    return decorate


def asking(shown: Callable[[Any], None] | None) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """As `running`, for commands that find their recipe by the model: `function` gets None where no recipe is named.

    Where `shown` is None the command shows its results itself, and has no --json.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(
            recipe_name: str | None,
            overrides: tuple[str, ...],
            catalogue: str | None,
            verbose: bool,
            as_json: bool = False,
            **own: Any,
        ) -> None:
            from tasks.recipe import loader

            changes = chosen(overrides, catalogue)
            recipe = loader.load(recipe_name, changes) if recipe_name else None
            enter(verbose)
            if changes and recipe is None:
                recipe = _changed(own.get("models") or own["model"], changes)
            result = function(recipe, **own)
            if shown is not None:
                tell(result, shown, as_json)

        options = [option for option in ASKING if shown is not None or option is not AS_JSON]
        return functools.reduce(lambda made, option: option(made), reversed(options), command)

    return decorate


def _changed(models: str, changes: list[str]) -> Recipe:
    """The recipe that the first tuned one of `models` was tuned by, with these overrides."""
    from tasks.recipe import loader
    from tasks.record import registry

    tuned = [name for name in models.split(",") if name != "base"]
    try:
        return loader.over(registry.target(tuned[0])[1], changes) if tuned else loader.load(None, changes)
    except AnswerError:
        if models != "champion":
            raise
        return loader.load(None, changes)  # no model is tuned yet, but the catalogue's rows can be quoted


def chosen(overrides: tuple[str, ...], catalogue: str | None, fix: bool = False) -> list[str]:
    """All overrides, including those of --catalogue and --fix."""
    own = [f"catalogue.uri={json.dumps(catalogue)}"] if catalogue else []
    return [*overrides, *own, *(["export.fix=true"] if fix else [])]


def tell(result: Any, shown: Callable[[Any], None], as_json: bool) -> None:
    """Print a result; exit status 1 where it has errors."""
    if as_json:
        click.echo(plain.escaped(json.dumps(result.model_dump(mode="json"), ensure_ascii=False)))
    else:
        shown(result)
    if getattr(result, "errors", 0):
        sys.exit(1)


def enter(verbose: bool = False, flows: bool = True) -> None:
    """Set the environment that Prefect and MLflow read at import, and how progress and warnings are shown.

    A command with flows uses a Prefect server, started here if there is none.
    """
    from tasks.core import imports, settings
    from tasks.orchestrator import server

    if not verbose:
        # The command prints an error itself, in one line; the Prefect UI has the whole log.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    settings.enter()
    if flows:
        server.use()
        with imports.without(imports.GRAMMAR):
            importlib.import_module("prefect")  # takes seconds, in which the server starts
        server.ready()
    logging.captureWarnings(True)
    show.bars()
