"""Duplicates: the first in catalogue order stays, whatever order the shards finish in."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.catalogue import clean, duplicates
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Cleaned, Rules
from tasks.core.models import Shard
from tasks.recipe.model import Cleaning
from tests.kit.catalogues import cleaned, line, lines, run, source
from tests.kit.catalogues import rows as shard_rows


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


ROWS = st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=5), max_size=4)


def survivors(rows: list[tuple[str, int]], policy: str) -> list[int]:
    """Places of the rows that stay: exact repeats go first, but for the newest row of a uid, which is found before."""

    def first(places: list[int], part: int) -> list[int]:
        return [p for n, p in enumerate(places) if rows[p][part] not in [rows[q][part] for q in places[:n]]]

    places = list(range(len(rows)))
    if policy == "first":
        return first(first(places, 1), 0)
    return first(sorted(first(places[::-1], 0)), 1)


@given(ROWS, st.sampled_from(["first", "newest"]))
@settings(max_examples=40)
def test_one_row_of_each_uid_stays(shards, policy):
    rules = Rules(clean=ALONE.model_copy(update={"same_uid": policy}))
    data = [line(uid, "Kettle", f"Kettle number {number} of a long row.") for rows in shards for uid, number in rows]
    flat = [row for rows in shards for row in rows]
    with tempfile.TemporaryDirectory() as name:
        some = cleaned(Path(name), data, rules, 3) if data else []
        found = duplicates.find(some, rules.clean, name)
        gone = {3 * n + p for n, one in enumerate(found) for p in duplicates.positions(one).tolist()}
    assert [n for n in range(len(flat)) if n not in gone] == survivors(flat, policy)
    assert all(one.rows == sum(one.dropped.values()) for one in found)


@pytest.mark.parametrize(
    ("policy", "exact", "kept", "dropped"),
    [
        ("first", "drop", [("A1", "Mug"), ("A2", "Jug")], {"duplicates": 1, "same_uid": 1}),
        ("newest", "drop", [("A2", "Jug"), ("A1", "Cup")], {"same_uid": 2}),
        ("keep", "drop", [("A1", "Mug"), ("A2", "Jug"), ("A1", "Cup")], {"duplicates": 1}),
        ("first", "keep", [("A1", "Mug"), ("A2", "Jug"), ("A1", "Mug")], {"same_uid": 1}),
    ],
)
def test_a_uid_that_comes_again_with_another_content_is_decided_by_a_rule_and_counted(
    tmp_path, policy, exact, kept, dropped
):
    rows = [("A1", "Mug"), ("A2", "Jug"), ("A1", "Mug"), ("A1", "Cup")]
    data = [line(uid, title, f"A {title} of clay that holds tea.") for uid, title in rows]
    done = run(source(tmp_path, data, 2), tmp_path, clean={"same_uid": policy, "duplicates": exact})
    assert [(row["uid"], row["title"]) for s in done.prepared.shards for row in shard_rows(s)] == kept
    assert done.prepared.dropped == dropped
