"""`python -m tests.drills.hostile [MANY]`: hostile requests over a socket to a server of models; 127.0.0.1 only.

Beside those of `tests/kit/hostile.py` the line itself is abused: bodies that never end or say another length, headers
without end, bytes that are no HTTP. No answer may be a 5xx, and an ordinary question is answered after.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import uvicorn

from tests.kit import hostile, serving

HEAD = b"POST /v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
LINES = {
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a wrong chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "headers without end": b"GET /health HTTP/1.1\r\n" + b"x: " + b"a" * 200_000,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an empty line": b"\r\n\r\n\r\n",
    "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nx: a\x00b\r\n\r\n",
    "an absolute target": b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
}


def _line(port: int, data: bytes, wait: float = 2.0) -> str:
    """What comes back for these bytes: a status, or that the line was closed, or stays open."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as line:
        try:
            line.sendall(data)
            got = line.recv(4_096)
        except TimeoutError:
            return "waits"
        except OSError:
            return "closed"
    return got.split(b" ")[1].decode() if got.startswith(b"HTTP/") else "closed"


def _sent(port: int, one: hostile.Hostile) -> tuple[int | str, str]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request(one.method, one.path, one.body, one.headers)
        answer = line.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (http.client.HTTPException, OSError, ValueError) as error:
        return f"not sent ({type(error).__name__})", ""
    finally:
        line.close()


def main(many: int = 500) -> int:
    """Send them all; the number of faults."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        app = serving.application(
            serving.indexed(Path(place)), serving.Speaker(), serving.champion(), upload_seconds=1, rate=1e9
        )
        door = socket.create_server(("127.0.0.1", 0))
        port = door.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        threading.Thread(target=server.run, args=([door],), daemon=True).start()
        while not server.started:
            time.sleep(0.05)
        counts: Counter[str] = Counter()
        for one in hostile.requests(many):
            status, text = _sent(port, one)
            counts[str(status)] += 1
            if (isinstance(status, int) and status >= 500) or any(mark in text for mark in hostile.MARKS):
                faults.append(f"{status} {one.method} {one.path[:60]} {one.body[:120]!r} -> {text[:200]}")
        for name, data in LINES.items():
            print(f"{name}: {(status := _line(port, data))}")
            faults += [f"{name}: {status}"] * status.startswith("5")
        slow = _line(port, HEAD + b'Content-Length: 500\r\n\r\n{"question":', wait=10)
        print(f"a body that never ends: {slow}")
        faults += [f"a body that never ends: {slow}"] * (slow != "408")
        asked = hostile.Hostile(
            "POST", "/v1/ask", hostile.JSON, json.dumps({"question": f"How heavy is the {serving.NAMES[0]}?"}).encode()
        )
        faults += [] if _sent(port, asked)[0] == 200 else ["an ordinary question is not answered any more"]
        faults += [str(path) for path in Path(place).rglob(f"*{hostile.CANARY}*")]
        server.should_exit = True
    print(f"{many} requests: {dict(counts.most_common())}")
    print("\n".join(faults) or "no fault")
    return len(faults)


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
