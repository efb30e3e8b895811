"""Files under the root, local or in object storage: written atomically, and verified when read.

Every write goes to a temporary name first and is then renamed, so a half-written file is never read as whole. `write`
adds a seal, a digest of the content. `read` returns None where the file is damaged or of another version, the same as
where it is missing. Data files are verified by their digest (`same`, `check`); their size and time (`marks`) tell
cheaply whether they changed since. Paths are plain strings: local absolute paths, or URIs that fsspec opens.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast, overload

import fsspec

from tasks.core import settings
from tasks.core.errors import DamagedError

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)
M = TypeVar("M", bound="BaseModel")
SEAL = "sealed"
PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")
YOUNG = 5.0  # seconds; a younger temporary file may belong to a writer that has not locked it yet
_reported: set[str] = set()
_tidied: set[Path] = set()
_digests: dict[str, tuple[str, str]] = {}  # of each file that this process has hashed: its mark then, and its digest


def join(base: str, *parts: str) -> str:
    """`base/part/part`, for paths and URIs alike."""
    return "/".join([base.rstrip("/"), *parts])


def local(uri: str) -> Path | None:
    """The path of a local URI, or None where `uri` lies in object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at `uri`."""
    path = local(uri)
    if path is not None:
        return path.exists()
    fs, name = fsspec.core.url_to_fs(uri)
    return bool(fs.exists(name))


@contextmanager
def writing(uri: str, derived: bool = False) -> Iterator[IO[bytes]]:
    """Open `uri` for binary writing under a temporary name; it appears whole at the end, or not at all.

    Data and name are flushed to disk before this returns. `derived` skips the flush: a power loss may damage the file,
    but its digest then shows the damage and the file is made again.
    """
    path = local(uri)
    if path is None:
        # Object stores publish an object only when its upload is completed, so closing is the rename. A failed
        # body must abort instead: discard() drops the parts of an upload that never finished.
        fs, name = fsspec.core.url_to_fs(uri)
        stream = fs.open(name, "wb")
        try:
            yield cast(IO[bytes], stream)
        except BaseException:
            stream.discard()
            with suppress(AttributeError):
                stream.closed = True  # otherwise garbage collection would close the stream and upload half of it
            raise
        stream.close()
        return
    _folder(path.parent)
    tidy(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with temporary.open("wb") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)  # the system frees it when this process dies: see `tidy`
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), settings.mode(path))
            if not derived:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        if not derived:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    """Create the folder and its parents, each with the permissions of its place."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(settings.mode(folder, 0o777))


def _sync(folder: Path) -> None:
    """Flush the names of a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tidy(folder: Path) -> None:
    """Remove temporary files that killed processes left in `folder`; once per process and folder."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for left in [e.path for e in entries if PART.fullmatch(e.name) and e.is_file(follow_symlinks=False)]:
            _removed(left)


def _removed(part: str) -> None:
    """Remove a temporary file unless a live process, here or on a machine that shares the disk, holds its lock."""
    with suppress(OSError), open(part, "r+b") as stream:
        if time.time() - os.fstat(stream.fileno()).st_mtime > YOUNG:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(part)


def reading(uri: str, ahead: int | None = None) -> IO[bytes]:
    """Open `uri` for binary reading; object storage is asked for `ahead` bytes more than needed, or its default."""
    path = local(uri)
    if path is not None:
        return path.open("rb")
    fs, name = fsspec.core.url_to_fs(uri)
    return cast(IO[bytes], fs.open(name, "rb", block_size=ahead))


def write(uri: str, value: BaseModel | dict[str, Any], derived: bool = False) -> None:
    """Write a record, or a dict of JSON values, with its seal, atomically. See `writing` for `derived`."""
    write_json(uri, sealed(value if isinstance(value, dict) else value.model_dump(mode="json")), derived)


