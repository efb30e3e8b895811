"""Limits: how large, how long, how many and how often; what exceeds them is refused before any work is done for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from tasks.core.models import Frozen
from tasks.serving import refusals

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Limits(Frozen):
    """What one server takes."""

    body: int = 1_000_000  # bytes of a request
    upload_seconds: float = 20.0  # until the body is there
    waiting: int = 64  # requests that are worked on or wait; the next one is told to come later
    rate: float = 300.0  # requests a second, over a few seconds
    seconds: float = 120.0  # until an answer must be there


class Rate:
    """A bucket of tokens: `rate` flow in each second, twice as many fit, each request takes one."""

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.now = rate, now
        self.held, self.last = 2 * rate, now()

    def taken(self) -> bool:
        """Whether there was one left."""
        now = self.now()
        self.held = min(2 * self.rate, self.held + (now - self.last) * self.rate)
        self.last = now
        if self.held < 1:
            return False
        self.held -= 1
        return True


class Sized:
    """ASGI application before another one: reads the body first, and refuses one that is too large or too slow."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            read = [await asyncio.wait_for(self._body(receive), self.limits.upload_seconds)]
        except TimeoutError:
            await _refused(408, "the request was not sent in time: send it again", "too_slow")(scope, receive, send)
            return
        except _TooLargeError:
            told = f"at most {self.limits.body:,} bytes are read: send less"
            await _refused(413, told, "too_large")(scope, receive, send)
            return

        async def again() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": read.pop()} if read else await receive()

        await self.app(scope, again, send)

    async def _body(self, receive: Receive) -> bytes:
        whole = bytearray()
        while True:
            message = await receive()
            whole += message.get("body", b"")
            if len(whole) > self.limits.body:
                raise _TooLargeError
            if not message.get("more_body"):
                return bytes(whole)


class _TooLargeError(Exception):
    pass


def _refused(status: int, message: str, code: str) -> JSONResponse:
    close = {"Connection": "close", "X-Content-Type-Options": "nosniff"}  # what was not read is not read
    return JSONResponse(refusals.body(status, message, code), status, close)
