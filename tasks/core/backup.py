"""Backup: all state in one folder or URI, taken while everything runs, and restored whole or not at all.

Databases are copied before files, because a file exists before a database names it. `manifest.json`, written last,
holds the digest of every file; a folder without it is no backup. What can be made again is left out. A backup contains
the Prefect server's Secret blocks and their encryption key: protect it like those secrets.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

import fsspec

from tasks.core import settings, store
from tasks.core.errors import BackupError, DamagedError
from tasks.core.models import Frozen

LEFT_OUT = ("index", "locks", "datasets", "server", "unsloth")  # can be made again, or belong to running processes
PASSING = (".lock", ".part", "-wal", "-shm", "-journal", ".pid", ".sock")
DATABASE = b"SQLite format 3\0"
BLOCK = 1 << 20
Part = Literal["here", "root"]  # the folder on this machine, and the root where that is in object storage


class File(Frozen):
    """One file of a backup, by its name below its part."""

    part: Part
    name: str
    size: int
    sha256: str


class Manifest(Frozen):
    """The files of a backup, and the paths they came from. `digest` covers all other fields."""

    made: str
    here: str
    root: str
    files: tuple[File, ...]
    elsewhere: tuple[str, ...]  # state that lies with a server and is not in this backup
    digest: str = ""

    def sealed(self) -> str:
        return store.digest_of(self.model_dump(mode="json", exclude={"digest"}))


def backup(target: str) -> Manifest:
    """Copy the state of the present settings to `target`. BackupError where that holds a backup, or is inside it."""
    here, root = settings.local_root(), settings.root()
    there = store.local(target)
    if there is not None and there.resolve().is_relative_to(here):
        raise BackupError(f"{target!r} is inside the state {str(here)!r}: name a folder outside of it")
    if store.exists(store.join(target, "manifest.json")):
        raise BackupError(f"{target!r} already holds a backup: name another folder")
    if there is not None and not there.exists():
        there.mkdir(parents=True, mode=0o700)
    files, gone = [], set()
    for part, name in [*_listed(here), *(("root", name) for name in _objects(root))]:
        try:
            files.append(_kept(part, name, target))
        except FileNotFoundError:  # deleted since it was listed
            gone.add(name.rpartition("/")[0])
    # `whole.json` marks a complete checkpoint. One that was being deleted must not look complete in the backup.
    files = [f for f in files if not (f.name.endswith("/whole.json") and f.name.rpartition("/")[0] in gone)]
    if not files:
        raise BackupError(f"there is no state at {str(here)!r}: set {settings.ROOT_VARIABLE} to a root")
    made = Manifest(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        here=str(here),
        root=root,
        files=tuple(files),
        elsewhere=tuple(_elsewhere(here)),
    )
    made = made.model_copy(update={"digest": made.sealed()})
    store.write_json(store.join(target, "manifest.json"), made.model_dump(mode="json"))
    return made


def check(source: str) -> Manifest:
    """Read the whole backup. BackupError where it is none, or a file differs from its digest."""
    name = store.join(source, "manifest.json")
    try:
        made = store.read(name, Manifest, lost="use another backup")
    except DamagedError as error:
        raise BackupError(str(error)) from error
    if made is None:
        raise BackupError(f"{source!r} has no manifest.json: it is no backup, or an unfinished one; make a new backup")
    if made.digest != made.sealed():
        raise BackupError(f"{name!r} is damaged: use another backup")
    for file in made.files:
        with _opened(source, file) as stream:
            _same(source, file, _digest(iter(lambda: stream.read(BLOCK), b"")))
    return made


def restore(source: str, force: bool = False) -> tuple[Manifest, str | None]:
    """Restore a backup to its original path. Returns its manifest, and the folder of the former state (`force`).

    The whole backup is checked before anything is changed. Records hold full paths, so the root must be the original
    path, or one that a link at the original path leads to. BackupError where it is not, or where the root is not empty.
    """
    made = check(source)
    here, root = settings.local_root(), settings.root()
    if Path(made.here).resolve() != here or (root != made.root and "://" in root + made.root):
        raise BackupError(
            f"{source!r} is the state of {made.root!r} and its records hold that path; the root is {root!r}: set "
            f"{settings.ROOT_VARIABLE}={made.root}, or make that path a link to {str(here)!r}"
        )
    used = here.exists() and any(path.is_file() for path in here.rglob("*"))
    if not force and (used or _objects(root)):
        raise BackupError(f"{root!r} is not empty: stop the processes that use it, then --force moves it aside")
    new = here.with_name(f".{here.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        for file in made.files:
            to = store.join(root if file.part == "root" else str(new), file.name)
            with _opened(source, file) as stream, store.writing(to) as out:
                _same(source, file, _digest(_through(stream, out)))
        aside = _aside(here) if here.exists() else None
        new.mkdir(parents=True, exist_ok=True)
        new.rename(here)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return made, str(aside) if aside and used else None


def _aside(here: Path) -> Path:
    """Rename the present state; nothing is deleted."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return here.rename(here.with_name(f"{here.name}.before-{stamp}-{uuid.uuid4().hex[:4]}"))


