"""Export: the command that writes a tuned model as files for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, enter, tell

if TYPE_CHECKING:
    from tasks.portable.exporting import ExportedModel


@click.command()
@click.argument("model")
@click.argument("form", type=click.Choice(["adapter", "merged", "gguf"]))
@click.option(
    "--to", "place", metavar="PLACE", help="A folder, hf://OWNER/NAME, or a URI. Default: NAME-KEY-FORM here."
)
@AS_JSON
@DEBUG
def export(model: str, form: Any, place: str | None, as_json: bool) -> None:
    """Write MODEL (KEY, run:ID, champion, NAME/2) as files that other programs open, with a model card.

    `adapter` is for peft and vLLM, `merged` (16 bits) for everything of Hugging Face, `gguf` for llama.cpp and Ollama.
    The files are read back and asked what the adapter was asked before anything is put in place.
    """
    enter(flows=False)
    from flows.export import export as flow

    tell(flow(model, form, place), _exported, as_json)


def _exported(result: ExportedModel) -> None:
    show.echo(f"{result.place}  {len(result.files)} files, {result.bytes / 1e6:,.1f} MB, base under {result.license}")
    for check in result.checks:
        moved = f"predictions moved by {check.moved:.6f} of {check.bound:g} nats a token"
        show.echo(f"  {check.form}  read back: {check.same} of {check.asked} answers the same, {moved}")


COMMANDS = (export,)
