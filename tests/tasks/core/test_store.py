"""The store: a file is written whole or not at all, here and in object storage."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core import store
from tasks.core.errors import DamagedError
from tasks.core.models import Shard
from tests.kit.bucket import serving


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


def marked(place: str) -> tuple[str, str]:
    """A file, and the record that is kept of it."""
    uri, record = store.join(place, "data"), store.join(place, "record.json")
    with store.writing(uri, derived=True) as out:
        out.write(b"0123456789")
    store.keep(record, Shard(**SHARD), uri)
    return uri, record


SHARD = {"index": 0, "uri": "u", "start": 0, "end": 9, "first_line": 1, "lines": 3, "digest": "d"}


def test_a_record_is_read_back_and_what_is_damaged_is_told_once(place, caplog):
    uri = store.join(place, "record.json")
    assert store.read(uri) is None
    store.write(uri, Shard(**SHARD))
    assert store.read(uri, Shard) == Shard(**SHARD)
    whole = store.reading(uri).read()
    for damaged in (
        b"",
        whole[:40],
        whole.replace(b'"lines": 3', b'"lines": 7'),
        b"[1]",
        b'{"new": 1}',
        b"\xff",
        b"[" * 99_999,
    ):
        with store.writing(uri) as out:
            out.write(damaged)
        assert store.read(uri, Shard) is None
        with pytest.raises(DamagedError, match=r"record\.json.*: restore it"):
            store.read(uri, Shard, lost="restore it")
    told = [record.getMessage() for record in caplog.records if record.name == store.__name__]
    assert len(told) == 1 and uri in told[0]


def test_what_an_older_version_wrote_has_no_seal_and_is_read(tmp_path):
    uri = str(tmp_path / "old.json")
    store.write_json(uri, SHARD)
    assert store.read(uri, Shard) == Shard(**SHARD)
    assert store.kept(uri, Shard) is None  # a record of files says which, or they are made anew


@pytest.mark.parametrize("place", ["local", "s3"], indirect=True)
def test_a_record_of_files_stands_as_long_as_they_do(place):
    uri, record = marked(place)
    assert store.kept(record, Shard) == Shard(**SHARD)
    with store.writing(uri) as out:
        out.write(b"0123456788")
    assert store.kept(record, Shard) is None
    store.remove(uri)
    assert store.kept(record, Shard) is None


def test_the_same_bytes_at_another_time_are_the_same_file(tmp_path):
    uri, record = marked(str(tmp_path))
    os.utime(uri, (1, 1))
    assert store.kept(record, Shard) == Shard(**SHARD)


def test_bytes_that_changed_under_their_old_time_are_found_where_they_are_read(tmp_path):
    uri, record = marked(str(tmp_path))
    digest, then = store.file_digest(uri), os.stat(uri)
    assert store.check(uri, digest) == uri
    Path(uri).write_bytes(b"0123456788")
    os.utime(uri, ns=(then.st_atime_ns, then.st_mtime_ns))
    store._digests.clear()  # another process
    assert store.kept(record, Shard) == Shard(**SHARD)
    with pytest.raises(DamagedError, match="data"):
        store.check(uri, digest)
    assert store.kept(record, Shard) is None  # doubted from now on


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, monkeypatch):
    left, young, theirs = (tmp_path / f".{name}.0123abcd.part" for name in ("left", "young", "theirs"))
    for path in (left, young, theirs, tmp_path / "mine.part", tmp_path / ".hidden"):
        path.write_bytes(b"half")
        os.utime(path, (1, 1))
    os.utime(young)
    with theirs.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # as `writing` does
        store.write_json(str(tmp_path / "one"), 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", theirs.name, young.name, "mine.part", "one"]


def test_a_file_and_its_name_are_on_the_disk_but_for_what_is_derived(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    store.write(str(tmp_path / "record"), SHARD)
    assert [name.endswith(".part") for name in synced] == [True, False] and synced[1] == str(tmp_path)
    with store.writing(str(tmp_path / "derived"), derived=True) as out:
        out.write(b"1")
    assert len(synced) == 2
