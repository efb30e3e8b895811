"""Lint of report A's export (20,000 chats, style sales) beside the loop most notebooks have, in one run.

`python -m tests.benchmarks.lint` prints seconds, medians of three runs each.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deployments.demo import catalogue
from deployments.simulators.openai import tokens
from tasks.core.models import Export
from tasks.examples import lines, lint
from tasks.examples.export import BESIDE
from tasks.examples.styles import STYLES

ROWS = 20_000
MODEL = "gpt-4o-mini-2024-07-18"


def exported(place: Path) -> Export:
    """The first rows of a made-up catalogue that have a title and a content, as chats."""
    catalogue.write(str(place / "catalogue.json"), 2 * ROWS)
    with (place / "catalogue.json").open() as stream:
        rows = [row for row in map(json.loads, stream) if row["title"].strip() and row["content"].strip()][:ROWS]
    texts = {name: [" ".join(row[name].split()) for row in rows] for name in ("title", "content")}
    data = lines.chat(pa.record_batch(texts), STYLES["sales"], "openai")
    (place / "train.jsonl").write_bytes(data)
    beside = [[str(row["uid"]) for row in rows], list(range(ROWS)), ["h"] * ROWS, [None] * ROWS]
    pq.write_table(pa.table(beside, schema=BESIDE), place / "train.parquet")
    return Export(
        shard=0, format="openai", style="sales", split="train", uri=str(place / "train.jsonl"),
        rows_uri=str(place / "train.parquet"), examples=ROWS, tokens=None, truncated=None, digest="d",
    )  # fmt: skip


def notebook(export: Export) -> int:
    """json.loads and one tokenizer call a text, without any rule: what counting alone costs that way."""
    counted = 0
    with open(export.uri) as stream:
        for line in stream:
            turns = json.loads(line)["messages"]
            counted += 3 + sum(3 + tokens.of_text(t["role"]) + tokens.of_text(t["content"]) for t in turns)
    return counted


def seconds(work: Callable[[], object]) -> float:
    """The median of three runs."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        export = exported(Path(folder))
        found = lint.of_export(export, MODEL, fix=False)
        assert found.export.tokens == notebook(export)
        ours, theirs = (
            seconds(lambda: lint.of_export(export, MODEL, fix=False)),
            seconds(lambda: notebook(export)),
        )
        size = Path(export.uri).stat().st_size / 1e6
        print(f"{ROWS:,} examples, {size:.1f} MB, {found.export.tokens:,} tokens, {len(found.findings)} findings kept")
        print(f"lint with every rule and the count {ours:6.2f} s\ncounting alone, text by text     {theirs:8.2f} s")


if __name__ == "__main__":
    main()
