"""Index: building and asking, beside bm25s and DuckDB's full-text search, on a made-up catalogue of the real size.

`python -m tests.benchmarks.index [--rows N]`. Each way runs in a process of its own; DuckDB's extension `fts` comes
from its own site, so where it is not installed that way is left out, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deployments.demo import catalogue
from tasks.answers import index, practice
from tasks.answers.finding import find
from tasks.core import settings
from tasks.core.models import CleanShard
from tasks.recipe import loader

ROWS = 600  # that questions are made from, about two each


def shards_of(place: Path) -> list[CleanShard]:
    return [CleanShard.model_validate(s) for s in json.loads((place / "shards.json").read_text())]


def rows_of(place: Path, columns: list[str]) -> list[dict[str, Any]]:
    return [row for s in shards_of(place) for row in pq.read_table(s.uri, columns=columns).to_pylist()]


def questions(place: Path) -> list[str]:
    """What every way is asked; made by another process, whose memory is not measured."""
    return list(json.loads((place / "questions.json").read_text()))


def made(opened: index.Index) -> list[str]:
    """Questions of all kinds, with and without a row, made by another seed than those that calibrate."""
    return [one.text for one in practice.practised(opened, ROWS, 1) if not one.hidden]


def shardtune_build(place: Path) -> None:
    index.update(place / "tantivy", shards_of(place))


def shardtune_append(place: Path) -> None:
    """The last shard, into an index that has all others."""
    index.update(place / "grown", shards_of(place))


def shardtune_ask(place: Path) -> list[float]:
    opened = index.Index(place / "tantivy")
    return timed(questions(place), lambda text: find(text, opened))


def bm25s_build(place: Path) -> None:
    import bm25s

    texts = [f"{row['title']} {row['content']}" for row in rows_of(place, ["title", "content"])]
    made = bm25s.BM25()
    made.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    made.save(str(place / "bm25s"))


def bm25s_ask(place: Path) -> list[float]:
    import bm25s

    opened = bm25s.BM25.load(str(place / "bm25s"), mmap=True)

    def ask(text: str) -> Any:
        return opened.retrieve(bm25s.tokenize([text], show_progress=False), k=5, show_progress=False)

    return timed(questions(place)[:200], ask)


def duckdb_build(place: Path) -> None:
    import duckdb

    con = duckdb.connect(str(place / "fts.duckdb"))
    con.load_extension("fts")
    files = [s.uri for s in shards_of(place)]
    con.execute("create table rows as select uid, title, content from read_parquet(?)", [files])
    con.execute("pragma create_fts_index('rows', 'uid', 'title', 'content')")


def duckdb_ask(place: Path) -> list[float]:
    import duckdb

    con = duckdb.connect(str(place / "fts.duckdb"), read_only=True)
    con.load_extension("fts")
    asked = "select uid, fts_main_rows.match_bm25(uid, ?) as s from rows where s is not null order by s desc limit 5"
    return timed(questions(place)[:200], lambda text: con.execute(asked, [text]).fetchall())


def timed(asked: list[str], ask: Callable[[str], Any]) -> list[float]:
    """Milliseconds of each question, after fifty to warm up."""
    for text in asked[:50]:
        ask(text)
    found = []
    for text in asked:
        began = time.perf_counter()
        ask(text)
        found.append(1_000 * (time.perf_counter() - began))
    return sorted(found)


WAYS = (shardtune_build, shardtune_append, shardtune_ask, bm25s_build, bm25s_ask, duckdb_build, duckdb_ask)


def alone(way: str, place: Path) -> None:
    """One way in this process; its numbers as JSON."""
    began, cpu = time.perf_counter(), time.process_time()
    found = globals()[way](place) or []
    told = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    # Not ru_maxrss: a process begins with its parent's.
    status = Path("/proc/self/status").read_text()
    # `own_mb` is without the pages of mapped files, which the system takes back when it needs memory.
    for name, line in (("peak_mb", "VmHWM"), ("own_mb", "RssAnon")):
        told[name] = int(re.search(rf"{line}:\s+(\d+)", status)[1]) / 1024
    if found:
        told |= {"p50": found[len(found) // 2], "p95": found[int(len(found) * 0.95)]}
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=catalogue.FULL, help="catalogue lines")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        alone(options.way, Path(options.place))
        return
    place = Path(tempfile.mkdtemp(prefix="shardtune-bench-"))
    try:
        compare(place, options.rows)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def compare(place: Path, rows: int) -> None:
    """A line for each way."""
    os.environ[settings.ROOT_VARIABLE] = str(place / "root")
    settings.enter()
    from flows.prepare import prepare

    catalogue.write(str(place / "catalogue.json"), rows)
    prepared = prepare(
        loader.load(None, [f"catalogue.uri={place}/catalogue.json", f"catalogue.lines_per_shard={-(-rows // 70)}"])
    )
    (place / "shards.json").write_text(json.dumps([s.model_dump(mode="json") for s in prepared.shards]))
    print(f"{prepared.kept:,} rows in {len(prepared.shards)} shards")
    index.update(place / "grown", prepared.shards[:-1])
    (place / "questions.json").write_text(json.dumps(made(index.Index(place / "grown"))))
    print(f"{'way':20}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'own MB':>9}{'p50 ms':>9}{'p95 ms':>9}")
    for way in WAYS:
        call = [sys.executable, "-m", "tests.benchmarks.index", "--way", way.__name__, "--place", str(place)]
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode:
            print(f"{way.__name__:20}  left out: {(done.stderr.strip().splitlines() or ['?'])[-1][:90]}")
            continue
        told = json.loads(done.stdout.splitlines()[-1])
        numbers = [told["wall"], told["cpu"], told["peak_mb"], told["own_mb"], told.get("p50"), told.get("p95")]
        print(f"{way.__name__:20}" + "".join(f"{'':>9}" if n is None else f"{n:9.1f}" for n in numbers), flush=True)


if __name__ == "__main__":
    main()
