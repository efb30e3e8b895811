"""Planning: every byte in one shard, in order; a grown catalogue keeps its shards; an unchanged one is not read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.catalogue import decode, forms, tables
from tasks.catalogue.plan import pieces, plan
from tasks.core.errors import CatalogueError
from tasks.recipe import model
from tests.kit.catalogues import line, lines, source

TEXT = st.lists(st.sampled_from([b"\n", b"a", b"{}", b"\r", b"\0", b"\xff"]) | st.binary(max_size=5), max_size=30)
TEXT = TEXT.map(b"".join).filter(lambda data: forms.recognise(data).as_it_is and not data.startswith(tables.BINARY))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(TEXT.filter(bool), st.integers(1, 7))
def test_shards_cover_every_byte_once_in_order(data, per):
    with tempfile.TemporaryDirectory() as folder:
        made = plan(source(Path(folder), data, per), folder)
    assert b"".join(data[s.start : s.end] for s in made.shards) == data
    assert [s.digest for s in made.shards] == [digest(data[s.start : s.end]) for s in made.shards]
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    assert (made.lines, made.bytes) == (count, len(data))
    assert [s.lines for s in made.shards] == [min(per, count - first) for first in range(0, count, per)]
    assert [s.first_line for s in made.shards] == list(range(1, count + 1, per))
    assert [s.index for s in made.shards] == list(range(len(made.shards)))


@given(TEXT, st.integers(1, 7), st.lists(st.integers(0, 60)))
def test_where_blocks_end_does_not_matter(data, per, cuts):
    edges = [0, *sorted(cuts), len(data)]
    blocks = [data[a:b] for a, b in pairwise(edges)]

    def shards(some: list[bytes]) -> list[tuple[bytes, int]]:
        made, parts, count = [], [], 0
        for piece, ended, last in pieces(some, per):
            parts.append(piece)
            count += ended
            if last:
                made.append((b"".join(parts), count))
                parts, count = [], 0
        assert not parts
        return made

    assert shards(blocks) == shards([data])


@given(TEXT.filter(bool), TEXT, st.integers(1, 5))
def test_a_grown_catalogue_keeps_its_full_shards(old, more, per):
    old = old if old.endswith(b"\n") else old + b"\n"
    assume(forms.recognise(old).as_it_is and forms.recognise(old + more).as_it_is)
    with tempfile.TemporaryDirectory() as folder:
        before = plan(source(Path(folder), old, per), folder)
        after = plan(source(Path(folder), old + more, per), folder, refresh=True)
    full = [s for s in before.shards if s.lines == per]
    assert list(after.shards[: len(full)]) == full


def test_a_compressed_catalogue_has_the_same_shards_as_files_of_their_own(tmp_path):
    data = lines(25)
    plain = plan(source(tmp_path, data), str(tmp_path))
    packed = plan(source(tmp_path, gzip.compress(b"".join(data)), name="catalogue.json.gz"), str(tmp_path))
    assert [s.digest for s in packed.shards] == [s.digest for s in plain.shards]
    assert [s.first_line for s in packed.shards] == [1, 11, 21]
    assert b"".join(Path(s.uri).read_bytes()[s.start : s.end] for s in packed.shards) == b"".join(data)
    assert {s.uri for s in plain.shards} == {str(tmp_path / "catalogue.json")}


def test_shards_lie_where_every_machine_that_shares_the_root_reads_them(tmp_path, bucket):
    data = lines(25)
    with fsspec.open(f"{bucket}/catalogue.json", "wb") as out:
        out.write(b"".join(data))
    local = source(tmp_path, data)
    ranges = plan(local, str(tmp_path))
    there = plan(local.model_copy(update={"uri": f"{bucket}/catalogue.json"}), f"{bucket}/root")
    assert {s.uri for s in there.shards} == {f"{bucket}/catalogue.json"}  # not copied
    assert [s.model_copy(update={"uri": ""}) for s in there.shards] == [
        s.model_copy(update={"uri": ""}) for s in ranges.shards
    ]
    brought = plan(local, f"{bucket}/root")
    assert [s.uri for s in brought.shards] == [f"{bucket}/root/catalogue/spool/{s.digest}.jsonl" for s in ranges.shards]
    for made in (ranges, there, brought):
        assert [s.lines for s in made.shards] == [
            sum(block.lines for block in decode.read(s, 1_000)) for s in made.shards
        ]


def test_an_unchanged_catalogue_is_not_read_again(tmp_path):
    catalogue = source(tmp_path, lines(25))
    path = Path(str(catalogue.uri))
    made, times = plan(catalogue, str(tmp_path)), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes().replace(b"Kettle", b"Bottle"))
    os.utime(path, ns=times)
    assert plan(catalogue, str(tmp_path)) == made  # size and time say that it is the same
    again = plan(catalogue, str(tmp_path), refresh=True)
    assert [s.digest for s in again.shards] != [s.digest for s in made.shards]
    assert plan(catalogue, str(tmp_path)) == again


def test_another_length_of_shard_is_another_plan(tmp_path):
    catalogue = source(tmp_path, lines(25), 10)
    assert len(plan(catalogue, str(tmp_path)).shards) == 3
    assert len(plan(catalogue.model_copy(update={"lines_per_shard": 20}), str(tmp_path)).shards) == 2


def test_a_spooled_shard_that_is_gone_is_made_again(tmp_path):
    catalogue = source(tmp_path, gzip.compress(b"".join(lines(25))))
    made = plan(catalogue, str(tmp_path))
    Path(made.shards[1].uri).unlink()
    assert plan(catalogue, str(tmp_path)) == made
    assert all(digest(Path(s.uri).read_bytes()) == s.digest for s in made.shards)


@pytest.mark.parametrize(
    ("end", "cut"),
    [
        (line(), False),
        (line().rstrip(), False),
        (line()[:30], True),
        (b'{"uid": "B0', True),
        ('{"uid": "B0", "title": "caf\u00e9'.encode()[:-1], True),
        (b"   ", False),
    ],
)
def test_a_last_line_that_breaks_off_is_told(tmp_path, end, cut):
    made = plan(source(tmp_path, [line(), end]), str(tmp_path))
    assert (made.lines, made.cut) == (2, cut)


def test_a_last_line_too_long_to_be_read_is_not_called_cut(tmp_path):
    catalogue = source(tmp_path, [line(), line(content="x" * 2_000)[:-10]])
    assert plan(catalogue, str(tmp_path)).cut
    assert not plan(catalogue.model_copy(update={"max_line_bytes": 1_000}), str(tmp_path)).cut


def test_a_compressed_catalogue_that_breaks_off_is_told(tmp_path):
    whole = gzip.compress(b"".join(lines(2_000)), compresslevel=1)
    made = plan(source(tmp_path, whole[: len(whole) // 2], 100), str(tmp_path))
    assert made.cut
    assert 0 < made.lines < 2_000
    assert plan(source(tmp_path, whole, 100), str(tmp_path)).cut is False


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_catalogue_is_an_error(tmp_path, data):
    with pytest.raises(CatalogueError, match="is empty: give a file with at least one line"):
        plan(source(tmp_path, data), str(tmp_path))


def test_a_recipe_without_a_catalogue_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match="--catalogue"):
        plan(model.Catalogue(), str(tmp_path))


class Growing(AbstractFileSystem):
    """A store whose one file gains a line whenever it is opened, up to `room` lines."""

    protocol = "growing"
    data = b""
    room = 0

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": len(Growing.data), "ETag": digest(Growing.data)}

    def created(self, path: str) -> Any:
        raise NotImplementedError

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if Growing.data.count(b"\n") < Growing.room:
            Growing.data += line()
        return io.BytesIO(Growing.data)


def growing(room: int) -> model.Catalogue:
    fsspec.register_implementation("growing", Growing, clobber=True)
    Growing.data, Growing.room = line(), room
    return model.Catalogue(uri="growing://catalogue.json")


def test_a_catalogue_that_grew_while_it_was_planned_is_planned_again(tmp_path):
    assert plan(growing(2), str(tmp_path)).lines == 2


def test_a_catalogue_that_never_rests_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match="changed each of 3 times it was read: wait"):
        plan(growing(1_000), str(tmp_path))