def claim(uri: str, value: BaseModel) -> bool:
    """Write a record as `write` does, but only where `uri` is free; returns whether it was.

    Of several machines only one gets True, on a disk and in object storage with conditional writes (S3, GCS). On a disk
    a reader may see it half written; it then counts as damaged.
    """
    values = value.model_dump(mode="json")
    data = json.dumps(sealed(values), ensure_ascii=False, indent=1).encode()
    path = local(uri)
    if path is not None:
        _folder(path.parent)
        try:
            with path.open("xb") as stream:
                os.fchmod(stream.fileno(), settings.mode(path))
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except FileExistsError:
            return False
        _sync(path.parent)
        return True
    fs, name = fsspec.core.url_to_fs(uri)
    try:
        fs.pipe_file(name, data, mode="create")
    except Exception as error:  # each library has its own error for "exists" and for "no conditional writes"
        fs.invalidate_cache()
        if fs.exists(name):  # perhaps our own write, repeated by the library after a lost answer
            return read(uri) == values
        log.warning(
            "%r cannot be written conditionally (%s); it is written without a condition", uri, type(error).__name__
        )
        write(uri, value)
    return True


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A dict of JSON values with the seal that `opened` checks."""
    return {**value, SEAL: digest_of(value)[:16]}


@overload
def read(uri: str, model: type[M], lost: str = "") -> M | None: ...
@overload
def read(uri: str, model: None = None, lost: str = "") -> dict[str, Any] | None: ...
def read(uri: str, model: type[M] | None = None, lost: str = "") -> M | dict[str, Any] | None:
    """Read a file of `write`, as `model` or as a dict. None where it is missing.

    A damaged file, or one of another version, is logged once and returns None as well, because it can be made again.
    Where it cannot, pass what to do as `lost`: then DamagedError is raised.
    """
    try:
        with reading(uri) as stream:
            value = opened(stream.read())
        return value if model is None else model.model_validate(value)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, IsADirectoryError) as error:
        _damaged(uri, error, lost)
    except OSError as error:
        if error.errno != errno.EIO:  # a bad sector of the disk
            raise
        _damaged(uri, error, lost)
    return None


def opened(data: bytes | str) -> dict[str, Any]:
    """Parse and verify the data of a sealed file; returns the dict without its seal. ValueError where it is damaged.

    Data without a seal is accepted: versions before seals wrote it.
    """
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != digest_of(value)[:16]:
        raise ValueError("its content has changed since it was written")
    return value


def _damaged(uri: str, error: BaseException, lost: str) -> None:
    """Raise DamagedError where `lost` says what to do; else log the damage, once per file."""
    errors = getattr(error, "errors", None)  # pydantic's own text is several lines, with the value in it
    reason = errors()[0]["msg"] if callable(errors) else str(error) or type(error).__name__
    if lost:
        raise DamagedError(f"{uri!r} is damaged ({reason}): {lost}") from error
    if uri not in _reported:
        _reported.add(uri)
        log.warning("%r is damaged or of another version (%s); it is made again", uri, reason)


def write_json(uri: str, value: Any, derived: bool = False) -> None:
    """Write `value` as JSON, atomically, without a seal."""
    with writing(uri, derived) as stream:
        stream.write(json.dumps(value, ensure_ascii=False, indent=1).encode())


def read_json(uri: str) -> Any:
    """Read JSON without a seal. FileNotFoundError where it is missing, ValueError where it is no JSON."""
    with reading(uri) as stream:
        return json.loads(stream.read())


def keep(uri: str, record: BaseModel, *files: str | None) -> None:
    """Write a record about existing `files`, with their marks and digests: see `kept`."""
    named = [name for name in files if name]
    # The mark of an object is its ETag, a digest already; hashing would download it.
    digests = {name: file_digest(name) if local(name) else "" for name in named}
    about = {name: {"mark": mark, "digest": digests[name]} for name, mark in marks(named).items()}
    write(uri, {"record": record.model_dump(mode="json"), "files": about}, derived=True)


def kept(uri: str, model: type[M]) -> M | None:
    """The record that `keep` wrote; None where it, or one of its files, is missing, damaged or of another version.

    A file with its old size and time is trusted, any other is hashed. The code that reads a file verifies its digest.
    """
    recorded = read(uri)
    if recorded is None or "record" not in recorded:  # an older version had no list of files
        return None
    try:
        record, files = model.model_validate(recorded["record"]), dict(recorded["files"])
        now = marks(files)
        moved = [name for name, about in files.items() if now.get(name) != about["mark"]]
        if not all(same(name, files[name]["digest"]) for name in moved):
            return None
    except (ValueError, KeyError, TypeError) as error:
        _damaged(uri, error, "")
        return None
    if moved:  # restored or copied: same bytes, another time; record the new marks
        keep(uri, record, *files)
    return record


def marks(uris: Iterable[str]) -> dict[str, str]:
    """A cheap fingerprint (size and time) of each file that exists; it changes when the file changes."""
    return {uri: mark for uri in uris if (mark := _mark(uri)) is not None}


def _mark(uri: str) -> str | None:
    path = local(uri)
    try:
        if path is not None:
            stat = path.stat()
            return f"{stat.st_size}-{stat.st_mtime_ns}"
        fs, name = fsspec.core.url_to_fs(uri)
        info = fs.info(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    version = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("created") or ""
    return f"{info.get('size')}-{version}"


def same(uri: str, digest: str) -> bool:
    """Whether the file at `uri` has this digest. A file with another one is logged, once."""
    actual = file_digest(uri) if exists(uri) else None
    if actual is not None and actual != digest and uri not in _reported:
        _reported.add(uri)
        log.warning("%r is damaged: its digest is %s instead of %s; it is made again", uri, actual, digest)
    return actual == digest


def check(uri: str, digest: str) -> str:
    """Return `uri` if its file has this digest; DamagedError where it is missing or has another.

    A damaged file is also marked by `doubt`, so that the next `kept` hashes it and it is made again.
    """
    if not exists(uri):
        raise DamagedError(f"{uri!r} is missing: run the same command again, which makes it again")
    if not same(uri, digest):
        doubt(uri)
        raise DamagedError(f"{uri!r} is damaged: run the same command again, which makes it again")
    return uri


def doubt(uri: str) -> None:
    """Invalidate the mark of a file, so that it is hashed next time. An object has no time to change: it is removed."""
    path = local(uri)
    if path is None:
        remove(uri)
    else:
        with suppress(OSError):
            os.utime(path)


def digest_of(value: Any) -> str:
    """32 hex digits of the SHA-256 of `value` as canonical JSON: the same value, the same digest, on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(uri: str) -> str:
    """32 hex digits of the SHA-256 of the bytes at `uri`; hashed once in a process while its mark stays."""
    before = _mark(uri)
    known = _digests.get(uri)
    if known and known[0] == before:
        return known[1]
    hasher = hashlib.sha256()
    with reading(uri) as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    digest = hasher.hexdigest()[:32]
    if before is not None and before == _mark(uri):
        _digests[uri] = (before, digest)
    return digest


def learn(uri: str, digest: str) -> str:
    """Remember the digest of a file that was hashed while it was written; returns it."""
    if (mark := _mark(uri)) is not None and local(uri):
        _digests[uri] = (mark, digest)
    return digest


def remove(uri: str) -> None:
    """Remove the file at `uri`; no error where nothing is there."""
    path = local(uri)
    if path is not None:
        path.unlink(missing_ok=True)
        return
    fs, name = fsspec.core.url_to_fs(uri)
    with suppress(FileNotFoundError):
        fs.rm_file(name)
