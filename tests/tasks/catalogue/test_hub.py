"""A data set of the hub, played on loopback with the hub's own routes: its files at one commit, by card and split."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from tasks.catalogue import sources
from tasks.core.errors import CatalogueError, RecipeError
from tasks.recipe import allowed
from tests.kit.catalogues import line, lines

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES: dict[str, bytes] = {}
ASKED: list[str] = []


class Hub(BaseHTTPRequestHandler):
    """Repository `shop/set` with FILES, whatever the revision asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        ASKED.append(path)
        api, files = "/api/datasets/shop/set", f"/datasets/shop/set/resolve/{COMMIT}/"
        if path.startswith(files) and path.removeprefix(files) in FILES:
            self.say(FILES[path.removeprefix(files)], 200)
        elif path.startswith(f"{api}/tree/"):
            under = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
            found = [n for n in FILES if n.startswith(under)]
            folders = sorted({n.rpartition("/")[0] for n in found} - {""})
            entries = [{"type": "file", "path": n, "size": len(FILES[n]), "oid": n} for n in found]
            self.say(entries + [{"type": "directory", "path": n, "oid": n} for n in folders], 200)
        elif path == api or path.startswith(f"{api}/revision/"):
            self.say({"id": "shop/set", "sha": COMMIT, "siblings": [], "tags": [], "private": False}, 200)
        else:
            self.say({"error": "Repository not found"}, 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:  # paths-info: what these names are
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ASKED.append(self.path)
        wanted = json.loads(body)["paths"] if body.startswith("{") else [unquote(p[6:]) for p in body.split("&")]
        found = [n for n in FILES if n in wanted]
        self.say([{"type": "file", "path": n, "size": len(FILES[n]), "oid": n} for n in found], 200)

    def say(self, value: object, code: int) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(start) : int(end) + 1 if end else None] if isinstance(value, bytes) else data
        self.send_response(206 if "Range" in self.headers else code)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"x"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}")
        if code == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants as constants
    from huggingface_hub import HfFileSystem

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    HfFileSystem.clear_instance_cache()
    FILES.clear()
    ASKED.clear()
    yield
    HfFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def uids(uri: str, **how: str) -> list[str]:
    return [json.loads(each)["uid"] for each in b"".join(sources.find(uri, **how).blocks()).splitlines()]


def test_a_data_set_of_the_hub_is_read_at_one_commit(hub):
    FILES.update({
        "README.md": b"---\nlicense: mit\n---\n", "data/train-1.jsonl": b"".join(lines(3)),
        "data/train-2.csv": b"uid,title,content\n", "data/test-1.jsonl": line("X"), "dataset_infos.json": b"{}",
    })  # fmt: skip
    for uri in ("shop/set", "hf://datasets/shop/set", f"shop/set@{COMMIT}"):
        assert uids(uri) == ["U0", "U1", "U2"]
    assert uids("shop/set", split="test") == ["X"]
    found = sources.find("shop/set")
    assert (found.uri, found.identity) == ("shop/set", ["shop/set", COMMIT])
    assert all(COMMIT in name for name in found.files)
    FILES["README.md"] = b"---\nconfigs: [{config_name: a, data_files: data/test-*.jsonl}]\n---\n"
    assert uids("shop/set") == ["X"]


def test_the_list_may_name_one_data_set_and_no_other(hub, monkeypatch):
    FILES["a.jsonl"] = line("A")
    monkeypatch.setenv(allowed.VARIABLE, "hf://datasets/shop/set")
    assert uids("shop/set") == ["A"]
    ASKED.clear()
    for uri in ("shop/other", "hf://datasets/shop/set2", "hf://datasets/shop/set/../other"):
        with pytest.raises(RecipeError):
            sources.find(uri)
    FILES["README.md"] = b"---\nconfigs: [{config_name: a, data_files: 'hf://datasets/shop/other/x.csv'}]\n---\n"
    with pytest.raises(CatalogueError, match="does not lie in the data set"):
        sources.find("shop/set")
    assert not [path for path in ASKED if "other" in path]


def test_a_data_set_that_is_not_there_is_told(hub):
    with pytest.raises(CatalogueError, match=r"(no catalogue at|cannot open) 'shop/nothing'") as refused:
        sources.find("shop/nothing")
    assert "\n" not in str(refused.value)
