"""Publishing: a copy of the clean shards that `datasets` opens, wherever fsspec writes."""

from __future__ import annotations

from pathlib import Path

import datasets
import fsspec
import pyarrow.parquet as pq
import pytest

from tasks.catalogue.publish import publish
from tasks.errors import CatalogueError
from tests.tasks.catalogue.catalogues import lines, run, source

UIDS = [f"U{n}" for n in range(12)]


def test_what_was_published_opens_as_a_data_set(tmp_path):
    prepared = run(source(tmp_path, [*lines(12), *[b"bad\n"] * 8], 5), tmp_path).prepared
    target = tmp_path / "published"
    written = publish(prepared, str(target))
    assert (len(prepared.shards), len(written)) == (4, 4)  # a shard with no row is left out
    assert written[-1] == str(target / "README.md")
    assert sorted(written) == sorted(str(path) for path in target.iterdir())
    found = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))
    assert found["train"]["uid"] == UIDS
    assert publish(prepared, str(target)) == written


def test_a_bucket_holds_the_same_bytes(tmp_path, bucket):
    prepared = run(source(tmp_path, lines(12), 5), tmp_path).prepared
    *shards, card = publish(prepared, f"{bucket}/sets/kettles/")
    assert card == "s3://shop/sets/kettles/README.md"
    for uri, shard in zip(shards, prepared.shards, strict=True):
        with fsspec.open(uri, "rb") as stream:
            assert stream.read() == Path(shard.uri).read_bytes()
    with fsspec.open(shards[0], "rb") as stream:
        assert pq.read_table(stream)["uid"].to_pylist() == UIDS[:5]


@pytest.mark.parametrize(
    "target", ["gopher://host/folder", "abfs://container/folder", "s3://no-such-bucket/folder", "/dev/null/folder"]
)
def test_a_target_that_refuses_is_told_in_one_line(tmp_path, bucket, target):
    prepared = run(source(tmp_path, lines(12), 5), tmp_path).prepared
    with pytest.raises(CatalogueError, match=f"cannot publish to '{target}': .*check the address"):
        publish(prepared, target)
