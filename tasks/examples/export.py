"""Export: one shard's examples of one split, as JSON lines in a backend's own format, with a table of their rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from tasks import store
from tasks.errors import ExportError
from tasks.examples.styles import Style, conversation, style
from tasks.examples.templates import Rendering, ending, load_tokenizer, render
from tasks.examples.tokens import encode
from tasks.models import CleanShard, Export, Format, Split
from tasks.recipe import Exporting

VERSION = 1
COLUMNS = ["uid", "title", "content", "line", "row_hash"]


def export(
    shard: CleanShard, exporting: Exporting, format: Format, split: Split, rendering: Rendering | None, root: str
) -> Export:
    """Write the examples, or find them written. Deterministic: the same shard and choices, the same bytes.

    Raises ExportError for a local format without a `rendering`, or a style that cannot be exported.
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
    rows = _rows(shard.uri, split, count)
    if local and rendering:
        data, tokens = _rendered(rows, exporting, format, rendering)
    else:
        data, tokens = _chat(rows, style(exporting.style), format), None
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


def _rows(uri: str, split: Split, count: int | None) -> pa.Table:
    """The rows of `split` in line order; of more than `count`, those with the smallest hash."""
    with store.reading(uri) as stream:
        rows = pq.read_table(stream, columns=COLUMNS, filters=pc.field("split") == split)
    if count is None or rows.num_rows <= count:
        return rows
    ranks = np.array([xxhash.xxh3_64_intdigest(str(h.as_py()).encode()) for h in rows["row_hash"]], dtype=np.uint64)
    return rows.take(pa.array(np.sort(np.argsort(ranks, kind="stable")[:count])))


def _escape(column: pa.ChunkedArray) -> pa.Array:
    """`column` as the inside of JSON strings, by Arrow's own kernels: clean text has few characters to escape."""
    text = pc.replace_substring(column, "\\", "\\\\")
    text = pc.replace_substring(text, '"', '\\"')
    if pc.any(pc.match_substring_regex(text, "[\\x00-\\x1f]")).as_py():
        text = pa.array([None if t is None else json.dumps(t, ensure_ascii=False)[1:-1] for t in column.to_pylist()])
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def _chat(rows: pa.Table, chosen: Style, format: Format) -> bytes:
    """OpenAI's or Gemini's chat lines, put together as whole columns."""
    inside = lambda text: json.dumps(text, ensure_ascii=False)[1:-1]  # noqa: E731
    before, after = (inside(part) for part in chosen.question)
    if format == "openai":
        system = f'{{"role":"system","content":"{inside(chosen.system)}"}},' if chosen.system else ""
        head = f'{{"messages":[{system}{{"role":"user","content":"{before}'
        middle = f'{after}"}},{{"role":"assistant","content":"'
        tail = f'{inside(chosen.closing)}"}}]}}\n'
    else:
        system = f'"systemInstruction":{{"parts":[{{"text":"{inside(chosen.system)}"}}]}},' if chosen.system else ""
        head = f'{{{system}"contents":[{{"role":"user","parts":[{{"text":"{before}'
        middle = f'{after}"}}]}},{{"role":"model","parts":[{{"text":"'
        tail = f'{inside(chosen.closing)}"}}]}}]}}\n'
    if rows.num_rows == 0:
        return b""
    lines = pc.binary_join_element_wise(head, _escape(rows["title"]), middle, _escape(rows["content"]), tail, "")
    joined = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
    # The strings lie one after the other in one buffer, which is the file.
    width = 8 if pa.types.is_large_string(joined.type) else 4
    offsets = np.frombuffer(joined.buffers()[1], dtype=f"i{width}")[joined.offset : joined.offset + len(joined) + 1]
    return bytes(joined.buffers()[2][int(offsets[0]) : int(offsets[-1])])


def _rendered(rows: pa.Table, exporting: Exporting, format: Format, rendering: Rendering) -> tuple[bytes, list[int]]:
    """Prompt and completion as the local model reads them, and the tokens of each example."""
    tokenizer = load_tokenizer(rendering)
    template = rendering.template
    closing = style(exporting.style).closing + ending(template, tokenizer)
    lines, tokens = [], []
    for row in rows.select(["title", "content"]).to_pylist():
        messages = conversation(exporting.style, row["title"])
        prompt, completion = render(messages, template, tokenizer), row["content"] + closing
        line = {"prompt": prompt, "completion": completion}
        if format == "alpaca":
            system = messages[0].content if messages[0].role == "system" else None
            asked = messages[-1].content
            line |= {"instruction": system or asked, "input": asked if system else "", "output": row["content"]}
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
        tokens.append(len(encode(prompt, completion, tokenizer, 1 << 30).input_ids))
    return "".join(f"{line}\n" for line in lines).encode(), tokens
