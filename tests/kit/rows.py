"""Clean shards made on the spot."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import store
from tasks.core.models import CleanShard


def shard(folder: Path, rows: list[tuple[str, str]], split: str = "train", index: int = 0) -> CleanShard:
    table = pa.table(
        {
            "uid": [f"U{n}" for n in range(len(rows))],
            "title": pa.array([t for t, _ in rows], pa.string()),
            "content": pa.array([c for _, c in rows], pa.string()),
            "line": pa.array(range(1, len(rows) + 1), pa.int64()),
            "row_hash": [f"{index:016x}{n:016x}" for n in range(len(rows))],
            "split": [split] * len(rows),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    uri = folder / "shard.parquet"
    pq.write_table(table, uri)
    return CleanShard(
        index=index,
        uri=str(uri),
        digest=store.file_digest(str(uri)),
        source="s",
        lines=len(rows),
        kept=len(rows),
        dropped={},
        quarantined=0,
        quarantine_uri=None,
        splits={"train": len(rows)},
    )
