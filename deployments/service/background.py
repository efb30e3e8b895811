"""Background: the Prefect server that commands without `shardtune up` share. `tasks.orchestrator.server` starts it.

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
import traceback
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
    """Tell `server` to end when nobody needs it any more, or when nobody can tell for as long."""
    reported = False
    try:
        while not server.should_exit:
            time.sleep(min(LOOK, idle / 4))
            try:
                if _over(used, idle):
                    break
            except Exception:  # a full disk, a folder that may not be read: perhaps only for now
                if not reported:
                    traceback.print_exc()
                reported = True
                if time.monotonic() - used.last > idle:
                    break
    finally:
        server.should_exit = True


def _over(used: Used, idle: float) -> bool:
    """Whether the server is to end: its record is gone, or no command has used it for `idle` seconds."""
    from tasks.orchestrator import server as state

    known = state.record()
    if known is None:
        state.written()
        known = state.record()
    if known is None or known.pid != os.getpid():
        return True
    if used.open or any(state.users()):
        used.last = time.monotonic()
        return False
    return time.monotonic() - used.last > idle and state.retire(os.getpid()) is not None


def main() -> None:
    """Serve on the socket that the starter opened."""
    options = argparse.ArgumentParser(prog="python -m deployments.service.background", description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--fd", type=int, required=True)
    options.add_argument("--idle", type=float, required=True)
    chosen = options.parse_args()
    os.umask(0o077)
    # No page and no schedules, as in the server that Prefect starts for one command.
    os.environ.update({"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "false"})
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "WARNING")
    import uvicorn

    from deployments.service import door
    from tasks.core import access, imports

    imports.seldom()
    with imports.without(imports.GRAMMAR):
        app = door.prefect()
    used = Used(door.Door(app, access.origins(chosen.port)))
    config = uvicorn.Config(used, log_level="warning", server_header=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    threading.Thread(target=look_after, args=(server, used, chosen.idle), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=chosen.fd)])


if __name__ == "__main__":
    main()
