"""Outages: faults that want a place of their own. A full disk, a killed trainer, PostgreSQL and the object store."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.backends.local.jobs import Folder
from tests.drills import stores
from tests.drills.drill import Chain, Drill, Row, ended, running, settled, until
from tests.kit import models

ROOM = 512  # megabytes of the small disk
FULL = 40.0  # seconds
NAMED = ("No space left on device", "database or disk is full")
TINY = (
    "tune.engine=transformers",
    "tune.load_in_4bit=false",
    "tune.max_length=192",
    "tune.batch_size=4",
    "tune.max_steps=120",
    "tune.checkpoint_steps=10",
)


def trainer(drill: Drill, name: str) -> Row:
    """kill -9 of the process that trains a tiny model on this machine."""
    base = models.build(drill.place / "tiny", "llama")
    before = jobs(drill)
    chain = drill.chain(name, f"tune.base_model={base}", *TINY, recipe="demo")
    chain.begin()
    until(lambda: any(len(Folder(path).points) >= 15 for path in jobs(drill) - before), "nothing is trained")
    (folder,) = map(Folder, jobs(drill) - before)
    assert folder.process is not None
    folder.process.kill()
    row = ended(chain, f"kill -9 of the trainer at step {len(folder.points)}")
    steps = [point.step for point in folder.points]
    wrong = [] if steps == sorted(set(steps)) and len(steps) == 120 else [f"its steps are {steps}"]
    made = len(jobs(drill) - before)
    return Row(row.happened, [*row.wrong, *wrong, *([f"{made} jobs"] if made != 1 else [])])


def jobs(drill: Drill) -> set[Path]:
    """Folders of the jobs of this machine."""
    return set((drill.service.root / "jobs").glob("*"))


def disk(place: Path) -> Row:
    """The disk of the root is full in the middle of the work, and is freed."""
    with small(place) as root:
        if root is None:
            return Row("not run: needs root, to mount a small disk", [])
        with running(place, root) as drill:
            chain = drill.midway("disk")
            filled = fill(root / "filler")
            time.sleep(FULL)
            said = named(drill, chain)
            (root / "filler").unlink()
            until(drill.well, "the servers are not well after the disk was freed")
            wrong = chain.driven()
            if [run["state_type"] for run in chain.runs()][:1] == ["FAILED"]:
                chain.begin()
                wrong = chain.driven()
            wrong += [] if said else ["nothing named the full disk"]
            states = ", ".join(run["state_type"] for run in reversed(chain.runs()))
            return Row(f"{filled} MB filled for {FULL:.0f} s, told as {said!r}; retrains: {states}", wrong)


@contextmanager
def small(place: Path) -> Iterator[Path | None]:
    """A disk of a few hundred megabytes; None where this user may not mount one."""
    at = place / "small"
    at.mkdir(parents=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "shardtune", str(at)]
    if os.geteuid() != 0 or subprocess.run(call, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield at / "root"
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(path: Path) -> int:
    """Write until there is no room; megabytes written."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return stream.tell() >> 20


def named(drill: Drill, chain: Chain) -> str:
    """How the full disk was told to whoever looks: by a flow run, or by a log of the service."""
    told = [str(run["state"]["message"]) for run in settled(chain.runs) or []]
    told += [path.read_text(errors="replace") for path in (drill.service.root / "logs").glob("*.log")]
    told.append(drill.service.log.read_text(errors="replace"))
    return next((words for words in NAMED if any(words in text for text in told)), "")


APART: dict[str, Callable[[Path], Row]] = {"disk": disk, **stores.APART}
