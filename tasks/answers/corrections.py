"""Corrections: right answers that people gave and somebody approved, as training examples. Never of held-out rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.answers import claims, sources
from tasks.core import store
from tasks.core.models import CleanShard, Export, Frozen, Message
from tasks.examples import lines
from tasks.examples.export import BESIDE, COLUMNS, of_split, read_rows, write_rows
from tasks.examples.grounding import ROWS, Shelf, clip
from tasks.examples.styles import SAID, STYLES, conversation
from tasks.examples.templates import Rendering


class Correction(Frozen):
    """The right answer to a question, and the row that it is about."""

    trace: str
    question: str
    uid: str
    answer: str


class Correctable(NamedTuple):
    """A correction with its row, which is trained on, and the index of its shard."""

    correction: Correction
    row: dict[str, Any]
    shard: int


def usable(
    given: Sequence[Correction], shards: Sequence[CleanShard]
) -> tuple[list[Correctable], list[tuple[Correction, str]]]:
    """Those that may be learned, and of each other one why not: its row is gone, held out, or does not say so."""
    rows = _rows({one.uid for one in given}, shards) if given else {}
    kept, left_out = [], []
    for one in given:
        shard, row = rows.get(one.uid, (0, None))
        why = _against(one, row)
        if why or row is None:
            left_out.append((one, why))
        else:
            kept.append(Correctable(one, row, shard))
    return kept, left_out


def _rows(uids: set[str], shards: Sequence[CleanShard]) -> dict[str, tuple[int, dict[str, Any]]]:
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for shard in shards:
        with store.reading(store.check(shard.uri, shard.digest)) as stream:
            mine = pq.read_table(stream, columns=[*COLUMNS, "split"], filters=pc.field("uid").isin(list(uids)))
        found |= {row["uid"]: (shard.index, row) for row in mine.to_pylist()}
    return found


def _against(one: Correction, row: dict[str, Any] | None) -> str:
    """Why a correction is not learned; empty where nothing is against it."""
    if row is None:
        return f"the catalogue has no row {one.uid!r}: add it"
    if row["split"] != "train":
        return f"the row {one.uid!r} is {row['split']}: what it is measured by is never trained on"
    false = sources.unsupported(claims.check(one.question, one.answer, row["title"], row["content"]))
    return f"the row {one.uid!r} does not say {false[0].said!r}: correct the row, or the answer" if false else ""


def added(
    export: Export, taken: Sequence[Correctable], shards: Sequence[CleanShard], rendering: Rendering | None, root: str
) -> Export:
    """The export with the corrections as its last examples, written beside it. The same ones give the same bytes."""
    key = store.digest_of([export.digest, [one.correction.model_dump() for one in taken]])[:16]
    base = store.join(root, "exports", f"{export.shard:05d}-{export.format}-{export.style}-corrected-{key}")
    if known := store.kept(f"{base}.json", Export):
        return known
    clean = {shard.index: shard for shard in shards}
    shelves: dict[int, _Shelved] = {}
    for index in {one.shard for one in taken}:
        shelves[index] = _Shelved(of_split(clean[index].uri, "train").to_pylist())
    talks = [shelves[one.shard].talk(one, export) for one in taken]
    data, counts = lines.written(talks, export.format, rendering)
    hasher = hashlib.sha256()
    with (
        store.reading(store.check(export.uri, export.digest)) as before,
        store.writing(f"{base}.jsonl", derived=True) as out,
    ):
        for block in (*iter(lambda: before.read(1 << 20), b""), data):
            hasher.update(block)
            out.write(block)
    named = [{name: one.row[name] for name in BESIDE.names[:-1]} for one in taken]
    mine = pa.Table.from_pylist([row | {"tokens": n} for row, n in zip(named, counts, strict=True)], BESIDE)
    rows = pa.concat_tables([read_rows(export).cast(BESIDE), mine])
    longest = rendering.max_length if rendering else 0
    too_long = sum(1 for n in counts if n is not None and n > longest)
    made = export.model_copy(
        update={
            "uri": f"{base}.jsonl",
            "rows_uri": f"{base}.rows.parquet",
            "examples": export.examples + len(taken),
            "tokens": None if export.tokens is None else export.tokens + sum(n or 0 for n in counts),
            "truncated": None if export.truncated is None else export.truncated + too_long,
            "digest": store.learn(f"{base}.jsonl", hasher.hexdigest()[:32]),
            "rows_digest": write_rows(f"{base}.rows.parquet", rows),
            "corrections": len(taken),
        }
    )
    store.keep(f"{base}.json", made, made.uri, made.rows_uri)
    return made


class _Shelved:
    """The rows of one shard that are trained on, and how a correction about one of them is taught."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.shelf = rows, Shelf(rows)
        self.at = {row["uid"]: number for number, row in enumerate(rows)}

    def talk(self, one: Correctable, export: Export) -> tuple[tuple[Message, ...], str]:
        """The prompt as it would be asked, in the export's style, and the right answer to it."""
        style, correction = STYLES[export.style], one.correction
        if not style.grounded:
            return conversation(export.style, one.row["title"]), f"{correction.answer}{style.closing}"
        number = self.at[correction.uid]
        others = [row for row in self.shelf.shown(number) if row["uid"] != correction.uid][: ROWS - 1]
        place = number % (len(others) + 1)
        shown = [*others[:place], self.rows[number], *others[place:]]
        said = f"[{correction.uid}] {clip(correction.answer, SAID)}"
        return conversation(export.style, one.row["title"], shown, correction.question), said
