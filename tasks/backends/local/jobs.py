"""Job folders of the local backend: what is in them, who holds them, and writing so that a kill leaves no half file.

`<root>/jobs/<key>/`: link.json, job.json, process.json, cancelled.json, status.json, losses.jsonl, heldout.json,
log.txt, checkpoints/, adapter/. A process that works on the job holds an exclusive flock on `lock` for all its life.
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
        """The record in a file of the folder; None where it is not there, or damaged: then it is told, once."""
        return store.read(str(self.path / name), model)

    def write(self, name: str, value: BaseModel | dict[str, Any], passing: bool = False) -> None:
        """Write a file of the folder, atomically. What is `passing` is soon written again: it may be lost."""
        store.write(str(self.path / name), value, derived=passing)

    @property
    def link(self) -> LocalLink:
        """What is worked on. DamagedError where it cannot be read: whoever starts the job writes it anew."""
        again = "run the same command again, it is written anew"
        stored = store.read(str(self.path / "link.json"), LocalLink, again)
        if stored is None:
            raise DamagedError(f"{str(self.path / 'link.json')!r} is gone: {again}")
        return stored

    @property
    def status(self) -> JobStatus:
        """What was last written; queued where nothing was."""
        return self.read("status.json", JobStatus) or JobStatus(state="queued")

    @property
    def points(self) -> tuple[LossPoint, ...]:
        """Loss by step; a line that was cut by a kill, or damaged, is left out."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.path / "losses.jsonl").read_bytes().split(b"\n")[:-1]:
                with suppress(ValueError):
                    found.append(LossPoint.model_validate(store.opened(line)))
        return tuple(found)

    def keep_points(self, last: int) -> None:
        """Forget the points after step `last`: they will be made again from the checkpoint of that step."""
        kept = [store.sealed(p.model_dump(mode="json")) for p in self.points if p.step <= last]
        with store.writing(str(self.path / "losses.jsonl")) as stream:
            stream.write("".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def add_point(self, point: LossPoint) -> None:
        with (self.path / "losses.jsonl").open("a") as stream:
            stream.write(json.dumps(store.sealed(point.model_dump(mode="json"))) + "\n")

    def mark_whole(self, checkpoint: Path, step: int) -> None:
        """Say that a checkpoint is written to its end, and what its files are."""
        store.write(str(checkpoint / WHOLE), Whole(step=step, files=_files(checkpoint)))

    def whole_checkpoint(self) -> Path | None:
        """The newest checkpoint whose files are as they were written; half and damaged ones are passed over."""
        found = []
        for mark in self.checkpoints.glob(f"*/{WHOLE}"):
            whole = store.read(str(mark), Whole)
            if whole is not None:
                found.append((whole.step, mark.parent, whole.files))
        for _, folder, files in sorted(found, reverse=True):
            if not files or files == _files(folder):  # an older version wrote down no files
                return folder
            log.warning("checkpoint %r is damaged: an earlier one is taken", str(folder))
        return None

    def sign(self, process: psutil.Process | None = None) -> None:
        """Write down which process (else: this one) works on the job."""
        self.write("process.json", processes.identity(process))

    @property
    def process(self) -> psutil.Process | None:
        """The process that works on the job; None where it is gone (a number used again by another does not count)."""
        return processes.alive(self.read("process.json"))

    @contextmanager
    def lock(self) -> Iterator[int | None]:
        """The exclusive lock as a file descriptor, or None where another process holds it. Closed at the end; a child
        that inherited the descriptor goes on holding it."""
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
