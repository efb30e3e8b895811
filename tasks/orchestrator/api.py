"""Prefect's REST API by plain HTTP, for commands that ask little: Prefect's client takes seconds to import.

Used where an address and a password are all there is to know. A profile, a token, custom headers or TLS need Prefect's
own client: then `plain` is False.
"""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.core import settings
from tasks.core.errors import ShardtuneError

WANT_CLIENT = ("PREFECT_API_KEY", "PREFECT_CLIENT_CUSTOM_HEADERS", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY")
TIMEOUT = 30.0  # seconds
PAUSES = (
    0.2,
    0.5,
    1.0,
    2.0,
    4.0,
)  # seconds after a 503, which a busy database gives; Prefect's own client asks again, too


def address() -> str | None:
    """The server that the environment names."""
    return (os.environ.get("PREFECT_API_URL") or "").rstrip("/") or None


def plain() -> bool:
    """Whether the environment alone says how to talk to the server, and plain HTTP will do."""
    if Path(settings.prefect_home(), "profiles.toml").exists() or any(os.environ.get(name) for name in WANT_CLIENT):
        return False
    named = address() or "http://"
    return named.startswith("http://") and "@" not in named  # a login in an address is not for urllib


def call(method: str, route: str, body: Any = None) -> Any:
    """The answer to one request, decoded; None where it is empty. ShardtuneError where the server gives none."""
    request = urllib.request.Request(f"{address()}{route}", method=method, headers={"Content-Type": "application/json"})
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    data = None if body is None else json.dumps(body).encode()
    pauses = iter(PAUSES)
    try:
        while True:
            try:
                with urllib.request.urlopen(request, data, timeout=TIMEOUT) as reply:
                    answer = reply.read()
                return json.loads(answer) if answer else None
            except urllib.error.HTTPError as error:
                pause = next(pauses, None)
                if error.code != 503 or pause is None:
                    raise
                time.sleep(pause)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors; no JSON is a ValueError
        raise ShardtuneError(f"the Prefect server at {address()!r} did not answer as one ({error})") from error


def ask(method: str, route: str, body: Any = None) -> Any:
    """As `call`, by Prefect's own client where plain HTTP will not do. ShardtuneError where the server refuses."""
    if plain():
        return call(method, route, body)
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            reply = client.request(method, route, json=body)  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        raise ShardtuneError(f"the Prefect server at {address()!r} did not take {method} {route} ({error})") from error
    return reply.json() if reply.content else None


def every(route: str, body: dict[str, Any] | None = None, size: int = 200) -> Iterator[dict[str, Any]]:
    """All that a filter finds, page by page."""
    offset = 0
    while page := ask("POST", route, (body or {}) | {"limit": size, "offset": offset}):
        yield from page
        offset += len(page)
        if len(page) < size:
            return
