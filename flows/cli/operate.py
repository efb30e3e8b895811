"""Commands that keep a chain up to date with its catalogue."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, enter, running
from tasks.core.errors import ShardtuneError

if TYPE_CHECKING:
    from tasks.core.models import Retrained
    from tasks.recipe.model import Recipe


def shown(result: Retrained) -> None:
    """The numbers of the last trained link, and what was done."""
    if result.results:
        show.finetuned(result.results[-1])
    show.echo(f"{result.detail}\n{result.seconds:.0f} s outside training")


@click.command()
@running(shown)
@click.option("--promote", is_flag=True, help="Register the model; it becomes champion only if the gate says so.")
@click.option("--again", is_flag=True, help="Start a failed or cancelled job again.")
@click.option("--wait/--no-wait", default=True, help="Watch the jobs to their end, or leave them to `shardtune sweep`.")
def retrain(recipe: Recipe, promote: bool, again: bool, wait: bool) -> Retrained:
    """Train on new shards, continuing from the chain's last model. Exits early if there is nothing new."""
    from flows.retrain import retrain as flow

    return flow(recipe.model_copy(update={"promote": promote or recipe.promote}), wait, again)


@click.command()
@click.argument("uri")
@AS_JSON
@DEBUG
def arrived(uri: str, as_json: bool) -> None:
    """Report new products at URI to the Prefect server; it starts the deployments that retrain on that catalogue."""
    from tasks.catalogue import arrival, sources

    source = sources.find(uri)
    enter(flows=False)
    event = _emitted(source.uri)
    values = {"event": event, "resource": arrival.RESOURCE, "uri": source.uri}
    show.echo(json.dumps(values) if as_json else f"{arrival.EVENT} was sent for {source.uri} (event {event})")


def _emitted(uri: str) -> str:
    """Send the event and wait until the server has it; returns its id. ShardtuneError where there is no server."""
    from tasks.catalogue import arrival
    from tasks.orchestrator import api

    id, now = str(uuid.uuid4()), datetime.now(UTC).isoformat()
    about = {"resource": {"prefect.resource.id": arrival.RESOURCE}, "related": arrival.related(uri)}
    event = {"id": id, "event": arrival.EVENT, "payload": {"uri": uri}} | about
    send = _send_plain if api.plain() else _send
    # Over HTTP, and not by `emit_event`: its queue neither says whether the server took the event, nor why it did not.
    send([event | {"occurred": now}], uri)
    return id


def _send_plain(events: list[dict[str, Any]], uri: str) -> None:
    from tasks.orchestrator import api

    if not api.address():
        raise _nobody(uri)
    try:
        api.call("POST", "/events", events)
    except ShardtuneError as error:
        raise _refused(api.address(), error.__cause__) from error


def _send(events: list[dict[str, Any]], uri: str) -> None:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        raise _nobody(uri)
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=events)  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        raise _refused(address, error) from error


def _nobody(uri: str) -> ShardtuneError:
    return ShardtuneError(
        "no Prefect server is configured: set PREFECT_API_URL to the address of one (`shardtune up` prints it), "
        f"or run `shardtune retrain --catalogue {uri}` now"
    )


def _refused(address: str | None, error: BaseException | None) -> ShardtuneError:
    return ShardtuneError(
        f"the Prefect server at {address!r} did not accept the event ({error}): check the address, and "
        "PREFECT_API_AUTH_STRING where it asks for a password"
    )


COMMANDS = (retrain, arrived)
