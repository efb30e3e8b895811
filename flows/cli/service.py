"""Service: the commands that run everything on one machine, and tell how it stands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG
from tasks.core import plain
from tasks.core.errors import ServiceError

OURS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


@click.command()
@click.option("--port", default=0, help="Of the Prefect server; 4200, or that of last time, where none is named.")
@click.option("--mlflow-port", default=0, help="Of the MLflow server; 5000, or that of last time.")
@click.option("--serve-port", default=0, help="Of the page that answers questions; 8000, or that of last time.")
@click.option("--gpu/--no-gpu", default=None, help="Whether a worker serves the pool `gpu`; told by the driver.")
@DEBUG
def up(port: int, mlflow_port: int, serve_port: int, gpu: bool | None) -> None:
    """Start Prefect, MLflow, workers and the models, register the deployments, and look after all of it until Ctrl-C.

    Trainers that run go on without it. Started again, it picks up where it was.
    """
    from tasks.core import processes, settings

    running = {name: settings.served().get(name) for name in OURS}
    if processes.alive(settings.service().get("up")):
        show.echo(f"already up: Prefect {_page(running[OURS[0]])}, MLflow {_page(running[OURS[1]])}")
        return
    for name in OURS:
        if os.environ.get(name):
            raise ServiceError(f"{name} is {os.environ[name]!r}, and `up` starts servers of its own: unset it")
    settings.enter()
    from deployments.service.up import Service

    has = Path("/dev/nvidiactl").exists() if gpu is None else gpu
    Service(show.echo).run(port, mlflow_port, serve_port, ("cpu", "gpu") if has else ("cpu",))


def _page(url: str | None) -> str:
    return url.removesuffix("/api") if url else "(starting)"


@click.command()
@click.option("--login", is_flag=True, help="Print the password of this root's pages and its API key, nothing else.")
@AS_JSON
@DEBUG
def status(login: bool, as_json: bool) -> None:
    """What runs, what is open, what failed in the last seven days, and what to do about each."""
    if login:
        from tasks.core import access

        click.echo(access.login())
        return
    from tasks.core import settings

    settings.find()
    from tasks.orchestrator.status import status as look

    found = look()
    if as_json:
        click.echo(plain.escaped(json.dumps(_plain(found), ensure_ascii=False)))
        return
    for part in found.service:
        show.echo(f"{part.name:14} {'running' if part.alive else 'stopped':8} pid {part.pid:<8} {part.url}")
    if found.looked:
        show.echo(found.looked)
    _matters("open", found.open)
    _matters("failed lately", found.failed)
    for name, now in found.people.items():
        show.echo(f"switched by a person: {name} is {now}")


def _plain(value: Any) -> Any:
    """Named tuples as JSON objects."""
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _matters(title: str, matters: tuple[Any, ...]) -> None:
    show.echo(f"{title}: {len(matters) or 'nothing'}")
    for one in matters:
        show.echo(f"  {one.kind} {one.name}  {one.state} since {one.since}  {one.id}")
        for text in (one.detail, one.url, f"to do: {one.do}"):
            if text:
                show.echo(f"    {' '.join(text.split())[:300]}")


@click.command()
@AS_JSON
@DEBUG
def down(as_json: bool) -> None:
    """End the servers and workers of this root: those of `up`, and the server in the background. Trainers go on."""
    from tasks.core import processes, settings
    from tasks.orchestrator import server

    known = settings.service().get("up")
    ended = [("up", process.pid)] if (process := processes.alive(known)) else []
    if known and process is not None:
        process.terminate()
        processes.ended(known)  # it asks its workers first and kills what does not end, which takes a minute at most
    using = [user for user in server.users() if server.running()]
    if background := server.end():
        ended.append(("server", background.pid))
    if as_json:
        click.echo(json.dumps({"ended": [{"name": name, "pid": pid} for name, pid in ended], "users": using}))
        return
    for name, pid in ended:
        show.echo(f"ended  {name}, pid {pid}")
    if using:
        show.echo(f"commands that used it (pids {', '.join(map(str, using))}) stop now: run them again to go on")
    if not ended:
        show.echo(f"nothing of {settings.root()} ran")


COMMANDS = (up, status, down)
