"""Settle: a cleaned shard without its duplicates, as the Parquet file that everything later reads.

Named by all that decides its bytes, so a file that is there is right; the waiting rows are removed once it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.catalogue import clean, duplicates
from tasks.catalogue.records import Cleaned, Repeats, Rules
from tasks.core import store
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Split

VERSION = 1  # bump when the same rows give another file
ROW_GROUP = 32_768
SPLITS: tuple[Split, ...] = ("train", "holdout", "reserved")
OPTIONS: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["split"]}


def settle(cleaned: Cleaned, repeats: Repeats, rules: Rules, folder: str, root: str) -> tuple[CleanShard, bool]:
    """The shard as Parquet in `folder`, and whether it was made now. Waiting rows that are gone are cleaned again."""
    key = store.digest_of([VERSION, pa.__version__, folder, _key(cleaned, rules), repeats.digest])
    sidecar = store.join(root, "catalogue", "settled", f"{key}.json")
    known = store.kept(sidecar, CleanShard)
    if known is not None:
        return known.model_copy(update={"index": cleaned.shard.index}), False
    if store.marks([cleaned.rows_uri]).get(cleaned.rows_uri) != cleaned.rows_mark:
        cleaned = clean.make(cleaned.shard, rules, root)
    uri = store.join(folder, f"shard-{cleaned.shard.index:05d}-{key[:12]}.parquet")
    splits = _write(cleaned, duplicates.positions(repeats), uri, clean.schema(rules))
    dropped = dict(cleaned.dropped) | repeats.dropped
    shard = CleanShard(
        index=cleaned.shard.index, uri=uri, digest=store.file_digest(uri), source=cleaned.shard.identity,
        lines=cleaned.shard.lines, kept=cleaned.rows - repeats.rows, dropped=dropped, quarantined=cleaned.quarantined,
        quarantine_uri=cleaned.quarantine_uri, splits=splits, reasons=cleaned.reasons,
        mended=cleaned.mended,
    )  # fmt: skip
    _check(shard)
    store.keep(sidecar, shard, shard.uri)
    store.remove(cleaned.rows_uri)
    return shard, True


def _key(cleaned: Cleaned, rules: Rules) -> list[str]:
    return [cleaned.rows_uri.rsplit("/", 1)[-1], store.digest_of(rules.model_dump(mode="json"))]


def _write(cleaned: Cleaned, repeats: Any, uri: str, schema: pa.Schema) -> dict[Split, int]:
    """Write the rows but those at `repeats`; count the splits. Row groups keep memory small whatever the shard."""
    counts = dict.fromkeys(SPLITS, 0)
    with store.writing(uri, derived=True) as out, pq.ParquetWriter(out, schema, **OPTIONS) as parquet:
        for table in _groups(cleaned, repeats):
            for value in pc.value_counts(table["split"]).to_pylist():
                counts[value["values"]] += value["counts"]
            parquet.write_table(table, row_group_size=ROW_GROUP)
    return counts


def _groups(cleaned: Cleaned, repeats: Any) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    first = 0
    path = store.local(cleaned.rows_uri)
    with pa.memory_map(str(path)) if path else store.reading(cleaned.rows_uri) as stream:
        for batch in pa.ipc.open_stream(stream):
            mask = np.ones(batch.num_rows, bool)
            here = repeats[np.searchsorted(repeats, first) : np.searchsorted(repeats, first + batch.num_rows)]
            mask[here - first] = False
            first += batch.num_rows
            waiting.append(batch.filter(pa.array(mask)) if len(here) else batch)
            if sum(b.num_rows for b in waiting) >= ROW_GROUP:
                yield pa.Table.from_batches(waiting)
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting)


def _check(shard: CleanShard) -> None:
    counted = shard.kept + sum(shard.dropped.values()) + shard.quarantined
    if counted != shard.lines or sum(shard.splits.values()) != shard.kept:
        raise CatalogueError(f"the counts of shard {shard.index} do not add up ({shard!r}): please report this")
