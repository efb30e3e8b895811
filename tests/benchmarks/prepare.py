"""Speed and memory of prepare beside other ways to do the same work: `python -m tests.benchmarks.prepare`.

Each way runs in a process of its own; wall and CPU seconds are those of the whole process tree, peak memory that of
its largest process. Ways take turns, so a busy machine is busy for all of them; CPU seconds suffer less from it. The
flow is timed inside its process, with the orchestrator's start-up apart.
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

from deployments.demo import catalogue
from tests.benchmarks import contenders

SIZES = (0.1, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=catalogue.FULL, help=f"lines (default {catalogue.FULL:,})")
    parser.add_argument("--runs", type=int, default=1, help="runs of each way; the median counts")
    parser.add_argument("--ways", nargs="+", choices=contenders.WAYS, default=list(contenders.WAYS))
    parser.add_argument(
        "--sizes", nargs="*", type=float, default=SIZES, help="times the rows, ours alone (default 0.1 1; try 4)"
    )
    parser.add_argument("--folder", help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = _made(folder, options.rows)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
        for _ in range(options.runs):
            for way in options.ways:
                runs[way].append(measure(way, source, folder))
        medians = {way: median(done) for way, done in runs.items()}
        table(medians, options.rows, options.runs)
        if "flow" in medians:
            again(medians["flow"], options.rows)
        if options.sizes:
            linear(folder, options.rows, options.sizes, medians.get("shardtune"))


def _made(folder: Path, rows: int) -> str:
    """A made-up catalogue of `rows` lines."""
    source = folder / f"catalogue-{rows}.json"
    size = catalogue.write(str(source), rows)
    print(f"catalogue of {rows:,} made-up lines, {size / 1e6:,.0f} MB, {os.cpu_count()} processors", flush=True)
    return str(source)


def measure(way: str, source: str, folder: Path) -> dict[str, Any]:
    """Run one way: its own JSON, and `wall`, `cpu` in seconds and `peak` in bytes."""
    os.sync()  # what others have written is on disk: nobody waits for it in their stead
    with tempfile.TemporaryDirectory(dir=folder) as work, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        # Bytecode is kept as on any machine: compiling every import anew would be counted as work.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-m", "tests.benchmarks.contenders", way, source, work]
        process = psutil.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        seconds: dict[int, float] = {}
        peak = 0
        while process.poll() is None:
            peak = max(peak, _look(process, seconds))
            time.sleep(0.05)
        wall = time.perf_counter() - started
        out, _ = process.communicate()
        errors.seek(0)
        error = errors.read()
    if process.returncode:
        raise SystemExit(f"{way} failed ({process.returncode}):\n{error[-2_000:]}")
    return {"wall": wall, "cpu": sum(seconds.values()), "peak": peak} | json.loads(out.splitlines()[-1])


def _look(process: psutil.Popen, seconds: dict[int, float]) -> int:
    """Note the CPU seconds so far of each process of the tree; the most memory that one of them ever held."""
    peak = 0
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for one in tree:
        try:
            times = one.cpu_times()
            seconds[one.pid] = times.user + times.system
            peak = max(peak, _most(one))
        except (psutil.NoSuchProcess, OSError):
            continue
    return peak


def _most(process: psutil.Process) -> int:
    """Linux keeps the high-water mark of resident memory; elsewhere what is resident now."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    marks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(marks[0]) * 1024 if marks else 0


def median(done: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number that the runs of one way told, one by one."""
    first = done[0]
    return {
        name: median([one[name] for one in done])
        if isinstance(value, dict)
        else statistics.median(o[name] for o in done)
        for name, value in first.items()
    }


def table(medians: dict[str, dict[str, Any]], rows: int, runs: int) -> None:
    """Seconds and memory of each way, and how many times longer than ours it took."""
    ours = medians.get("shardtune")
    print(f"\nread + clean + Parquet + chat JSON lines, {rows:,} lines, median of {runs}")
    print(f"{'way':<12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'kept':>12}{'x wall':>8}{'x CPU':>8}")
    for way, m in medians.items():
        ratios = f"{m['wall'] / ours['wall']:>8.1f}{m['cpu'] / ours['cpu']:>8.1f}" if ours else ""
        print(f"{way:<12}{m['wall']:>9.1f}{m['cpu']:>9.1f}{m['peak'] / 1e6:>9.0f}{m['kept']:>12,.0f}{ratios}")
    if ours:
        print("shardtune by step: " + ", ".join(f"{step} {took:.1f} s" for step, took in ours["steps"].items()))


def again(flow: dict[str, Any], rows: int) -> None:
    """What a run with nothing to do and a run with one shard more cost, beside what they may cost."""
    steps = flow["steps"]
    share = steps["full"] * flow["appended_lines"] / rows
    more = steps["appended"] - steps["no-op"]
    print(f"\nflow: the orchestrator's own start-up {steps['start-up']:.1f} s, not in the table")
    print(f"flow, nothing to do: {steps['no-op']:.1f} s for {flow['made']['no-op']:.0f} shards (at most 3 s)")
    print(f"flow, one shard appended: {steps['appended']:.1f} s for {flow['made']['appended']:.0f} shard, of which")
    print(f"  {more:.1f} s more than with nothing to do (at most {2 * share + steps['plan']:.1f} s: twice the shard's")
    print(f"  share of the full run, {share:.2f} s, and the planning pass, {steps['plan']:.2f} s)")


def linear(folder: Path, rows: int, sizes: list[float], known: dict[str, Any] | None) -> None:
    """Seconds per million lines at several sizes, ours alone: the same when time is linear."""
    done = []
    for size in sizes:
        lines = int(rows * size)
        if known is None or size != 1:
            source = _made(folder, lines)
            done.append((lines, measure("shardtune", source, folder)))
            Path(source).unlink()
        else:
            done.append((lines, known))
    print(f"\n{'lines':>12}{'wall s':>9}{'CPU s':>9}{'wall s per million':>20}{'peak MB':>9}")
    for lines, m in done:
        print(f"{lines:>12,}{m['wall']:>9.1f}{m['cpu']:>9.1f}{m['wall'] / lines * 1e6:>20.2f}{m['peak'] / 1e6:>9.0f}")


if __name__ == "__main__":
    main()
