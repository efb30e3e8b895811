"""Commands that back up all state and restore it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG
from tasks.core.errors import ServiceError

if TYPE_CHECKING:
    from tasks.core.backup import Manifest


@click.command()
@click.argument("target", metavar="FOLDER|URI")
@AS_JSON
@DEBUG
def backup(target: str, as_json: bool) -> None:
    """Copy all state (shards, exports, jobs, adapters, MLflow, Prefect) to FOLDER, while everything runs."""
    from tasks.core import backup as state

    _tell("backed up", state.backup(target), target, as_json)


@click.command()
@click.argument("source", metavar="FOLDER|URI")
@click.option("--force", is_flag=True, help="Move the existing state aside (in object storage: overwrite it).")
@click.option("--check", is_flag=True, help="Only verify every byte of the backup.")
@AS_JSON
@DEBUG
def restore(source: str, force: bool, check: bool, as_json: bool) -> None:
    """Restore a backup to its original location, all or nothing. Stop shardtune first."""
    from tasks.core import backup as state
    from tasks.orchestrator import server

    if check:
        _tell("whole", state.check(source), source, as_json)
        return
    if using := list(server.users()):
        raise ServiceError(f"commands of this root are running (pids {using!r}): wait until they have ended")
    server.end()  # it has the database open
    made, aside = state.restore(source, force)
    _tell("restored", made, source, as_json, aside=aside)


def _tell(done: str, made: Manifest, place: str, as_json: bool, **more: Any) -> None:
    values = {"made": made.made, "root": made.root, "files": len(made.files), "bytes": sum(f.size for f in made.files)}
    values |= {"elsewhere": list(made.elsewhere)} | more
    if as_json:
        click.echo(json.dumps(values))
        return
    show.echo(f"{done}  {place}: {values['files']:,} files, {values['bytes']:,} bytes of {made.root}, made {made.made}")
    for line in made.elsewhere:
        show.echo(f"NOT INCLUDED  {line}")
    if more.get("aside"):
        show.echo(f"the former state is now in {more['aside']}")


COMMANDS = (backup, restore)
