"""Export: one shard's examples of one split, as JSON lines in a backend's own format, with a table of their rows."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from tasks.core import store
from tasks.core.errors import DamagedError, ExportError
from tasks.core.models import CleanShard, Export, Format, Split
from tasks.examples import facts, lines
from tasks.examples.styles import STYLES
from tasks.examples.templates import Rendering, load_tokenizer
from tasks.examples.tokens import reader
from tasks.recipe.model import Exporting

VERSION = 3
LOCAL = 2  # of the rules by which local models read their examples
COLUMNS = ["uid", "title", "content", "line", "row_hash"]
BESIDE = pa.schema({"uid": pa.string(), "line": pa.int64(), "row_hash": pa.string(), "tokens": pa.int32()})
AT_ONCE = 2_048  # rows


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
    named += [rendering.model_dump(mode="json"), LOCAL] if local and rendering else []
    named += [facts.VERSION] if STYLES[exporting.style].facts else []
    key = store.digest_of(named)[:16]
    base = store.join(root, "exports", f"{shard.index:05d}-{format}-{exporting.style}-{split}-{key}")
    sidecar = f"{base}.json"
    known = store.kept(sidecar, Export)
    if known is not None:
        return known
    store.check(shard.uri, shard.digest)
    uri, rows_uri = f"{base}.jsonl", f"{base}.rows.parquet"
    hasher, pieces = hashlib.sha256(), []
    with store.writing(uri, derived=True) as stream:
        for data, beside in _pieces(shard, exporting, format, split, count, rendering):
            hasher.update(data)
            stream.write(data)
            pieces.append(beside)
    rows = pa.Table.from_batches(pieces, BESIDE)
    rows_digest = write_rows(rows_uri, rows)
    counted = local and rendering is not None
    reads = reader(load_tokenizer(rendering)).otherwise if counted and rendering else []
    made = Export(
        shard=shard.index, format=format, style=exporting.style, split=split, uri=uri, rows_uri=rows_uri,
        examples=rows.num_rows,
        tokens=int(pc.sum(rows["tokens"]).as_py() or 0) if counted else None,
        truncated=rows.filter(pc.field("tokens") > rendering.max_length).num_rows if counted and rendering else None,
        digest=store.learn(uri, hasher.hexdigest()[:32]), rows_digest=rows_digest,
        reading=store.digest_of(reads)[:16] if reads else None,
    )  # fmt: skip
    store.keep(sidecar, made, uri, rows_uri)
    return made


def write_rows(uri: str, rows: pa.Table) -> str:
    """Write what lies beside an export; its digest."""
    held = io.BytesIO()
    pq.write_table(rows, held)
    with store.writing(uri, derived=True) as stream:
        stream.write(held.getbuffer())
    return store.learn(uri, hashlib.sha256(held.getbuffer()).hexdigest()[:32])


def read_rows(export: Export, columns: list[str] | None = None) -> pa.Table:
    """What lies beside an export; DamagedError where it is not as it was written."""
    if export.rows_digest:
        store.check(export.rows_uri, export.rows_digest)
    with store.reading(export.rows_uri) as stream:
        try:
            return pq.read_table(stream, columns=columns)
        except (pa.ArrowException, OSError) as error:
            store.doubt(export.rows_uri)
            raise DamagedError(
                f"{export.rows_uri!r} is damaged ({error}): run the same command again, it is made anew"
            ) from error


def _pieces(
    shard: CleanShard,
    exporting: Exporting,
    format: Format,
    split: Split,
    count: int | None,
    rendering: Rendering | None,
) -> Iterator[tuple[bytes | memoryview, pa.RecordBatch]]:
    """The examples, some at a time where their style allows it, with what lies beside them."""
    style, local = STYLES[exporting.style], format in ("chat", "alpaca")
    if not local and not style.grounded and count is None:
        for batch in _batches(shard, split):
            yield lines.chat(batch, style, format), _beside(batch, None)
        return
    everything = of_split(shard.uri, split)
    numbers, tokens = _sample(everything, count), None
    rows = everything.take(pa.array(numbers, pa.int64())).combine_chunks()
    if local and rendering:
        data, tokens = lines.rendered(everything.to_pylist(), numbers, exporting.style, format, rendering)
    elif style.grounded:
        data = lines.grounded(everything.to_pylist(), numbers, exporting.style, format)
    else:
        data = b"".join(lines.chat(batch, style, format) for batch in rows.to_batches())
    for batch in rows.to_batches():
        yield data, _beside(batch, tokens)


def _beside(rows: pa.RecordBatch, tokens: list[int] | None) -> pa.RecordBatch:
    counts = pa.nulls(rows.num_rows, pa.int32()) if tokens is None else pa.array(tokens, pa.int32())
    return pa.record_batch([*(rows[name] for name in BESIDE.names[:-1]), counts], schema=BESIDE)


def truncated(export: Export, max_length: int) -> list[dict[str, Any]]:
    """The examples that lose the end of their answer at `max_length` tokens: uid, line and tokens of each."""
    rows = read_rows(export)
    listed: list[dict[str, Any]] = (
        rows.filter(pc.field("tokens") > max_length).select(["uid", "line", "tokens"]).to_pylist()
    )
    return listed


def of_split(uri: str, split: Split) -> pa.Table:
    """The rows of `split` in a clean shard, in line order."""
    with store.reading(uri) as stream:
        return pq.read_table(stream, columns=COLUMNS, filters=pc.field("split") == split)


def _batches(shard: CleanShard, split: Split) -> Iterator[pa.RecordBatch]:
    """The same rows, so few at a time that the memory they take is used again and again."""
    if not shard.splits.get(split, 1):
        return
    with store.reading(shard.uri) as stream, pq.ParquetFile(stream) as parquet:
        for batch in parquet.iter_batches(AT_ONCE, columns=[*COLUMNS, "split"], use_threads=False):
            rows = batch.filter(pc.equal(batch["split"], split))
            if rows.num_rows:
                yield rows


def _sample(rows: pa.Table, count: int | None) -> list[int]:
    """Numbers of the rows to export, in line order; of more than `count`, those with the smallest hash."""
    if count is None or rows.num_rows <= count:
        return list(range(rows.num_rows))
    ranks = [(xxhash.xxh3_64_intdigest(str(name).encode()), n) for n, name in enumerate(rows["row_hash"].to_pylist())]
    return sorted(n for _, n in sorted(ranks)[:count])
