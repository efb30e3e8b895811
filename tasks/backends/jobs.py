"""Job folders of the local backend: what is in them, who holds them, and writing so that a kill leaves no half file.

`<root>/jobs/<key>/`: link.json, job.json, process.json, cancelled.json, status.json, losses.jsonl, heldout.json,
log.txt, checkpoints/, adapter/. A process that works on the job holds an exclusive flock on `lock` for all its life.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tasks import processes, settings, store
from tasks.backends.contract import Link, LossPoint, Status
from tasks.tuning import LocalTune


class LocalLink(Link):
    """A link of the local backend."""

    tune: LocalTune


class Folder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints, self.adapter, self.log = path / "checkpoints", path / "adapter", path / "log.txt"

    @classmethod
    def of(cls, key: str) -> Folder:
        return cls(settings.local_root() / "jobs" / key)

    def read(self, name: str) -> Any:
        """The content of a JSON file of the folder; None where it is not there."""
        with suppress(FileNotFoundError):
            return store.read_json(str(self.path / name))
        return None

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder, atomically."""
        store.write_json(str(self.path / name), value)

    @property
    def link(self) -> LocalLink:
        return LocalLink.model_validate(self.read("link.json"))

    @property
    def status(self) -> Status:
        """What was last written; queued where nothing was."""
        written = self.read("status.json")
        return Status(state="queued") if written is None else Status.model_validate(written)

    @property
    def points(self) -> tuple[LossPoint, ...]:
        """Loss by step; a line cut by a kill is left out."""
        with suppress(FileNotFoundError):
            lines = (self.path / "losses.jsonl").read_text().split("\n")[:-1]
            return tuple(LossPoint.model_validate_json(line) for line in lines)
        return ()

    def keep_points(self, last: int) -> None:
        """Forget the points after step `last`: they will be made again from the checkpoint of that step."""
        kept = [p.model_dump_json() for p in self.points if p.step <= last]
        with store.writing(str(self.path / "losses.jsonl")) as stream:
            stream.write("".join(f"{line}\n" for line in kept).encode())

    def add_point(self, point: LossPoint) -> None:
        with (self.path / "losses.jsonl").open("a") as stream:
            stream.write(point.model_dump_json() + "\n")

    def whole_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written to its end; half ones are passed over."""
        found = [(json.loads(mark.read_text())["step"], mark.parent) for mark in self.checkpoints.glob("*/whole.json")]
        return max(found)[1] if found else None

    def sign(self, process: psutil.Process | None = None) -> None:
        """Write down which process (else: this one) works on the job."""
        self.write("process.json", processes.told(process))

    @property
    def process(self) -> psutil.Process | None:
        """The process that works on the job; None where it is gone (a number used again by another does not count)."""
        return processes.alive(self.read("process.json"))

    @contextmanager
    def held(self) -> Iterator[int | None]:
        """The exclusive lock as a file descriptor, or None where another process holds it. Closed at the end; a child
        that inherited the descriptor goes on holding it."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield handle
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        """Whether a process works on the job now."""
        with self.held() as handle:
            return handle is None
