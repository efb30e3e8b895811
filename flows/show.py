"""Show: results for a person at a terminal, and a progress bar where there is one."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tasks import progress, settings
from tasks.models import Prepared


def bars() -> None:
    """Draw progress on a terminal's standard error; in a pipe draw nothing."""
    if not sys.stderr.isatty():
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"), TimeElapsedColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    known: dict[str, TaskID] = {}

    def listener(what: str, done: float, total: float, detail: str) -> None:
        if what not in known:
            known[what] = drawn.add_task(what, total=total, detail=detail)
            drawn.start()
        drawn.update(known[what], completed=done, total=total, detail=detail)
        if all(task.finished for task in drawn.tasks):
            drawn.stop()

    progress.listen(listener)


def prepared(result: Prepared) -> None:
    """What became of every line, as a short table."""
    rows = [("lines read", result.lines), ("kept", result.kept)]
    rows += [(f"dropped: {rule}", count) for rule, count in result.dropped.items()]
    rows += [("quarantined", result.quarantined)]
    for what, count in rows:
        click.echo(f"{what:32}{count:>12,}")
    if result.cut:
        click.echo("the catalogue breaks off in the middle of its last line")
    served = "all served from caches" if not result.made else f"{result.made} worked on in this run"
    click.echo(f"{len(result.shards)} shards ({served}), {len(result.exports)} exports under {settings.root()}")
