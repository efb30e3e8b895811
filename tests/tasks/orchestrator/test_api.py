"""Prefect's REST API by plain HTTP: a server whose database is busy is asked again, one that refuses is not."""

from __future__ import annotations

import http.server
import threading

import pytest

from tasks.core.errors import ShardtuneError
from tasks.orchestrator import api


@pytest.fixture
def answers(monkeypatch):
    """Status codes that the server gives, one for each request; 200 after the last."""
    codes: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes.pop(0) if codes else 200)
            self.end_headers()
            self.wfile.write(b'{"well": true}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(api, "PAUSES", (0.0, 0.0))
    yield codes
    server.shutdown()
    server.server_close()


def test_a_busy_server_is_asked_again(answers):
    answers += [503, 503]
    assert api.call("GET", "/health") == {"well": True}
    assert answers == []


@pytest.mark.parametrize(("codes", "left"), [([503, 503, 503, 503], 1), ([409, 200], 1), ([500, 200], 1)])
def test_a_server_that_refuses_or_stays_busy_is_an_error(answers, codes, left):
    answers += codes
    with pytest.raises(ShardtuneError, match=str(codes[0])):
        api.call("GET", "/health")
    assert len(answers) == left
