"""A login is for the server that was named, never for the one that a redirect leads to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tasks.backends.openai.backend import OpenAI
from tasks.core.errors import ShardtuneError
from tasks.orchestrator import api
from tasks.record import reader
from tests.kit import paid


@contextmanager
def server(leads: str | None) -> Iterator[tuple[str, list[str | None]]]:
    """An address and the logins that came there; every request is led to `leads`, or answered by `{}`."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_response(302 if leads else 200)
            if leads:
                self.send_header("Location", leads + self.path)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}", seen
    finally:
        made.shutdown()
        made.server_close()


@pytest.mark.parametrize("who", ["openai", "prefect", "mlflow"])
def test_a_redirect_to_another_host_takes_no_login_with_it(who, monkeypatch):
    with server(None) as (theirs, told), server(theirs) as (ours, asked):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:hush")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-hush")
        monkeypatch.setenv("PREFECT_API_URL", ours)
        with suppress(ShardtuneError):
            if who == "openai":
                OpenAI(paid.TUNES["openai"].model_copy(update={"base_url": f"{ours}/v1"})).find("0" * 32)
            elif who == "prefect":
                api.call("GET", "/health")
            else:
                reader._ask(f"{ours}/api")
        assert any(asked) and told and not any(told)
