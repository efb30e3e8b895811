"""A stand-in for the hub, as far as one commit and reading it back go: repositories of models in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit


class Hub(BaseHTTPRequestHandler):
    """Repositories by name: their files, and whether they are private. Every request must carry the token."""

    held: ClassVar[dict[str, dict[str, bytes]]] = {}
    private: ClassVar[dict[str, bool]] = {}
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _told(self, value: Any, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self._told({"error": "no token"}, 401)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.private[name] = asked.get("visibility") == "private" or asked.get("private", False)
            self.held.setdefault(name, {})
            return self._told({"url": f"http://{self.headers['Host']}/{name}", "id": name})
        if path == "/api/validate-yaml":
            return self._told({"warnings": [], "errors": []})
        name = "/".join(path.split("/")[3:5])
        if name not in self.held:
            return self._told({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        if "/preupload/" in path:
            files = [f["path"] for f in json.loads(body)["files"]]
            return self._told({"files": [{"path": f, "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.held[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._told(
                {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{'a' * 40}", "commitOid": "a" * 40}
            )
        if "/paths-info/" in path:
            wanted = json.loads(body)["paths"]
            return self._told([self._entry(name, file) for file in wanted if file in self.held[name]])
        return self._told({"error": "not here"}, 404)

    def _entry(self, name: str, file: str) -> dict[str, Any]:
        data = self.held[name][file]
        return {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name = "/".join(parts[2:4])
            if name not in self.held:
                return self._told({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
            if "tree" in parts:
                return self._told([self._entry(name, file) for file in self.held[name]])
            return self._told({"id": name, "sha": "a" * 40, "private": self.private[name], "siblings": [], "tags": []})
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        data = self.held.get(name, {}).get(file)
        if data is None:
            return self._told({"error": "Entry not found"}, 404, **{"X-Error-Code": "EntryNotFound"})
        tag = f'"{hashlib.sha1(data).hexdigest()}"'
        start, end = 0, len(data)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last or end - 1) + 1
        known = {"ETag": tag, "X-Repo-Commit": "a" * 40, "Accept-Ranges": "bytes"}
        return self._told(data[start:end], 206 if asked else 200, **known)

    do_HEAD = do_GET


@contextmanager
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """Its address, and what it holds."""
    made = type("OwnHub", (Hub,), {"held": {}, "private": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", made
    finally:
        server.shutdown()
        server.server_close()
