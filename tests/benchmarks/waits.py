"""Waits: what each command costs beside its work. `python -m tests.benchmarks.waits [--base FOLDER] [--rounds N]`

CPU seconds are of the whole process tree, detached processes included: this process adopts every orphan below it
(PR_SET_CHILD_SUBREAPER), adds what has ended (RUSAGE_CHILDREN) to what still lives and was not there before.
So the start of a server counts for the command that started it; what a server of an earlier command used meanwhile is
shown behind a plus. `up` and the tiny link are told in wall seconds. With `--base` (a checkout of another commit with
an environment in .venv), both take turns on the same machine. Medians of the rounds; each round has a new root.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from deployments.demo import catalogue
from tests.kit import models

TOP = Path(__file__).parent.parent.parent
LINES = 200
ADOPT = 36  # PR_SET_CHILD_SUBREAPER
KEPT = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS")
TINY = (
    *("tune.engine=transformers", "tune.max_length=320", "tune.max_steps=4", "tune.warmup_steps=1"),
    *("tune.batch_size=4", "split.holdout_share=0.3", "export.train_per_shard=20", "export.holdout_per_shard=20"),
    *("forgetting=null", "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 12}"),
)
AT_MOST = {
    "--help": 0.3,
    "recipes": 0.5,
    "status": 1.5,
    "status, up": 1.5,
    "arrived": 1,
    "arrived, up": 1,
    "finetune, from its record": 3.5,
    "prepare, first": 9,
    "prepare, again": 3.5,
    "ask": 8,
    "up until ready (wall)": 25,
    "tiny link outside training (wall)": 20,
}


class Cost(NamedTuple):
    """What one command used: CPU seconds of its own tree and of servers that were there before, and wall seconds."""

    cpu: float
    servers: float
    wall: float
    said: str


def used() -> tuple[float, dict[tuple[int, float], float]]:
    """CPU seconds of all that has ended below this process, and of each process that lives, by number and start."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    ended, living = resource.getrusage(resource.RUSAGE_CHILDREN), {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            t = process.cpu_times()
            living[process.pid, process.create_time()] = t.user + t.system + t.children_user + t.children_system
    return ended.ru_utime + ended.ru_stime, living


class Side:
    """One checkout, with a root of its own for each round."""

    def __init__(self, name: str, top: Path) -> None:
        self.name, self.top, self.costs = name, top, defaultdict[str, list[Cost]](list)
        self.env = {key: value for key, value in os.environ.items() if key in KEPT}

    def command(self, words: Sequence[str]) -> list[str]:
        return [str(self.top / ".venv" / "bin" / "shardtune"), *words]

    def run(self, case: str, *words: str, fails: bool = False) -> str:
        """Run one command and keep what it cost; returns what it printed."""
        gone, there = used()
        began = time.monotonic()
        done = subprocess.run(self.command(words), cwd=self.top, env=self.env, capture_output=True, text=True)
        wall = time.monotonic() - began
        if done.returncode != (1 if fails else 0):
            raise SystemExit(f"{self.name}: {' '.join(words)} ended with {done.returncode}: {done.stderr[-800:]}")
        ended, living = used()
        own = ended - gone + sum(cpu for process, cpu in living.items() if process not in there)
        servers = sum(cpu - there[process] for process, cpu in living.items() if process in there)
        self.costs[case].append(Cost(own, servers, wall, done.stdout))
        return done.stdout

    def link(self, source: str, base: str) -> str:
        """A tiny model on a few rows, in wall seconds without its training; returns the id of its MLflow run."""
        sets = [word for one in (*TINY, f"tune.base_model={base}") for word in ("--set", one)]
        words = ("finetune", "--recipe", "demo", "--catalogue", source, *sets, "--json")
        told = json.loads(self.run("finetune, first", *words))
        trained = sum(
            json.loads(path.read_text())["facts"]["seconds"]
            for path in Path(self.env["SHARDTUNE_ROOT"], "jobs").rglob("status.json")
        )
        first = self.costs["finetune, first"][-1]
        self.costs["tiny link outside training (wall)"].append(first._replace(wall=first.wall - trained))
        self.run("finetune, from its record", *words)
        return str(told["mlflow_run_id"])

    def up(self, source: str) -> None:
        """Until it says that it is up; then the light commands beside it."""
        began = time.monotonic()
        service = subprocess.Popen(
            self.command(["up", "--port", "0", "--no-gpu"]),
            cwd=self.top,
            env=self.env | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert service.stdout is not None
        try:
            said = ""
            while not said.startswith("up, with"):
                said = service.stdout.readline()
                if not said:
                    raise SystemExit(f"{self.name}: `up` ended")
            self.costs["up until ready (wall)"].append(Cost(0, 0, time.monotonic() - began, said))
            self.run("status, up", "status")
            self.run("arrived, up", "arrived", source)
        finally:
            service.send_signal(signal.SIGINT)
            service.communicate()


def round_of(side: Side, source: str, base: str, quick: bool) -> None:
    """Every case once, in a new root; the server in the background is ended between two prepares and at the end."""
    with tempfile.TemporaryDirectory(prefix="shardtune-waits-") as folder:
        side.env["SHARDTUNE_ROOT"] = str(Path(folder) / "root")
        side.run("--help", "--help")
        side.run("recipes", "recipes")
        side.run("prepare, first", "prepare", "--catalogue", source)
        side.run("prepare, again", "prepare", "--catalogue", source)
        side.run("status", "status")
        side.run("arrived", "arrived", source, fails=True)
        down(side)
        side.run("prepare, again, no server yet", "prepare", "--catalogue", source)
        if not quick:
            run = side.link(source, base)
            title = json.loads(Path(source).read_text().splitlines()[0])["title"]
            side.run("ask", "ask", f"What is {title}?", "--model", f"run:{run}")
            side.up(source)
        down(side)


def down(side: Side) -> None:
    """End the server in the background, where this checkout has one."""
    subprocess.run(side.command(["down"]), cwd=side.top, env=side.env, capture_output=True)


def table(sides: Sequence[Side]) -> None:
    names = "".join(f"{side.name:>18}" for side in sides)
    print(f"\n{'CPU seconds (+ of earlier servers)':36}{names}{'at most':>10}")
    for case in sides[-1].costs:
        told = ""
        for side in sides:
            costs = side.costs.get(case, [])
            cpu, servers, wall = (median(one[n] for one in costs) if costs else 0.0 for n in range(3))
            told += f"{wall:>18.1f}" if "(wall)" in case else f"{f'{cpu:.2f} (+{servers:.2f})':>18}"
        print(f"{case:36}{told}{AT_MOST.get(case, ''):>10}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="a checkout of another commit, with an environment in .venv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="leave out training, `ask` and `up`")
    chosen = parser.parse_args()
    ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    sides = [Side("here", TOP)]
    if chosen.base:
        sides.insert(0, Side("before", chosen.base.resolve()))
    with tempfile.TemporaryDirectory(prefix="shardtune-waits-") as folder:
        source = str(Path(folder) / "catalogue.json")
        catalogue.write(source, LINES)
        base = models.build(Path(folder) / "model", "llama")
        for number in range(chosen.rounds):
            for side in sides:
                round_of(side, source, base, chosen.quick)
                print(f"round {number + 1} of {side.name} done", file=sys.stderr)
    table(sides)
    return 0


if __name__ == "__main__":
    sys.exit(main())
