"""Publishing: a copy of the clean shards that `datasets` opens, wherever fsspec writes."""

from __future__ import annotations

from pathlib import Path

import datasets
import fsspec
import pytest

from tasks.catalogue.publish import publish
from tasks.core.errors import CatalogueError
from tests.kit.catalogues import lines, rows, run, source

UIDS = [f"U{n}" for n in range(60)]


def test_what_was_published_opens_as_a_data_set(tmp_path):
    prepared = run(source(tmp_path, [*lines(60), *[b"bad\n"] * 20], 20), tmp_path).prepared
    target = tmp_path / "published"
    written = publish(prepared, str(target))
    assert len(prepared.shards) == 4
    assert written[-1] == str(target / "README.md")
    assert sorted(written) == sorted(str(path) for path in target.iterdir())
    found = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))
    splits = {name: found[name]["uid"] for name in found}
    assert splits == {
        split: [row["uid"] for shard in prepared.shards if shard.kept for row in rows(shard) if row["split"] == split]
        for split in ("train", "holdout", "reserved")
    }
    assert min(map(len, splits.values())) > 0  # no row of the holdout is trained on
    assert sorted(uid for uids in splits.values() for uid in uids) == sorted(UIDS)
    assert publish(prepared, str(target)) == written


def test_a_page_that_somebody_else_wrote_or_changed_is_never_written_over(tmp_path):
    prepared = run(source(tmp_path, lines(12), 5), tmp_path).prepared
    target = tmp_path / "published"
    target.mkdir()
    page = target / "README.md"
    page.write_text("---\nlicense: mit\n---\nMy own words.\n")
    for _ in range(2):
        before = page.read_text()
        with pytest.raises(CatalogueError, match=r"README.md' is there and shardtune did not write it"):
            publish(prepared, str(target))
        assert page.read_text() == before
        assert list(target.iterdir()) == [page]
        page.unlink()
        publish(prepared, str(target))
        page.write_text(page.read_text().replace("Clean product rows", "Kettles, by us"))
        for path in target.glob("*.parquet"):
            path.unlink()


def test_a_bucket_holds_the_same_bytes(tmp_path, bucket):
    prepared = run(source(tmp_path, lines(12), 5), tmp_path).prepared
    publish(prepared, str(tmp_path / "published"))
    *shards, card = publish(prepared, f"{bucket}/sets/kettles/")
    assert card == "s3://shop/sets/kettles/README.md"
    assert len(shards) == len(list((tmp_path / "published").glob("*.parquet")))
    for uri in shards:
        with fsspec.open(uri, "rb") as stream:
            assert stream.read() == (tmp_path / "published" / Path(uri).name).read_bytes()


@pytest.mark.parametrize(
    "target", ["gopher://host/folder", "abfs://container/folder", "s3://no-such-bucket/folder", "/dev/null/folder"]
)
def test_a_target_that_refuses_is_told_in_one_line(tmp_path, bucket, target):
    prepared = run(source(tmp_path, lines(12), 5), tmp_path).prepared
    with pytest.raises(CatalogueError, match=f"cannot publish to '{target}': .*check the address"):
        publish(prepared, target)
