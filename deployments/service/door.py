"""Door: the servers of this machine, each behind a check of who asks.

Run it by `python -m deployments.service.door prefect --port 4200`.

A browser sends requests to 127.0.0.1 for any page that asks it to. So a request must name this server's own address
(Host), and may not come from a page of another one (Origin, Sec-Fetch-Site), whatever its method; a person may follow
a link. Prefect checks neither, and MLflow trusts every page of this machine. Prefect asks for its password itself;
for MLflow and for the models it is asked here, for every path, which takes no table of users and no hash for each
request. Programs send the models' password as a bearer token.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from tasks.core import access
from tasks.serving import refusals

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

HEALTH = "/health"


class Door:
    """ASGI application before another one; refuses with 403, or 401 where a password is missing."""

    def __init__(self, app: App, origins: Iterable[str], login: str | None = None, bearer: bool = False) -> None:
        self.app, self.origins, self.bearer = app, frozenset(_named(origin) for origin in origins), bearer
        self.hosts = frozenset(origin.partition("://")[2] for origin in self.origins)
        self.wanted = [b"Basic " + base64.b64encode(login.encode())] if login else []
        if login and bearer:
            self.wanted.append(b"Bearer " + login.partition(":")[2].encode())

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = dict(scope["headers"])
            if refusal := self.refusal(scope, headers):
                await _refuse(scope["type"], send, 403, refusal, self.bearer)
                return
            if scope["path"] != HEALTH and not self.logged_in(headers):
                hint = "log in as admin: `shardtune status --login` shows the password, or .env has it"
                await _refuse(scope["type"], send, 401, hint, self.bearer)
                return
        await self.app(scope, receive, send)

    def refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        """Why this request is not let in; None where it is."""
        host, origin = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin"))
        if host not in self.hosts:
            return f"Host {host!r} is not this server: open {min(self.origins)}"
        if origin:
            return None if origin in self.origins else f"Origin {origin!r} may not ask this server"
        if headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
            return None
        followed = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
        return None if followed and scope.get("method") == "GET" else "a page of another site may not ask this server"

    def logged_in(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the password is right, where one is asked for."""
        given = headers.get(b"authorization", b"")
        return not self.wanted or any(hmac.compare_digest(given, wanted) for wanted in self.wanted)


def _named(origin: str) -> str:
    """The origin as a browser names it: in lower case, without a path, and without the port that its scheme implies."""
    scheme, _, host = origin.lower().partition("://")
    host = host.partition("/")[0]
    return f"{scheme}://{host.removesuffix({'http': ':80', 'https': ':443'}.get(scheme, '/'))}"


async def _refuse(kind: str, send: Any, status: int, reason: str, as_json: bool) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before accept: the browser sees 403
        return
    body, headers = reason.encode(), [(b"content-type", b"text/plain; charset=utf-8")]
    if as_json:
        code = "invalid_api_key" if status == 401 else "not_from_here"
        body, headers = (
            json.dumps(refusals.body(status, reason, code)).encode(),
            [(b"content-type", b"application/json")],
        )
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="shardtune"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def prefect() -> App:
    """The Prefect server, with its page."""
    from deployments.service import blank
    from tasks.core import settings

    blank.put(settings.prefect_home())
    import prefect.plugins
    from prefect.server.api.server import create_app

    # At its start the server would import every installed integration (Dask, Docker, Kubernetes): as long as all the
    # rest takes, and of no use to it. What it must know of their blocks comes from a file of its own.
    prefect.plugins.load_prefect_collections = dict  # type: ignore[assignment]
    return create_app(final=True)


def mlflow() -> App:
    """The MLflow server on the store of this root."""
    from tasks.core import settings
    from tasks.record import fresh

    root = settings.local_root()
    with fresh.lock():
        fresh.database()
    stores = f"sqlite:///{root / 'mlflow.db'}", (root / "mlartifacts").as_uri()
    os.environ |= {"_MLFLOW_SERVER_FILE_STORE": stores[0], "_MLFLOW_SERVER_ARTIFACT_ROOT": stores[1]}
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(stores[0], default_artifact_root=stores[1])
    return app


def models(model: str = "champion", recipe: Any = None, rate: float | None = None) -> App:
    """The models of this root, and their page; see `flows.serve`."""
    from tasks.core import settings

    settings.enter()
    from flows.serve import application
    from tasks.serving.limits import Limits

    app, watch = application(model, recipe, Limits(rate=rate) if rate else Limits())
    over = threading.Event()
    threading.Thread(target=watch, args=(over.wait,), daemon=True, name="watch").start()
    return app


def listen(
    app: App, port: int, login: str | None, bearer: bool, host: str = "127.0.0.1", more: Iterable[str] = ()
) -> None:
    """Serve an application behind a door until a signal ends it."""
    import uvicorn

    uvicorn.run(
        Door(app, (*access.origins(port), *more), login, bearer),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    """Serve until a signal ends it."""
    options = argparse.ArgumentParser(prog="python -m deployments.service.door", description=__doc__)
    options.add_argument("server", choices=("prefect", "mlflow", "serve"))
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--host", default="127.0.0.1", help="what to listen on")
    options.add_argument("--origin", action="append", default=[], help="another address by which it is reached")
    chosen = options.parse_args()
    os.umask(0o077)
    password = os.environ.pop(access.PASSWORD, "")
    if chosen.server != "prefect" and not password:
        options.error(f"{access.PASSWORD} is not set: `shardtune up` starts this server")
    app = {"prefect": prefect, "mlflow": mlflow, "serve": models}[chosen.server]()
    login = f"{access.USER}:{password}" if chosen.server != "prefect" else None
    listen(app, chosen.port, login, chosen.server == "serve", chosen.host, chosen.origin)


if __name__ == "__main__":
    main()
