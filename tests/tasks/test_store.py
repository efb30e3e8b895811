"""The store: a file is written whole or not at all, here and in object storage."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import store
from tests.tasks.catalogue.bucket import serving


@pytest.fixture(params=["local", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder in each kind of storage."""
    if request.param == "s3":
        with serving(monkeypatch) as uri:
            yield f"{uri}/root"
    else:
        yield {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path.name}"}[
            request.param
        ]


def test_what_was_written_is_read(place):
    uri = store.join(place, "a", "b.json")
    assert not store.exists(uri)
    store.write_json(uri, {"name": "caf\u00e9", "n": [1, None]})
    assert store.exists(uri)
    assert store.read_json(uri) == {"name": "caf\u00e9", "n": [1, None]}
    store.write_json(uri, "again")
    assert store.read_json(uri) == "again"
    store.remove(uri)
    store.remove(uri)
    assert not store.exists(uri)
    with pytest.raises(FileNotFoundError):
        store.read_json(uri)


@pytest.mark.parametrize("place", ["local", "file", "s3"], indirect=True)
def test_a_write_that_fails_leaves_what_was_there(place):
    new, old = store.join(place, "new"), store.join(place, "old")
    store.write_json(old, "before")
    for uri in (new, old):
        with pytest.raises(LookupError), store.writing(uri) as out:
            out.write(b"half")
            raise LookupError
        del out
        gc.collect()  # a stream that is only forgotten must not be uploaded either
    assert not store.exists(new)
    assert store.read_json(old) == "before"


@pytest.mark.parametrize("place", ["local", "file", "s3"], indirect=True)
def test_nothing_is_seen_before_it_is_whole(place):
    uri = store.join(place, "file")
    with store.writing(uri) as out:
        out.write(b"half")
        assert not store.exists(uri)
    assert store.exists(uri)


def test_no_temporary_file_is_left(tmp_path):
    store.write_json(str(tmp_path / "one"), 1)
    with pytest.raises(LookupError), store.writing(str(tmp_path / "two")):
        raise LookupError
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_digests_tell_values_apart_and_nothing_else():
    assert store.digest_of({"b": 1, "a": ["caf\u00e9"]}) == store.digest_of({"a": ["caf\u00e9"], "b": 1})
    assert store.digest_of([1, "2"]) == hashlib.sha256(b'[1,"2"]').hexdigest()[:32]
    assert len({store.digest_of(v) for v in (1, "1", [1], {"1": 1}, None, True)}) == 6


def test_a_file_is_known_by_its_bytes(place):
    uri = store.join(place, "big")
    data = b"0123456789abcde" * 200_000  # more than is read at a time
    with store.writing(uri) as out:
        out.write(data)
    assert store.file_digest(uri) == hashlib.sha256(data).hexdigest()[:32]


@pytest.mark.parametrize(
    ("uri", "path"),
    [("a/b", "a/b"), ("/a/b", "/a/b"), ("file:///a/b", "/a/b"), ("s3://a/b", None), ("memory://a", None)],
)
def test_which_uris_are_local(uri, path):
    assert store.local(uri) == (Path(path) if path else None)
