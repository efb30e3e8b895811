"""Serve: the command that answers questions over HTTP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import click

from flows.cli import show
from flows.cli.options import asking
from tasks.core.errors import ServiceError

if TYPE_CHECKING:
    from tasks.recipe.model import Recipe


@click.command()
@asking(None)
@click.option(
    "--model", default="champion", show_default=True, help="champion, NAME@champion, NAME/VERSION, run:ID or KEY."
)
@click.option("--port", default=8000, show_default=True, help="Of this machine; nobody else reaches it.")
@click.option("--rate", default=300.0, show_default=True, help="Requests a second, above which it says: later.")
def serve(recipe: Recipe | None, model: str, port: int, rate: float) -> None:
    """Answer questions over HTTP until Ctrl-C: a page for people, OpenAI's API for programs.

    The champion is replaced under way when another is promoted, and the index when the catalogue grows. `shardtune
    status --login` shows the password, which is the API key too.
    """
    from deployments.service import door
    from tasks.core import access

    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServiceError(f"port {port} is taken: name another with --port") from error
        port = int(tried.getsockname()[1])
    password = access.made().password
    app = door.models(model, recipe, rate)
    show.echo(f"http://127.0.0.1:{port}  (base_url of OpenAI's client: http://127.0.0.1:{port}/v1)")
    show.echo("`shardtune status --login` shows the password; Ctrl-C stops it")
    door.listen(app, port, f"{access.USER}:{password}", bearer=True)


COMMANDS = (serve,)
