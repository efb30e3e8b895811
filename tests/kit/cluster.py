"""A Dask cluster of real processes on loopback, whose workers share nothing with each other or with who starts them.

Each has a home, a working folder, a folder for temporary files and a root of its own, and an environment that holds
the object storage's address and credentials and little else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

TOP = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds until the scheduler says where it is
LOOPBACK = ["--host", "127.0.0.1", "--no-dashboard"]


class Cluster:
    """A scheduler and its workers, by name."""

    def __init__(self, place: Path) -> None:
        self._place, self._running = place, dict[str, psutil.Popen]()
        place.mkdir(parents=True, exist_ok=True)
        address_file = place / "scheduler.json"
        self._start("scheduler", "dask_scheduler", "--port", "0", "--scheduler-file", str(address_file))
        end = time.monotonic() + PATIENCE
        while not address_file.exists() or not address_file.read_text():
            assert self._running["scheduler"].poll() is None, self.log("scheduler")
            assert time.monotonic() < end
            time.sleep(0.05)
        self.address: str = json.loads(address_file.read_text())["address"]

    def add(self, name: str) -> psutil.Popen:
        """One more worker process, with one thread."""
        return self._start(name, "dask_worker", self.address, "--name", name, "--no-nanny", "--nthreads", "1")

    def home(self, name: str) -> Path:
        """All that a process can call its own."""
        return self._place / name

    def log(self, name: str) -> str:
        """What a process said."""
        return (self._place / f"{name}.log").read_text()

    def worker(self, name: str) -> psutil.Popen:
        """The process of a worker."""
        return self._running[name]

    def seconds(self) -> list[float]:
        """CPU seconds that each worker has spent."""
        times = [process.cpu_times() for name, process in self._running.items() if name != "scheduler"]
        return [one.user + one.system for one in times]

    def _start(self, name: str, module: str, *options: str) -> psutil.Popen:
        home = self.home(name)
        for folder in ("work", "tmp"):
            (home / folder).mkdir(parents=True)
        with (self._place / f"{name}.log").open("w") as log:
            self._running[name] = psutil.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options, *LOOPBACK],
                env=_environment(home), cwd=home / "work", stdout=log, stderr=log,
            )  # fmt: skip
        return self._running[name]

    def stop(self) -> None:
        """End all that runs."""
        for process in self._running.values():
            process.kill()
            process.wait()


def _environment(home: Path) -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name == "PATH"}
    own = {"HOME": home, "TMPDIR": home / "tmp", "SHARDTUNE_ROOT": home / "root", "PREFECT_HOME": home / "prefect"}
    fixed = {"PYTHONPATH": str(TOP), "SHARDTUNE_WORKERS": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return passed | fixed | {name: str(value) for name, value in own.items()}


@contextmanager
def running(place: Path, *names: str) -> Iterator[Cluster]:
    """A scheduler and a worker of each name; all of them end with the `with`."""
    cluster = Cluster(place)
    try:
        for name in names:
            cluster.add(name)
        yield cluster
    finally:
        cluster.stop()
