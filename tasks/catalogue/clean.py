"""Clean: one shard's lines to clean rows, everything else counted by rule or in quarantine.

Writes, under the root, an Arrow file of the rows (to be settled), their hashes (for duplicates), the quarantine, and
last a sidecar that says all is there. The sidecar is named by the shard's digest and the rules: the shard-level cache.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from tasks.catalogue import decode, shared, text
from tasks.catalogue.mapping import Mapped
from tasks.catalogue.records import Cleaned, Rules
from tasks.catalogue.split import VERSION as SPLIT_VERSION
from tasks.catalogue.split import split, threshold
from tasks.core import store
from tasks.core.models import Shard
from tasks.recipe.model import Cleaning

VERSION = 8  # bump when the same line may give another row, drop or fault
SCHEMA = pa.schema(
    {name: pa.string() for name in ("uid", "title", "content")}
    | {"line": pa.int64(), "row_hash": pa.string(), "split": pa.string()}
)
FACTS = SCHEMA.append(pa.field("facts", pa.string()))  # a JSON object of texts


def schema(rules: Rules) -> pa.Schema:
    """Of the rows that these rules make."""
    return FACTS if rules.fields and rules.fields.facts else SCHEMA


def clean(shard: Shard, rules: Rules, root: str) -> Cleaned:
    """The shard cleaned, from the cache where its results are still there.

    Raises decode.ChangedError when the catalogue is no longer what was planned.
    """
    base = _base(shard, rules, root)
    known = store.kept(f"{base}.json", Cleaned)
    if known is not None:
        return known.model_copy(update={"shard": shard, "marks": store.marks(known.files)})
    return make(shard, rules, root)


def make(shard: Shard, rules: Rules, root: str) -> Cleaned:
    """Clean the shard, whatever the cache holds."""
    base = _base(shard, rules, root)
    dropped: Counter[str] = Counter()
    mended: Counter[str] = Counter()
    hashes: list[bytes] = []
    marks: list[bytes] = []
    uids: list[bytes] = []
    faults: list[decode.Fault] = []
    with ExitStack() as stack:
        stream = stack.enter_context(store.writing(f"{base}.arrow", derived=True))
        spill = stack.enter_context(pa.ipc.new_stream(stream, schema(rules)))
        for block in decode.read(shard, rules.max_line_bytes, rules.fields):
            dropped["blank_line"] += block.blank
            faults += block.faults
            batch = rows(block, rules, dropped, mended, hashes, marks)
            if batch.num_rows:
                spill.write_batch(batch)
                uids.append(b"".join(xxhash.xxh3_128_digest(uid.encode()) for uid in batch.column("uid").to_pylist()))
    with store.writing(f"{base}.hash", derived=True) as out:
        count = out.write(b"".join(hashes)) // 16
    shared_uri = _kept(f"{base}.shared", marks) if rules.clean.shared_content else None
    uids_uri = _kept(f"{base}.uids", uids) if rules.clean.same_uid != "keep" else None
    quarantine = f"{base}.quarantine.jsonl" if faults else None
    if quarantine:
        with store.writing(quarantine, derived=True) as out:
            out.writelines(json.dumps(dataclasses.asdict(f), ensure_ascii=False).encode() + b"\n" for f in faults)
    cleaned = Cleaned(
        shard=shard, rows_uri=f"{base}.arrow", hashes_uri=f"{base}.hash", rows=count,
        dropped={k: n for k, n in sorted(dropped.items()) if n}, quarantined=len(faults),
        quarantine_uri=quarantine, reasons=dict(sorted(Counter(f.rule for f in faults).items())),
        uids_uri=uids_uri, shared_uri=shared_uri, mended={k: n for k, n in sorted(mended.items()) if n},
        rows_mark=store.marks([f"{base}.arrow"])[f"{base}.arrow"], made=True,
    )  # fmt: skip
    cleaned = cleaned.model_copy(update={"digests": {uri: store.file_digest(uri) for uri in cleaned.hashed}})
    store.keep(f"{base}.json", cleaned, *cleaned.files)
    return cleaned.model_copy(update={"marks": store.marks(cleaned.files)})


def _kept(uri: str, digests: list[bytes]) -> str:
    """`uri`, with 16 bytes a row written there."""
    with store.writing(uri, derived=True) as out:
        out.write(b"".join(digests))
    return uri


def _base(shard: Shard, rules: Rules, root: str) -> str:
    parts = [VERSION, SPLIT_VERSION, shard.digest, shard.first_line, rules.model_dump(mode="json")]
    return store.join(root, "catalogue", "clean", store.digest_of(parts))


def texts(block: decode.Block, rules: Cleaning, mended: Counter[str]) -> tuple[list[str], list[str]]:
    """Titles and contents of the block, clean but for their tails; counts in `mended` the rows that were damaged."""
    damage: dict[int, set[str]] = {}
    columns = [row.title for row in block.rows], [row.content for row in block.rows]
    for lines, column in enumerate(columns):
        for n in text.suspects(column):
            seen: set[str] = set()
            column[n] = text.clean(column[n], rules, bool(lines), seen)
            if seen:
                damage[n] = damage.get(n, set()) | seen
    for seen in damage.values():
        mended.update(seen)
    return columns


def rows(
    block: decode.Block,
    rules: Rules,
    dropped: Counter[str],
    mended: Counter[str],
    hashes: list[bytes],
    marks: list[bytes],
) -> pa.RecordBatch:
    """The block's clean rows; counts the others in `dropped` and appends 16 bytes a row to `hashes` and `marks`."""
    cleaning = rules.clean
    titles, contents = texts(block, cleaning, mended)
    kept = []
    for n, (title, before) in enumerate(zip(titles, contents, strict=True)):
        content = contents[n] = text.cut_tails(before) if cleaning.boilerplate_tails else before
        mended["boilerplate_tails"] += len(content) != len(before)
        rule = fault(title, content, before, cleaning)
        if rule:
            dropped[rule] += 1
        else:
            kept.append(n)
    titles, contents = [titles[n] for n in kept], [contents[n] for n in kept]
    encoded = [content.encode() for content in contents]
    named = b"".join(
        xxhash.xxh3_128_digest(b"%b\0%b" % (title.encode(), content))
        for title, content in zip(titles, encoded, strict=True)
    )
    hashes.append(named)
    if cleaning.shared_content:
        marks.append(shared.marks(titles, encoded))
    columns: list[Any] = [
        [block.rows[n].uid for n in kept], titles, contents, block.numbers[np.array(kept, np.int64)],
        _hexadecimal(named), split(titles, contents, threshold(rules.split.holdout_share)),
    ]  # fmt: skip
    if schema(rules) is FACTS:
        columns.append([row.facts if isinstance(row := block.rows[n], Mapped) else "{}" for n in kept])
    made = schema(rules)
    arrays = [c if isinstance(c, pa.Array) else pa.array(c, type=f.type) for c, f in zip(columns, made, strict=True)]
    return pa.record_batch(arrays, schema=made)


