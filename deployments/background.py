"""Background: the Prefect server that commands without `shardtune up` share. `tasks.server` starts it.

It has neither page nor schedules, as the server that Prefect starts for a single command. It ends when no command has
used it for `--idle` seconds, and when the record under the root no longer names it (`shardtune down`, a root that was
removed).
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

LOOK = 2.0  # seconds between two looks at the record


class Used:
    """ASGI application before another one; knows when it was last asked something, and how many still wait."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app, self.last, self.open = app, time.monotonic(), 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        counted = scope["type"] in ("http", "websocket")
        self.open += counted
        try:
            await self.app(scope, receive, send)
        finally:
            self.open -= counted
            self.last = time.monotonic()


def look_after(server: Any, used: Used, idle: float) -> None:
    """Tell `server` to end when nobody needs it any more."""
    from tasks import server as state

    mine = os.getpid()
    while not server.should_exit:
        time.sleep(min(LOOK, idle / 4))
        known = state.record()
        if known is None or known.pid != mine:
            break
        if used.open or any(state.users()):
            used.last = time.monotonic()
        elif time.monotonic() - used.last > idle and state.retire(mine):
            break
    server.should_exit = True


def main() -> None:
    """Serve on the socket that the starter opened."""
    options = argparse.ArgumentParser(prog="python -m deployments.background", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--fd", type=int, required=True)
    options.add_argument("--idle", type=float, required=True)
    chosen = options.parse_args()
    os.umask(0o077)
    # No page and no schedules, as in the server that Prefect starts for one command.
    os.environ.update({"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "false"})
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "WARNING")
    import uvicorn

    from deployments import door
    from tasks import access

    used = Used(door.Door(door.prefect(), access.origins(chosen.port)))
    config = uvicorn.Config(used, log_level="warning", server_header=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    threading.Thread(target=look_after, args=(server, used, chosen.idle), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=chosen.fd)])


if __name__ == "__main__":
    main()
