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
    from tasks.record.feedback import Disliked


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
    "false_claim": "correct the row if it is wrong, or approve the right answer (--approve) and tune again",
    "poor_wording": "approve better words (--approve) and tune again, or another style (export.style)",
    "other": "read the row and the answer side by side",
}


@click.command()
@click.option("--approve", metavar="TRACE", help="Let the right answer become an example (export.from_feedback).")
@click.option("--answer", metavar="TEXT", help="With --approve: the right answer, where nobody gave it.")
@click.option("--uid", help="With --approve: the product that it is about, where the answer named none or a wrong one.")
@click.option("--ask", "model", metavar="MODEL", help="Ask MODEL every question with an approved correction again.")
@click.option("--forget", metavar="TRACE", help="Remove this question with its answer and what was said of it.")
@AS_JSON
@DEBUG
def review(
    approve: str | None, answer: str | None, uid: str | None, model: str | None, forget: str | None, as_json: bool
) -> None:
    """List the answers that people found wrong, the newest first, with their cause and what would mend it."""
    if (answer or uid) and not approve:
        raise click.UsageError("--answer and --uid belong to --approve TRACE")
    enter(flows=bool(model))
    from tasks.record import feedback

    if approve:
        passed = feedback.approve(approve, answer, uid)
        line = f"approved: {passed.question} ({passed.uid}): {passed.correct}"
        show.echo(passed.model_dump_json() if as_json else line)
    elif model:
        _asked_again(model, as_json)
    elif forget:
        feedback.forget(forget)
        show.echo(json.dumps({"forgotten": forget}) if as_json else f"forgotten: {forget}")
    else:
        _disliked(feedback.disliked(), as_json)


def _asked_again(model: str, as_json: bool) -> None:
    from flows.review import asked_again

    found = asked_again(model)
    if as_json:
        click.echo(plain.escaped(json.dumps([one.model_dump(mode="json") for one in found], ensure_ascii=False)))
        return
    for one in found:
        show.echo(f"{'right' if one.right else 'not yet'}  {one.question}")
        show.echo(f"    was {one.before}, is {one.now}: {one.text[:300]}")
    show.echo(f"{sum(one.right for one in found)} of {len(found)} corrected questions are answered right by {model}")


def _disliked(found: list[Disliked], as_json: bool) -> None:
    if as_json:
        listed = [one.model_dump(mode="json") | {"mend": MENDS[one.cause]} for one in found]
        click.echo(plain.escaped(json.dumps(listed, ensure_ascii=False)))
        return
    for one in found:
        about = f" about {one.uid}" if one.uid else ""
        show.echo(f"{one.trace}  {one.cause.replace('_', ' ')}: {plain.terminal(one.question)}")
        show.echo(f"    {one.model} said{about} ({one.state}): {plain.terminal(one.answer)[:300]}")
        if one.correct:
            passed = " (approved)" if one.approved else ""
            show.echo(f"    right would be{passed}: {plain.terminal(one.correct)[:300]}")
        show.echo(f"    to do: {MENDS[one.cause]}")
    if not found:
        show.echo("nobody found an answer wrong")


COMMANDS = (serve, review)
