"""Schedule: the commands that let a recipe's chain be retrained by itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, RECIPE, chosen, enter
from tasks.core import plain
from tasks.core.errors import ShardtuneError

if TYPE_CHECKING:
    from deployments.schedule import Scheduled
    from tasks.recipe.model import Recipe


@click.group(invoke_without_command=True)
@click.option("--cron", metavar="LINE", help="When: minute, hour, day, month, weekday, as '0 3 * * *'.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Of --cron, as Europe/Berlin.")
@click.option("--arrived", is_flag=True, help="Also when `shardtune arrived` tells that this catalogue has grown.")
@click.option("--budget", type=click.FloatRange(min=0), metavar="USD", help="Of each retrain (budget_usd).")
@click.option("--pool", metavar="NAME", help="Work pool; chosen by the backend where none is named.")
@click.option("--notify", metavar="TYPE/NAME", help="A notification block of the server that is told of failed runs.")
@click.option("--yes", is_flag=True, help="Allow the workers of this root to read the catalogue's place, unasked.")
@AS_JSON
@DEBUG
@click.pass_context
def schedule(
    context: click.Context,
    recipe_name: str | None,
    overrides: tuple[str, ...],
    catalogue: str | None,
    budget: float | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Retrain a recipe's chain by itself: at the times of --cron, or where its catalogue has grown, or both.

    It makes a deployment on the Prefect server of `up`, or the one that PREFECT_API_URL names. The deployment holds the
    recipe as it is now: after a change give the same command again. No file is edited.
    """
    if context.invoked_subcommand:
        return
    from tasks.recipe import loader

    own = [f"budget_usd={budget}"] if budget is not None else []
    recipe = loader.load(recipe_name, [*chosen(overrides, catalogue), *own])
    _server()
    made = _made(recipe, **how)
    if as_json:
        click.echo(_json(made))
    else:
        _shown(made)


for option in RECIPE:
    schedule = option(schedule)


def _made(
    recipe: Recipe, cron: str | None, timezone: str, arrived: bool, pool: str | None, notify: str | None, yes: bool
) -> Scheduled:
    from deployments import schedule as made
    from tasks.catalogue import how, sources
    from tasks.recipe import allowed

    if not (cron or arrived):
        raise ShardtuneError("say when: --cron '0 3 * * *', --arrived, or both")
    if recipe.tune is None or recipe.catalogue.uri is None:
        raise ShardtuneError(f"recipe {recipe.name!r} has no {'tune' if recipe.catalogue.uri else 'catalogue.uri'}")
    if recipe.tune.kind != "local" and recipe.budget_usd is None:
        raise ShardtuneError(
            "a retrain that costs money and runs by itself needs a bound: add --budget 20 (US dollars)"
        )
    times = made.valid(made.Times(cron, timezone, arrived))
    places = recipe.catalogue.model_copy(update={"uri": made.absolute(recipe.catalogue.uri)})
    recipe = recipe.model_copy(update={"catalogue": places})
    sources.find(str(places.uri), places.config, places.split, how.of(places))
    for place in made.reads(recipe):
        if not _ours():
            told = f"note: workers of that server must be allowed to read {place!r} ({allowed.VARIABLE})"
            click.echo(plain.terminal(told), err=True)
        elif yes or click.confirm(f"May the workers of this root read {place!r} from now on?", err=True):
            allowed.add(place)
        else:
            raise ShardtuneError(f"nothing was made: its runs could not read {place!r}; put the catalogue elsewhere")
    return made.make(recipe, times, pool or made.pool(recipe), notify)


def _ours() -> bool:
    """Whether the server is the one of this root's `up`, so that its workers read what this root says."""
    from tasks.core import settings

    return settings.served().get("PREFECT_API_URL") == os.environ.get("PREFECT_API_URL")


def _server() -> None:
    from tasks.orchestrator import api

    enter(flows=False)
    if not api.address():
        raise ShardtuneError(
            "there is no Prefect server to keep a schedule: `shardtune up` starts one, or set PREFECT_API_URL to the "
            "address of one"
        )


def _json(value: Any) -> str:
    from deployments.schedule import Scheduled

    def told(one: Scheduled) -> dict[str, Any]:
        return one._asdict() | {"times": one.times._asdict()}

    return plain.escaped(json.dumps(told(value) if isinstance(value, Scheduled) else [told(one) for one in value]))


def _shown(one: Scheduled) -> None:
    when = [f"{one.times.cron} {one.times.timezone}" if one.times.cron else "", "when it grew" * one.times.arrived]
    bound = "no budget" if one.budget_usd is None else f"at most ${one.budget_usd:g} each time"
    notice = ", tells of failures" if one.notifies else ""
    show.echo(f"{one.name}  {'on' if one.on else 'paused'}  {' and '.join(filter(None, when))}")
    show.echo(f"  {one.catalogue}\n  pool {one.pool}, {bound}{notice}\n  {one.url}")


@schedule.command(name="list")
@AS_JSON
@DEBUG
def listed(as_json: bool) -> None:
    """What retrains by itself on this server, and when."""
    _server()
    from deployments import schedule as made

    found = list(made.listed())
    if as_json:
        click.echo(_json(found))
        return
    for one in found:
        _shown(one)
    if not found:
        show.echo("nothing is scheduled: shardtune schedule --recipe NAME.yaml --cron '0 3 * * *'")


@schedule.command()
@click.argument("name")
@DEBUG
def pause(name: str) -> None:
    """Let the schedule of the recipe called NAME rest."""
    _switched(name, on=False)


@schedule.command()
@click.argument("name")
@DEBUG
def resume(name: str) -> None:
    """Let it go on."""
    _switched(name, on=True)


def _switched(name: str, on: bool) -> None:
    _server()
    from deployments import schedule as made

    _shown(made.switch(name, on))


@schedule.command()
@click.argument("name")
@DEBUG
def remove(name: str) -> None:
    """Delete it, with its trigger and its notification; its runs and what they made stay."""
    _server()
    from deployments import schedule as made

    made.remove(name)
    show.echo(f"{name} is no longer retrained by itself")


COMMANDS = (schedule,)
