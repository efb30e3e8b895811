"""Storage: an emulator of Google Cloud Storage beside the simulators, and the little they do with it themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

import httpx
from gcp_storage_emulator.server import create_server

from deployments.simulators.guard import guarded

BUCKET = "rehearsal"


@contextmanager
def running(
    host: str = "127.0.0.1", port: int = 0, names: tuple[str, ...] = ("127.0.0.1", "localhost")
) -> Iterator[str]:
    """The emulator with one bucket, in memory; yields its address on this machine."""
    logging.getLogger("gcp-storage-emulator").setLevel(logging.CRITICAL)
    server = create_server(host, port, in_memory=True, default_bucket=BUCKET)
    server.start()
    door = server._api._httpd
    made = door.RequestHandlerClass  # a partial: the handler with its objects
    door.RequestHandlerClass = partial(guarded(made.func, names), *made.args)  # type: ignore[misc]
    try:
        yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    finally:
        server.stop()


def read(address: str, uri: str) -> bytes | None:
    """The object at gs://…; None where there is none."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    reply = httpx.get(f"{address}/storage/v1/b/{bucket}/o/{quote(name, safe='')}", params={"alt": "media"})
    return reply.content if reply.status_code == 200 else None


def write(address: str, uri: str, data: bytes) -> None:
    """Put an object at gs://…."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    place = {"uploadType": "media", "name": name}
    httpx.post(f"{address}/upload/storage/v1/b/{bucket}/o", params=place, content=data).raise_for_status()


def names(address: str) -> list[str]:
    """Every object of the bucket, as gs://…."""
    items = httpx.get(f"{address}/storage/v1/b/{BUCKET}/o").json().get("items", [])
    return [f"gs://{BUCKET}/{item['name']}" for item in items]
