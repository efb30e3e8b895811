"""Export: one shard's examples of one split, as JSON lines in a backend's own format, with a table of their rows."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from tasks import store
from tasks.errors import ExportError
from tasks.examples import lines
from tasks.examples.styles import STYLES
from tasks.examples.templates import Rendering
from tasks.models import CleanShard, Export, Format, Split
from tasks.recipe import Exporting

VERSION = 2
COLUMNS = ["uid", "title", "content", "line", "row_hash"]


def export(
    shard: CleanShard, exporting: Exporting, format: Format, split: Split, rendering: Rendering | None, root: str
) -> Export:
    """Write the examples, or find them written. Deterministic: the same shard and choices, the same bytes.

    Raises ExportError for a local format without a `rendering`.
    """
    local = format in ("chat", "alpaca")
    if local and rendering is None:
        raise ExportError(f"format {format!r} needs a base model: name one in tune.base_model")
    count = exporting.train_per_shard if split == "train" else exporting.holdout_per_shard
    named = [VERSION, shard.digest, exporting.style, format, split, count]
    named += [rendering.model_dump(mode="json")] if local and rendering else []
    key = store.digest_of(named)[:16]
    base = store.join(root, "exports", f"{shard.index:05d}-{format}-{exporting.style}-{split}-{key}")
    sidecar = f"{base}.json"
    if store.exists(sidecar):
        known = Export.model_validate(store.read_json(sidecar))
        if store.exists(known.uri) and store.exists(known.rows_uri):
            return known
    everything = of_split(shard.uri, split)
    numbers = _sample(everything, count)
    rows = everything if len(numbers) == everything.num_rows else everything.take(pa.array(numbers))
    tokens = None
    if local and rendering:
        data, tokens = lines.rendered(everything.to_pylist(), numbers, exporting.style, format, rendering)
    elif STYLES[exporting.style].grounded:
        data = lines.grounded(everything.to_pylist(), numbers, exporting.style, format)
    else:
        data = lines.chat(rows, STYLES[exporting.style], format)
    made = Export(
        shard=shard.index,
        format=format,
        style=exporting.style,
        split=split,
        uri=f"{base}.jsonl",
        rows_uri=f"{base}.rows.parquet",
        examples=rows.num_rows,
        tokens=int(sum(tokens)) if tokens is not None else None,
        truncated=sum(n > rendering.max_length for n in tokens) if tokens is not None and rendering else None,
        digest=hashlib.sha256(data).hexdigest()[:32],
    )
    with store.writing(made.uri) as stream:
        stream.write(data)
    beside = rows.select(["uid", "line", "row_hash"]).append_column(
        "tokens", pa.array(tokens if tokens is not None else [None] * rows.num_rows, pa.int32())
    )
    with store.writing(made.rows_uri) as stream:
        pq.write_table(beside, stream)
    store.write_json(sidecar, made.model_dump(mode="json"))
    return made


def truncated(export: Export, max_length: int) -> list[dict[str, Any]]:
    """The examples that lose the end of their answer at `max_length` tokens: uid, line and tokens of each."""
    with store.reading(export.rows_uri) as stream:
        rows = pq.read_table(stream)
    listed: list[dict[str, Any]] = (
        rows.filter(pc.field("tokens") > max_length).select(["uid", "line", "tokens"]).to_pylist()
    )
    return listed


def of_split(uri: str, split: Split) -> pa.Table:
    """The rows of `split` in a clean shard, in line order."""
    with store.reading(uri) as stream:
        return pq.read_table(stream, columns=COLUMNS, filters=pc.field("split") == split)


def _sample(rows: pa.Table, count: int | None) -> list[int]:
    """Numbers of the rows to export, in line order; of more than `count`, those with the smallest hash."""
    if count is None or rows.num_rows <= count:
        return list(range(rows.num_rows))
    ranks = [(xxhash.xxh3_64_intdigest(str(name).encode()), n) for n, name in enumerate(rows["row_hash"].to_pylist())]
    return sorted(n for _, n in sorted(ranks)[:count])