def _listed(here: Path) -> list[tuple[Part, str]]:
    """Every file that belongs in a backup, databases first."""
    listed = []
    for path in here.rglob("*"):
        name = path.relative_to(here)
        if name.parts[0] in LEFT_OUT or path.name.endswith(PASSING) or path.name == "lock" or not path.is_file():
            continue
        listed.append((not _is_database(path), name.as_posix()))
    return [("here", name) for _, name in sorted(listed)]


def _objects(root: str) -> list[str]:
    """Names of all objects below a root in object storage; none where the root is a folder."""
    if "://" not in root:
        return []
    fs, base = fsspec.core.url_to_fs(root)
    return sorted(name.removeprefix(f"{base.rstrip('/')}/") for name in fs.find(base))


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(DATABASE)) == DATABASE
    except OSError:
        return False


def _kept(part: Part, name: str, target: str) -> File:
    """Copy one file into the backup."""
    source = store.join(settings.root() if part == "root" else str(settings.local_root()), name)
    with tempfile.TemporaryDirectory() as folder:
        if part == "here" and _is_database(Path(source)):
            source = _snapshot(Path(source), Path(folder) / "copy.db")
        with store.reading(source) as stream, store.writing(store.join(target, part, name)) as out:
            size, digest = _digest(_through(stream, out))
    return File(part=part, name=name, size=size, sha256=digest)


def _snapshot(source: Path, copy: Path) -> str:
    """A consistent copy of a database, even while other processes write to it."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=60)) as live,
        closing(sqlite3.connect(copy)) as still,
    ):
        live.backup(still)
    return str(copy)


def _through(stream: IO[bytes], out: IO[bytes]) -> Iterator[bytes]:
    """The bytes of `stream`, written to `out` as they pass."""
    while block := stream.read(BLOCK):
        out.write(block)
        yield block


def _digest(blocks: Iterable[bytes]) -> tuple[int, str]:
    size, hasher = 0, hashlib.sha256()
    for block in blocks:
        size += len(block)
        hasher.update(block)
    return size, hasher.hexdigest()


def _opened(source: str, file: File) -> IO[bytes]:
    if ".." in file.name.split("/") or file.name.startswith("/"):
        raise BackupError(
            f"{source!r} names a file {file.name!r} outside of the state: shardtune did not make this backup"
        )
    try:
        return store.reading(store.join(source, file.part, file.name))
    except FileNotFoundError as error:
        raise BackupError(f"{source!r} lacks {file.name!r}: use another backup") from error


def _same(source: str, file: File, measured: tuple[int, str]) -> None:
    if measured != (file.size, file.sha256):
        raise BackupError(f"{file.name!r} in {source!r} is damaged (its digest differs): use another backup")


def _elsewhere(here: Path) -> Iterator[str]:
    """Sentences about state outside the root, which this backup does not contain."""
    uri = settings.tracking_uri()
    if not uri.startswith("sqlite") and not (here / "mlflow.db").exists():
        yield "MLflow's store and artifacts are on its server: see docs/operate.md"
    if not (here / "prefect" / "prefect.db").exists():
        yield "Prefect's runs, schedules and blocks are on its server: see docs/operate.md"
