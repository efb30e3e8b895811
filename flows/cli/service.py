"""Commands that start and stop all services on one machine, and show their status."""

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
@click.option("--port", default=0, help="Port of the Prefect server; default: 4200, or the last one.")
@click.option("--mlflow-port", default=0, help="Port of the MLflow server; default: 5000, or the last one.")
@click.option(
    "--serve-port", default=0, help="Port of the page that answers questions; default: 8000, or the last one."
)
@click.option("--gpu/--no-gpu", default=None, help="Serve the pool `gpu`; default: if there is an NVIDIA driver.")
@DEBUG
def up(port: int, mlflow_port: int, serve_port: int, gpu: bool | None) -> None:
    """Start Prefect, MLflow, workers and the models, register the deployments, restart what dies, until Ctrl-C.

    Running trainers survive its end. Started again, it resumes.
    """
    from tasks.core import processes, settings

    running = {name: settings.served().get(name) for name in OURS}
    if processes.alive(settings.service().get("up")):
        show.echo(f"already up: Prefect {_page(running[OURS[0]])}, MLflow {_page(running[OURS[1]])}")
        return
    for name in OURS:
        if os.environ.get(name):
            raise ServiceError(f"{name} is {os.environ[name]!r}, but `up` starts its own servers: unset {name}")
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
    """Running services, open jobs and runs, failures of the last seven days, and what to do about each."""
    if login:
        from tasks.core import access

        click.echo(access.login())
        return
    from tasks.core import settings

    settings.find()
    from tasks.orchestrator.status import status as look

    present = look()
    if as_json:
        click.echo(plain.escaped(json.dumps(_plain(present), ensure_ascii=False)))
        return
    for part in present.service:
        show.echo(f"{part.name:14} {'running' if part.alive else 'stopped':8} pid {part.pid:<8} {part.url}")
    if present.looked:
        show.echo(present.looked)
    _matters("open", present.open)
    _matters("failed lately", present.failed)
    for name, now in present.people.items():
        show.echo(f"changed by a person: {name} is {now}")


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
    """Stop the servers and workers of this root, those of `up` and the background server. Trainers continue."""
    from tasks.core import processes, settings
    from tasks.orchestrator import server

    known = settings.service().get("up")
    ended = [("up", process.pid)] if (process := processes.alive(known)) else []
    if known and process is not None:
        process.terminate()
        processes.ended(known)  # `up` stops its workers gracefully first, which takes a minute at most
    using = [user for user in server.users() if server.running()]
    if background := server.end():
        ended.append(("server", background.pid))
    if as_json:
        click.echo(json.dumps({"ended": [{"name": name, "pid": pid} for name, pid in ended], "users": using}))
        return
    for name, pid in ended:
        show.echo(f"stopped  {name}, pid {pid}")
    if using:
        show.echo(f"commands that used it (pids {', '.join(map(str, using))}) stop now: run them again to resume")
    if not ended:
        show.echo(f"no service of {settings.root()} was running")


COMMANDS = (up, status, down)
