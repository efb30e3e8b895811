"""Show: results for a person at a terminal, and a progress bar where there is one."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tasks import progress, settings
from tasks.models import Finetuned, Prepared


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


def finetuned(result: Finetuned) -> None:
    """The numbers, the same questions before and after, and where to look further."""
    answers(result)
    before, after = (_number(result.heldout_loss.get(when)) for when in ("before", "after"))
    click.echo(f"held-out loss  {before} -> {after} nats per answer token, the same rows before and after")
    click.echo(f"{'':28}{'before':>10}{'after':>10}{'before, t=0':>14}{'after, t=0':>12}")
    for group, arms in result.scores.items():
        for name in dict.fromkeys(name for values in arms.values() for name in values):
            told = [_number(arms.get(arm, {}).get(name)) for arm in ("before", "after", "before_t0", "after_t0")]
            click.echo(f"{group + ': ' + name:28}{told[0]:>10}{told[1]:>10}{told[2]:>14}{told[3]:>12}")
    if not result.trained:
        click.echo("this job was already done: all of this is served from its record, nothing was trained")
    click.echo(f"job    {result.key}, {result.steps} steps, {result.state}\nmodel  {result.model}")
    click.echo(f"MLflow run {result.mlflow_run_id}; to open it and the flow runs in a browser:")
    click.echo(f"  {_bin('mlflow')} ui --backend-store-uri {settings.tracking_uri()}")
    click.echo(f"  PREFECT_HOME={settings.prefect_home()} {_bin('prefect')} server start")


def answers(result: Finetuned) -> None:
    """Every question with its answers beside the original content, each shortened to two lines."""
    for row in result.answers:
        click.echo(f"{row.group}: {row.question}")
        told = (("original", row.content), ("before", row.before), ("after", row.after), ("after, t=0", row.after_t0))
        for name, text in told:
            lines = textwrap.wrap(" ".join(text.split()) or "(nothing)", 100, max_lines=2, placeholder=" …")
            click.echo(textwrap.indent("\n".join(lines), " " * 14).replace(" " * 14, f"  {name:12}", 1))
        click.echo()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bin(name: str) -> str:
    """A command beside this interpreter, as a person would type it from here."""
    path = Path(sys.executable).parent / name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
