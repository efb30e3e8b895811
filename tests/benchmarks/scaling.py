"""Scaling: prepare with one and two workers, here and on Dask, and what the engine costs.

`python -m tests.benchmarks.scaling [--rows N]`. Ways take turns, so a busy machine is busy for all of them. The root is
a folder that the workers share by its file:// address: a simulated object store would be the busiest process of a small
machine. CPU seconds are those of the flow's process, its pool and the Dask workers; scheduler, Prefect server and
start-up of all processes are apart.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.flows import conftest

ROWS, PER = 300_000, 10_000
TINY = 64  # shards of two lines each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"lines (default {ROWS:,})")
    parser.add_argument("--per", type=int, default=PER, help=f"lines in a shard (default {PER:,})")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way; the median counts")
    options = parser.parse_args()
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as name, prefect_test_harness(server_startup_timeout=conftest.STARTUP):
        folder = Path(name)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} when this began", flush=True)
        with clusters(folder) as addresses:
            work(folder, addresses, options.rows, options.per, options.runs)
            tiny(folder, addresses, options.runs)


@contextmanager
def clusters(folder: Path) -> Iterator[dict[int, Any]]:
    """A Dask cluster of one worker and one of two, each worker with one thread."""
    from tests.kit.cluster import running

    with running(folder / "one", "a") as one, running(folder / "two", "a", "b") as two:
        yield {1: one, 2: two}


def work(folder: Path, clusters: dict[int, Any], rows: int, per: int, runs: int) -> None:
    """The table of one and two workers, here and on Dask."""
    from deployments.demo import catalogue

    source = folder / "catalogue.json"
    size = catalogue.write(str(source), rows)
    for count, cluster in clusters.items():
        once(folder, source, cluster, count, per)  # imports, and files in the page cache
    done = taken(runs, lambda cluster, count: once(folder, source, cluster, count, per), clusters)
    print(f"\n{rows:,} lines, {size / 1e6:,.0f} MB, {-(-rows // per)} shards, median of {runs}, seconds")
    print(
        f"{'way, workers':<14}{'wall':>8}{'CPU':>8}{'of flow':>9}{'of busiest worker':>19}{'x one: wall':>13}{'CPU':>7}"
    )
    for (way, count), (wall, flow, busiest, cpu) in done.items():
        first = done[way, 1]
        # On idle processors, the flow's own seconds and those of the busiest worker follow each other.
        ratios = f"{first[0] / wall:>13.2f}{(first[1] + first[2]) / (flow + busiest):>7.2f}"
        print(f"{way + ', ' + str(count):<14}{wall:>8.2f}{cpu:>8.2f}{flow:>9.2f}{busiest:>19.2f}{ratios}", flush=True)


def tiny(folder: Path, clusters: dict[int, Any], runs: int) -> None:
    """Milliseconds a shard, where a shard is two lines: nearly all of it is the engine's."""
    from deployments.demo import catalogue
    from tasks.catalogue import batch

    source = folder / "tiny.json"
    catalogue.write(str(source), 2 * TINY)
    print(f"\n{TINY} shards of 2 lines, median of {runs}: milliseconds a shard")
    print(f"{'way, workers':<14}{'batches of':>11}{'wall':>8}{'CPU':>8}")
    before = batch.SIZE
    for size in (before, 1):
        batch.SIZE = size
        done = taken(runs, lambda cluster, count: once(folder, source, cluster, count, 2), clusters)
        for (way, count), (wall, *_, cpu) in done.items():
            each = "".join(f"{spent / TINY * 1e3:>8.1f}" for spent in (wall, cpu))
            print(f"{way + ', ' + str(count):<14}{'at most ' + str(size):>11}{each}", flush=True)
    batch.SIZE = before


Taken = tuple[float, float, float, float]  # seconds: wall; CPU of the flow, of the busiest worker, of all


def taken(runs: int, run: Any, clusters: dict[int, Any]) -> dict[tuple[str, int], Taken]:
    """Medians by way, run in turns."""
    ways = [(way, count) for way in ("here", "dask") for count in clusters]
    each: dict[tuple[str, int], list[Taken]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, count in ways:
            each[way, count].append(run(clusters[count] if way == "dask" else None, count))
    return {way: tuple(statistics.median(column) for column in zip(*told, strict=True)) for way, told in each.items()}


def once(folder: Path, source: Path, cluster: Any, count: int, per: int) -> Taken:
    """One prepare, from nothing."""
    from flows.prepare import prepare
    from tasks.core import settings
    from tasks.recipe.model import Recipe

    recipe = Recipe.model_validate({"catalogue": {"uri": str(source), "lines_per_shard": per}})
    with tempfile.TemporaryDirectory(dir=folder) as root:
        own = {"SHARDTUNE_WORKERS": str(count), settings.ROOT_VARIABLE: f"file://{root}"}
        os.environ.update(own | {settings.DASK_VARIABLE: cluster.address if cluster else ""})
        started, before = time.perf_counter(), seconds(cluster)
        prepared = prepare(recipe)
        wall = time.perf_counter() - started
        flow, pool, *workers = (after - then for after, then in zip(seconds(cluster), before, strict=True))
        assert prepared.made == len(prepared.shards)
    # The pool's processes have ended and are counted together; each of them did about the same.
    return wall, flow, max(workers, default=pool / count), flow + pool + sum(workers)


def seconds(cluster: Any) -> list[float]:
    """CPU seconds so far of this process, of those that it has seen end, and of each Dask worker."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [one.ru_utime + one.ru_stime for one in spent] + (cluster.seconds() if cluster else [])


if __name__ == "__main__":
    main()
