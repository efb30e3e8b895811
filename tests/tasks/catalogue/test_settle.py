"""Settling: cleaned rows without their duplicates become one Parquet file; what is gone is made again, the same."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from tasks.catalogue import clean, duplicates, settle
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Rules
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import cleaned, line, lines, rows

DATA = [*lines(3), line("twin"), b"bad\n", line("other twin"), line("short", content="Brief."), *lines(3)]
RULES = Rules()


def settled(
    folder: Path, data: list[bytes] = DATA, policy: str = "drop", per: int = 4
) -> list[tuple[CleanShard, bool]]:
    """The shards of `data`, settled, and whether they were made now."""
    rules = RULES.model_copy(update={"clean": RULES.clean.model_copy(update={"duplicates": policy})})
    some = cleaned(folder, data, rules, per)
    repeats = duplicates.find(some, rules.clean, str(folder))
    return [
        settle.settle(one, repeated, rules, str(folder / "out"), str(folder))
        for one, repeated in zip(some, repeats, strict=True)
    ]


def test_a_settled_shard_holds_what_was_kept_and_counts_the_rest(tmp_path):
    (first, _), (second, _), (third, _) = settled(tmp_path)
    assert [row["uid"] for row in rows(first)] == ["U0", "U1", "U2", "twin"]
    assert [row["line"] for row in rows(first)] == [1, 2, 3, 4]
    assert rows(second) == rows(third) == []
    assert (second.lines, second.kept, second.quarantined) == (4, 0, 1)
    assert second.dropped == {"duplicates": 2, "min_content": 1}
    assert third.dropped == {"duplicates": 2}
    for shard in (first, second, third):
        assert shard.lines == shard.kept + sum(shard.dropped.values()) + shard.quarantined
        assert sum(shard.splits.values()) == shard.kept


def test_duplicates_are_kept_where_the_recipe_says_so(tmp_path):
    shards = [shard for shard, _ in settled(tmp_path, policy="keep")]
    assert [row["uid"] for shard in shards for row in rows(shard)] == [
        "U0",
        "U1",
        "U2",
        "twin",
        "other twin",
        "U0",
        "U1",
        "U2",
    ]


def test_splits_are_counted_as_they_are_in_the_file(tmp_path):
    ((shard, _),) = settled(tmp_path, lines(300), per=1_000)
    found = [row["split"] for row in rows(shard)]
    assert {name: found.count(name) for name in settle.SPLITS} == shard.splits
    assert all(shard.splits.values())


def test_a_long_shard_is_written_in_groups_with_its_duplicates_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(settle, "ROW_GROUP", 40)
    monkeypatch.setattr("tasks.catalogue.decode.BLOCK", 1_000)
    data = lines(200) + lines(7, 90) + lines(100, 200)
    ((shard, _),) = settled(tmp_path, data, per=1_000)
    assert [row["uid"] for row in rows(shard)] == [f"U{n}" for n in range(300)]
    assert shard.dropped == {"duplicates": 7}
    parquet = pq.ParquetFile(shard.uri)
    assert parquet.num_row_groups > 3
    assert parquet.schema_arrow == clean.SCHEMA


def test_a_shard_is_settled_once_and_its_waiting_rows_are_removed(tmp_path):
    first = settled(tmp_path)
    assert [made for _, made in first] == [True] * 3
    assert list((tmp_path / "catalogue" / "clean").glob("*.arrow")) == []
    assert settled(tmp_path) == [(shard, False) for shard, _ in first]


def test_a_file_that_is_gone_is_made_again_byte_for_byte(tmp_path):
    (first, _), *_ = settled(tmp_path)
    before = Path(first.uri).read_bytes()
    Path(first.uri).unlink()
    (again, made), *others = settled(tmp_path)
    assert (again, made) == (first, True)
    assert Path(first.uri).read_bytes() == before
    assert [made for _, made in others] == [False, False]


def test_the_files_of_two_rules_do_not_mix(tmp_path):
    drop, keep = settled(tmp_path)[1][0], settled(tmp_path, policy="keep")[1][0]
    assert drop.uri != keep.uri
    assert settled(tmp_path)[1] == (drop, False)


def test_a_shard_whose_duplicates_are_others_now_is_settled_again(tmp_path):
    _, (before, _) = settled(tmp_path, [*lines(4), *lines(4)])
    _, (after, made) = settled(tmp_path, [*lines(4, 10), *lines(4)])
    assert (before.kept, after.kept, made) == (0, 4, True)
    assert before.source == after.source


def test_counts_that_do_not_add_up_are_an_error(tmp_path):
    (one,) = cleaned(tmp_path, DATA)
    wrong = one.model_copy(update={"quarantined": 0})
    with pytest.raises(CatalogueError, match="do not add up"):
        settle.settle(wrong, duplicates.NONE, RULES, str(tmp_path / "out"), str(tmp_path))


def test_rows_wait_in_object_storage_too(bucket):
    root = f"{bucket}/root"

    with fsspec.open(f"{bucket}/trn.json", "wb") as stream:
        stream.write(b"".join(lines(5)))
    (shard,) = plan(Catalogue(uri=f"{bucket}/trn.json"), root).shards
    one = clean.clean(shard, RULES, root)
    made, _ = settle.settle(one, duplicates.NONE, RULES, f"{root}/out", root)
    assert made.uri.startswith("s3://shop/root/out/shard-00000-")
    assert [row["uid"] for row in rows(made)] == [f"U{n}" for n in range(5)]
    assert settle.settle(one, duplicates.NONE, RULES, f"{root}/out", root) == (made, False)
