"""Facts: the further columns of products, read back from the clean shards that carry them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core import store
from tasks.core.models import CleanShard

COLUMN = "facts"


def of(shards: Sequence[CleanShard], lines: Iterable[tuple[int, int]]) -> dict[int, dict[str, str]]:
    """The facts of rows by their catalogue line, {} where none are carried; `lines` are (number of the shard, line)."""
    wanted: dict[int, set[int]] = {}
    for shard, line in lines:
        wanted.setdefault(shard, set()).add(line)
    found: dict[int, dict[str, str]] = {}
    for one in shards:
        if one.index not in wanted:
            continue
        with store.reading(store.check(one.uri, one.digest)) as stream, pq.ParquetFile(stream) as parquet:
            if COLUMN not in parquet.schema_arrow.names:
                continue
            for batch in parquet.iter_batches(columns=["line", COLUMN]):
                named = batch.filter(pc.is_in(batch["line"], pa.array(sorted(wanted[one.index]), pa.int64())))
                rows = zip(named["line"].to_pylist(), named[COLUMN].to_pylist(), strict=True)
                found |= {line: json.loads(told) for line, told in rows}
    return found
