"""Faults: what goes wrong on the way to an answer or back, by route, and routes that can go wrong."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, make_response, request

from deployments.simulators.state import State

HEADER = "x-shardtune-simulator"
View = Callable[..., Any]


class Refused(Exception):
    """An answer above 399, in the words of the service."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


def routed(state: State, service: str, name: str, refuse: Callable[..., Refused]) -> Callable[[View], View]:
    """A view that is recorded, that may fail before or after its effect, and that says who answers."""

    def decorate(view: View) -> View:
        @wraps(view)
        def answered(**arguments: Any) -> Response:
            known: dict[str, Any] = {"method": request.method, "route": f"{service}.{name}", "fault": None}
            with state.lock:
                state.requests.append(known)
                before = state.fault(known["route"], "before")
            try:
                if before:
                    known["fault"] = before["fault"]
                    _fail(before, refuse)
                if before and before["fault"] in ("html", "empty"):
                    return _page(known, before["fault"], before.get("status", 200))
                with state.lock:
                    response = make_response(view(**arguments))
                    after = state.fault(known["route"], "after")
                if after:
                    known["fault"] = after["fault"]
                    response = halved(response) if after["fault"] == "cut" else response
                    _fail(after, refuse)
                    if after["fault"] == "html":
                        return _page(known, "html", after.get("status", 200))
            except Refused as refused:
                response = make_response(refused.body, refused.status, refused.headers)
            known["status"] = response.status_code
            response.headers[HEADER] = service
            return response

        return answered

    return decorate


def _page(known: dict[str, Any], kind: str, status: int) -> Response:
    """What a proxy on the way says in place of the service."""
    known["status"] = status
    if kind == "empty":
        return Response("{}", content_type="application/json")
    page = "<html><title>Sign in</title><body>Please sign in: this method is not supported.</body></html>"
    return Response(page, status, content_type="text/html")


def _fail(fault: dict[str, Any], refuse: Callable[..., Refused]) -> None:
    """Act out the fault; where the answer only comes late, come back."""
    kind = fault["fault"]
    if kind in ("lost", "reset"):
        raw: socket.socket = request.environ["werkzeug.socket"]
        if kind == "reset":
            # Closing without lingering sends a reset. The number of the socket is still held, so it goes on to exist.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, raw.fileno())
            os.close(nowhere)
        else:
            raw.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("switched on by hand")
    if kind == "slow":
        time.sleep(fault["seconds"])
    if kind == "status":
        headers = {"retry-after": str(fault["retry_after"])} if "retry_after" in fault else {}
        raise refuse(fault["status"], fault.get("code", "error"), fault.get("message", "switched on by hand"), headers)


def halved(response: Response) -> Response:
    """The first half of an answer that was announced as whole."""
    data = response.get_data()
    response.set_data(data[: len(data) // 2])
    response.headers["Content-Length"] = str(len(data))
    response.headers["Connection"] = "close"
    return response
