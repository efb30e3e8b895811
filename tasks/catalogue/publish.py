"""Publish: copy clean shards, a file for each split, and their card to `hf://` or any target that fsspec writes to."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.catalogue import card
from tasks.catalogue.settle import OPTIONS, ROW_GROUP, SPLITS
from tasks.core import store
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Prepared, Split
from tasks.recipe import allowed


def publish(prepared: Prepared, target: str) -> tuple[str, ...]:
    """Copy the shards of `prepared` by split and their card to the folder `target`; returns the URIs, the card last.

    A reader who opens the card finds all that it names, in the splits train, holdout and reserved.
    Raises DamagedError where a shard is not as it was written, CatalogueError when the target refuses or holds a page
    that shardtune did not write, RecipeError where workers may not write there.
    """
    allowed.check("the target", target)
    for shard in prepared.shards:
        store.check(shard.uri, shard.digest)
    page = store.join(target, "README.md")
    files: dict[Split, list[str]] = {split: [] for split in SPLITS}
    try:
        if store.exists(page) and not card.is_ours(card.read(page)):
            raise CatalogueError(
                f"{page!r} is there and shardtune did not write it, or somebody has changed it; nothing was written: "
                "move it away, or publish to another folder"
            )
        for split, names in files.items():
            names += [_copied(shard, split, target) for shard in prepared.shards if shard.splits.get(split)]
        with store.writing(page) as out:
            out.write(card.text(prepared, files).encode())
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, CatalogueError):
            raise
        raise CatalogueError(f"cannot publish to {target!r}: {error}; check the address and your rights") from error
    return (*(store.join(target, name) for names in files.values() for name in names), page)


def _copied(shard: CleanShard, split: Split, target: str) -> str:
    """The name of the file in `target` that holds the rows of one split of a shard."""
    name = f"{split}-{shard.uri.rsplit('/', 1)[-1]}"
    with (
        store.reading(shard.uri) as stream,
        pq.ParquetFile(stream) as rows,
        store.writing(store.join(target, name)) as out,
        pq.ParquetWriter(out, rows.schema_arrow, **OPTIONS) as parquet,
    ):
        for batch in rows.iter_batches(ROW_GROUP):
            mine = batch.filter(pc.equal(batch["split"], split))
            if mine.num_rows:
                parquet.write_batch(mine)
    return name
