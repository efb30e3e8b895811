"""Speed and memory of prepare beside other ways to do the same work: `python -m tests.benchmarks.prepare`.

Each way runs in a process of its own; wall and CPU seconds are those of the whole process tree, peak memory that of
its largest process. Ways take turns, so a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import catalogue, contenders

SIZES = (0.1, 0.5, 1.0, 2.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=catalogue.FULL, help=f"lines (default {catalogue.FULL:,})")
    parser.add_argument("--runs", type=int, default=1, help="runs of each way; the median counts")
    parser.add_argument("--ways", nargs="+", choices=contenders.WAYS, default=list(contenders.WAYS))
    parser.add_argument("--linear", action="store_true", help=f"also time {SIZES} times the rows, ours only")
    parser.add_argument("--folder", help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = _made(folder, options.rows)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
        for _ in range(options.runs):
            for way in options.ways:
                runs[way].append(measure(way, source, folder))
        table(runs, options.rows)
        if options.linear:
            linear(folder, options.rows)


def _made(folder: Path, rows: int) -> str:
    """A made-up catalogue of `rows` lines."""
    source = folder / f"catalogue-{rows}.json"
    size = catalogue.write(str(source), rows)
    print(f"catalogue of {rows:,} made-up lines, {size / 1e6:,.0f} MB")
    return str(source)


def measure(way: str, source: str, folder: Path) -> dict[str, Any]:
    """Run one way: its own JSON, and `wall`, `cpu` in seconds and `peak` in bytes."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        started = time.perf_counter()
        # Bytecode is kept as on any machine: compiling every import anew would be counted as work.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-m", "tests.benchmarks.contenders", way, source, work]
        process = psutil.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seconds: dict[int, float] = {}
        peak = 0
        while process.poll() is None:
            peak = max(peak, _look(process, seconds))
            time.sleep(0.05)
        wall = time.perf_counter() - started
        out, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"{way} failed ({process.returncode}):\n{error[-2_000:]}")
    return json.loads(out.splitlines()[-1]) | {"wall": wall, "cpu": sum(seconds.values()), "peak": peak}


def _look(process: psutil.Popen, seconds: dict[int, float]) -> int:
    """Note the CPU seconds so far of each process of the tree; the memory of the largest."""
    peak = 0
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for one in tree:
        try:
            times = one.cpu_times()
            seconds[one.pid] = times.user + times.system
            peak = max(peak, one.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return peak


def table(runs: dict[str, list[dict[str, Any]]], rows: int) -> None:
    """Medians, and how many times longer than ours each way took."""
    medians = {
        way: {k: statistics.median(r[k] for r in done) for k in ("wall", "cpu", "peak")} for way, done in runs.items()
    }
    ours = medians.get("shardtune")
    print(f"\nread + clean + Parquet + chat JSON lines, {rows:,} lines, median of {len(next(iter(runs.values())))}")
    print(f"{'way':<12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'kept':>12}{'x wall':>8}{'x CPU':>8}")
    for way, m in medians.items():
        if way == "flow":
            continue
        ratios = f"{m['wall'] / ours['wall']:>8.1f}{m['cpu'] / ours['cpu']:>8.1f}" if ours else ""
        print(f"{way:<12}{m['wall']:>9.1f}{m['cpu']:>9.1f}{m['peak'] / 1e6:>9.0f}{runs[way][0]['kept']:>12,}{ratios}")
    for way in ("shardtune", "flow"):
        if way in runs:
            steps = {s: statistics.median(r["steps"][s] for r in runs[way]) for s in runs[way][0]["steps"]}
            print(f"{way}: " + ", ".join(f"{step} {took:.1f} s" for step, took in steps.items()))
    if "flow" in runs:
        peak = medians["flow"]["peak"] / 1e6
        print(f"flow: shards worked on {runs['flow'][0]['made']}, peak {peak:,.0f} MB in the orchestrator's process")


def linear(folder: Path, rows: int) -> None:
    """Seconds per million lines at several sizes: the same when time is linear."""
    print("\nsize    lines      wall s  s per million lines  peak MB")
    for size in SIZES:
        lines = int(rows * size)
        source = _made(folder, lines)
        m = measure("shardtune", source, folder)
        print(f"{size:<6}{lines:>11,}{m['wall']:>9.1f}{m['wall'] / lines * 1e6:>17.2f}{m['peak'] / 1e6:>13.0f}")
        Path(source).unlink()


if __name__ == "__main__":
    main()
