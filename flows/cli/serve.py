"""Serve: the commands that answer questions over HTTP, and show what people thought of the answers."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, asking, enter
from tasks.core import plain
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


# What would mend an answer that somebody found wrong, by its cause.
MENDS = {
    "row_missing": "add the product to the catalogue, then `shardtune arrived`",
    "wrong_product": "tell the products apart by their titles in the catalogue",
    "false_claim": "correct the row if it is wrong; if the model is, compare it with `shardtune compare`",
    "poor_wording": "another style (export.style), or more training",
    "other": "read the row and the answer side by side",
}


@click.command()
@click.option("--forget", metavar="TRACE", help="Remove this question with its answer and what was said of it.")
@AS_JSON
@DEBUG
def review(forget: str | None, as_json: bool) -> None:
    """List the answers that people found wrong, the newest first, with their cause and what would mend it."""
    enter(flows=False)
    from tasks.record import feedback

    if forget:
        feedback.forget(forget)
        show.echo(json.dumps({"forgotten": forget}) if as_json else f"forgotten: {forget}")
        return
    found = feedback.disliked()
    if as_json:
        told = [one.model_dump(mode="json") | {"mend": MENDS[one.cause]} for one in found]
        click.echo(plain.escaped(json.dumps(told, ensure_ascii=False)))
        return
    for one in found:
        about = f" about {one.uid}" if one.uid else ""
        show.echo(f"{one.trace}  {one.cause.replace('_', ' ')}: {plain.terminal(one.question)}")
        show.echo(f"    {one.model} said{about} ({one.state}): {plain.terminal(one.answer)[:300]}")
        if one.correct:
            show.echo(f"    right would be: {plain.terminal(one.correct)[:300]}")
        show.echo(f"    to do: {MENDS[one.cause]}")
    if not found:
        show.echo("nobody found an answer wrong")


COMMANDS = (serve, review)
