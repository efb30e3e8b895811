"""Front: an HTTP proxy before the object store. It passes on everything unchanged, or answers 503 while off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OURS = ("connection", "transfer-encoding", "expect", "keep-alive")  # of one connection, not of the request
BUSY = b"<Error><Code>ServiceUnavailable</Code><Message>switched off by hand</Message></Error>"


class Front(ThreadingHTTPServer):
    """Listens on `port` for the store at `behind`; `refused` counts what was answered with 503."""

    daemon_threads = True

    def __init__(self, port: int, behind: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.behind, self.off, self.refused = behind, False, 0


class Handler(BaseHTTPRequestHandler):
    """One connection; the Host header stays, since it is signed."""

    protocol_version = "HTTP/1.1"
    server: Front

    def passed(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.off:
            self.server.refused += 1
            self.answer(503, [("Content-Type", "application/xml"), ("Content-Length", str(len(BUSY)))], BUSY)
            return
        try:
            self.answer(*self.asked(body))
        except OSError:  # the store is gone, or who asked
            self.close_connection = True

    def asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The store's own answer."""
        store = HTTPConnection("127.0.0.1", self.server.behind, timeout=120)
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OURS:
                store.putheader(name, value)
        store.endheaders(body)
        reply = store.getresponse()
        data = reply.read()
        kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in OURS]
        if not any(name.lower() == "content-length" for name, _ in kept):
            kept.append(("Content-Length", str(len(data))))
        store.close()
        return reply.status, kept, data

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = passed


@contextmanager
def serving(port: int, behind: int) -> Iterator[Front]:
    """The proxy in a thread of this process."""
    with Front(port, behind) as front:
        threading.Thread(target=front.serve_forever, name="front", daemon=True).start()
        try:
            yield front
        finally:
            front.shutdown()
