"""Jobs: the folders of the local backend, their files, their lock, and writes that leave no half file after a kill.

`<root>/jobs/<key>/`: link.json, job.json, process.json, cancelled.json, status.json, losses.jsonl, heldout.json,
log.txt, checkpoints/, adapter/. The process that works on the job keeps an exclusive flock on `lock` until it ends.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, overload

import psutil
from pydantic import BaseModel, Field

from tasks.backends.contract import JobStatus, Link, LossPoint
from tasks.core import processes, settings, store
from tasks.core.errors import DamagedError
from tasks.core.models import Frozen
from tasks.recipe.tuning import LocalTune

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
WHOLE = "whole.json"


class Whole(Frozen):
    """The mark of a checkpoint that was written to its end: the SHA-256 of each of its files."""

    step: int
    files: dict[str, str] = Field(default_factory=dict)


def _files(folder: Path) -> dict[str, str]:
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != WHOLE)
    return {str(path.relative_to(folder)): store.file_digest(str(path)) for path in there}


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

    @overload
    def read(self, name: str, model: type[M]) -> M | None: ...
    @overload
    def read(self, name: str, model: None = None) -> dict[str, Any] | None: ...
    def read(self, name: str, model: type[M] | None = None) -> M | dict[str, Any] | None:
        """The record in a file of the folder; None if it is missing or damaged. Damage is logged once."""
        return store.read(str(self.path / name), model)

    def write(self, name: str, value: BaseModel | dict[str, Any], passing: bool = False) -> None:
        """Write a file of the folder, atomically. A `passing` one need not survive a power cut."""
        store.write(str(self.path / name), value, derived=passing)

    @property
    def link(self) -> LocalLink:
        """The link of the job. DamagedError if it cannot be read; starting the job writes it again."""
        again = "run the same command again, it is written anew"
        stored = store.read(str(self.path / "link.json"), LocalLink, again)
        if stored is None:
            raise DamagedError(f"{str(self.path / 'link.json')!r} is gone: {again}")
        return stored

    @property
    def status(self) -> JobStatus:
        """The last status; queued if there is none."""
        return self.read("status.json", JobStatus) or JobStatus(state="queued")

    @property
    def points(self) -> tuple[LossPoint, ...]:
        """Loss by step, without lines that are damaged or were cut by a kill."""
        points = []
        with suppress(FileNotFoundError):
            for line in (self.path / "losses.jsonl").read_bytes().split(b"\n")[:-1]:
                with suppress(ValueError):
                    points.append(LossPoint.model_validate(store.opened(line)))
        return tuple(points)

    def keep_points(self, last: int) -> None:
        """Delete the points after step `last`: training from the checkpoint of that step makes them again."""
        kept = [store.sealed(p.model_dump(mode="json")) for p in self.points if p.step <= last]
        with store.writing(str(self.path / "losses.jsonl")) as stream:
            stream.write("".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def add_point(self, point: LossPoint) -> None:
        with (self.path / "losses.jsonl").open("a") as stream:
            stream.write(json.dumps(store.sealed(point.model_dump(mode="json"))) + "\n")

    def mark_whole(self, checkpoint: Path, step: int) -> None:
        """Mark a checkpoint as complete, with the digests of its files."""
        store.write(str(checkpoint / WHOLE), Whole(step=step, files=_files(checkpoint)))

    def whole_checkpoint(self) -> Path | None:
        """The newest complete checkpoint whose files are unchanged; None if there is none."""
        marked = []
        for mark in self.checkpoints.glob(f"*/{WHOLE}"):
            whole = store.read(str(mark), Whole)
            if whole is not None:
                marked.append((whole.step, mark.parent, whole.files))
        for _, folder, files in sorted(marked, reverse=True):
            if not files or files == _files(folder):  # an older version recorded no digests
                return folder
            log.warning("checkpoint %r is damaged: an earlier one is taken", str(folder))
        return None

    def sign(self, process: psutil.Process | None = None) -> None:
        """Record which process (default: this one) works on the job."""
        self.write("process.json", processes.identity(process))

    @property
    def process(self) -> psutil.Process | None:
        """The process that works on the job; None if it is gone. A reused process number does not count."""
        return processes.alive(self.read("process.json"))

    @contextmanager
    def lock(self) -> Iterator[int | None]:
        """The exclusive lock as a file descriptor, or None if another process has it. It is closed at the end; a child
        that inherited the descriptor keeps the lock."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield handle
        finally:
            os.close(handle)

    def is_locked(self) -> bool:
        """Whether a process works on the job now."""
        with self.lock() as handle:
            return handle is None
