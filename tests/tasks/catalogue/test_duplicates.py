"""Duplicates: the first in catalogue order stays, whatever order the shards finish in."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue import clean, duplicates
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Cleaned, Rules
from tasks.models import Shard
from tasks.recipe import Cleaning
from tests.tasks.catalogue.catalogues import cleaned, line, lines, source


def digest(number: int) -> bytes:
    """16 bytes; numbers of one parity share half of them, as two digests may by chance."""
    return random.Random(number % 2).randbytes(8) + random.Random(number).randbytes(8)


def made(folder: Path, shards: list[list[int]]) -> list[Cleaned]:
    """Cleaned shards that hold these numbers as the hashes of their rows."""
    folder.mkdir(exist_ok=True)
    found = []
    for index, numbers in enumerate(shards):
        uri = folder / f"{index}.hash"
        uri.write_bytes(b"".join(digest(n) for n in numbers))
        shard = Shard(index=index, uri="", start=0, end=0, first_line=1, lines=len(numbers), digest=str(index))
        found.append(
            Cleaned(
                shard=shard, rows_uri="", hashes_uri=str(uri), rows=len(numbers), dropped={}, quarantined=0,
                quarantine_uri=None,
            )
        )  # fmt: skip
    return found


def expected(shards: list[list[int]]) -> list[list[int]]:
    """The same by a set and a loop."""
    seen: set[int] = set()
    found = []
    for numbers in shards:
        found.append([n for n, number in enumerate(numbers) if number in seen or number in numbers[:n]])
        seen |= set(numbers)
    return found


ALONE = Cleaning(shared_content=None)
SHARDS = st.lists(st.lists(st.integers(0, 12), max_size=8), max_size=6)


@given(SHARDS, st.sampled_from([1, 3, 1_000_000]), st.sampled_from([2, 500]))
def test_every_row_that_came_before_is_found(shards, room, slices):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ROOM", room)  # so few at a time that there are several slices
        patch.setattr(duplicates, "SLICES", slices)
        found = duplicates.find(made(Path(name), shards), ALONE, name)
        assert [duplicates.positions(one).tolist() for one in found] == expected(shards)
    assert [one.rows for one in found] == [len(each) for each in expected(shards)]


@given(SHARDS, SHARDS)
def test_later_shards_change_nothing_for_earlier_ones(old, new):
    with tempfile.TemporaryDirectory() as name:
        before = duplicates.find(made(Path(name), old), ALONE, name)
        after = duplicates.find(made(Path(name), old + new), ALONE, name)
    assert after[: len(old)] == before


def test_keep_keeps_all(tmp_path):
    found = duplicates.find(
        made(tmp_path, [[1, 1], [1]]), ALONE.model_copy(update={"duplicates": "keep"}), str(tmp_path)
    )
    assert [one.rows for one in found] == [0, 0]
    assert found == duplicates.find(made(tmp_path, [[1, 2], [3]]), ALONE, str(tmp_path))


def test_the_first_wins_whatever_order_the_shards_were_cleaned_in(tmp_path):
    data = [
        line("first"),
        *lines(4),
        line("second"),
        *lines(3, 4),
        line("third", content="&#x41; new one, longer by far."),
    ]
    data += [line("fourth"), line("fifth", content="A new one, longer by&nbsp;far.")]
    forward = cleaned(tmp_path / "forward", data, per=4)
    shards = plan(source(tmp_path, data, 4), str(tmp_path)).shards
    backward = [clean.clean(shard, Rules(), str(tmp_path)) for shard in reversed(shards)][::-1]
    dropped = [
        [(one.shard.index, n) for one, r in zip(some, found, strict=True) for n in duplicates.positions(r).tolist()]
        for some, found in ((each, duplicates.find(each, ALONE, str(tmp_path))) for each in (forward, backward))
    ]
    assert dropped[0] == dropped[1] == [(1, 1), (2, 2), (2, 3)]