def _hexadecimal(digests: bytes) -> pa.Array:
    """Digests of 16 bytes as a column of 32 hexadecimal digits each."""
    count = len(digests) // 16
    offsets = np.arange(0, 32 * count + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digests.hex().encode()))


def fault(title: str, content: str, before: str, rules: Cleaning) -> str | None:
    """The rule that drops this clean row, or None. `before` is the content before its tails were cut.

    What is blank is judged by the rules for blanks alone: it is neither short nor junk.
    """
    blank_title, blank_content = not title or title.isspace(), not content or content.isspace()
    if blank_title and rules.blank_title:
        return "blank_title"
    if blank_content and rules.boilerplate_only and before.strip():
        return "boilerplate_only"
    if blank_content and rules.blank_content:
        return "blank_content"
    if len(content) < text.BRIEF and rules.boilerplate_only and text.is_boilerplate(content):
        return "boilerplate_only"
    if rules.title_is_content and len(title) == len(content) and title.casefold() == content.casefold():
        return "title_is_content"
    if rules.junk and (
        (not blank_content and text.is_junk(content)) or (not blank_title and text.is_junk_title(title))
    ):
        return "junk"
    if len(title) < rules.min_title and not blank_title:
        return "min_title"
    return "min_content" if len(content) < rules.min_content and not blank_content else None
