"""Files under the root, local or in object storage: written whole or not at all, and not believed when read.

Every write goes to a temporary name first and is then renamed, so a half-written file is never read as whole. What
is written by `write` carries a seal, a digest of what it says. `read` gives it back, or None where it is damaged or of
another version: that is the same as absent. Data files are known by their digest (`same`, `check`), or between two
looks by a mark of size and time (`marks`). Paths are plain strings: local absolute paths or URIs with a scheme, opened
by fsspec.
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
YOUNG = 5.0  # seconds in which a temporary file may not be locked yet by its writer
_told: set[str] = set()
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
    """Whether a file or folder stands at `uri`."""
    path = local(uri)
    if path is not None:
        return path.exists()
    fs, name = fsspec.core.url_to_fs(uri)
    return bool(fs.exists(name))


@contextmanager
def writing(uri: str, derived: bool = False) -> Iterator[IO[bytes]]:
    """Open `uri` for binary writing under a temporary name; it appears whole at the end, or not at all.

    It is on the disk, and so is its name, when this returns. What is `derived` is left to the system to write: a loss
    of power may damage it, then its digest says so and it is made anew.
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
                stream.closed = True  # or half of it would be uploaded when the stream is collected
            raise
        stream.close()
        return
    _folder(path.parent)
    tidy(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with temporary.open("wb") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)  # gone with this process, however it ends: see `tidy`
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
    """Make the folder and those above it, each with the permissions of its place."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(settings.mode(folder, 0o777))


def _sync(folder: Path) -> None:
    """The folder's names are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tidy(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder`; once in the life of this process."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for left in [e.path for e in entries if PART.fullmatch(e.name) and e.is_file(follow_symlinks=False)]:
            _removed(left)


def _removed(part: str) -> None:
    """Remove a temporary file unless a living process, here or on a machine that shares the disk, holds its lock."""
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
    """Write a record as `write` does, where nothing stands at `uri`; False where something does.

    Of several machines one gets True, on a disk and in object storage that knows conditional writes (S3, GCS). A reader
    may meet it half written on a disk, and then it is damaged.
    """
    held = value.model_dump(mode="json")
    data = json.dumps(sealed(held), ensure_ascii=False, indent=1).encode()
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
    except Exception as error:  # each library has its own for "it is there", and for "conditions are unknown here"
        fs.invalidate_cache()
        if fs.exists(name):  # a write that was repeated after a lost answer finds itself
            return read(uri) == held
        log.warning("%r cannot be written on condition (%s): it is written without", uri, type(error).__name__)
        write(uri, value)
    return True


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A dict of JSON values with the seal that `opened` looks at."""
    return {**value, SEAL: digest_of(value)[:16]}


@overload
def read(uri: str, model: type[M], lost: str = "") -> M | None: ...
@overload
def read(uri: str, model: None = None, lost: str = "") -> dict[str, Any] | None: ...
def read(uri: str, model: type[M] | None = None, lost: str = "") -> M | dict[str, Any] | None:
    """What `write` wrote to `uri`, as `model` or as a dict. None where nothing is there.

    What is damaged, or what this version does not know, is told once with its path and is None as well: it can be made
    anew. Where it cannot, `lost` says what to do, and DamagedError is raised.
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
        if error.errno != errno.EIO:  # the disk cannot read it
            raise
        _damaged(uri, error, lost)
    return None


def opened(data: bytes | str) -> dict[str, Any]:
    """The dict that `write` made `data` of, without its seal. ValueError where it is not as it was written.

    What has no seal was written before there were seals.
    """
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != digest_of(value)[:16]:
        raise ValueError("its content has changed since it was written")
    return value


def _damaged(uri: str, error: BaseException, lost: str) -> None:
    """Raise DamagedError where it is lost; else tell of it, once."""
    found = getattr(error, "errors", None)  # pydantic's own text is several lines, with the value in it
    reason = found()[0]["msg"] if callable(found) else str(error) or type(error).__name__
    if lost:
        raise DamagedError(f"{uri!r} is damaged ({reason}): {lost}") from error
    if uri not in _told:
        _told.add(uri)
        log.warning("%r is damaged or of another version (%s): it is made anew", uri, reason)


def write_json(uri: str, value: Any, derived: bool = False) -> None:
    """Write `value` as JSON, atomically, without a seal."""
    with writing(uri, derived) as stream:
        stream.write(json.dumps(value, ensure_ascii=False, indent=1).encode())


def read_json(uri: str) -> Any:
    """Read JSON that others wrote; FileNotFoundError where nothing is there, ValueError where it is no JSON."""
    with reading(uri) as stream:
        return json.loads(stream.read())


def keep(uri: str, record: BaseModel, *files: str | None) -> None:
    """Write a record of `files` that stand already, with what tells that they still do: see `kept`."""
    named = [name for name in files if name]
    # An object's mark is of its bytes already, and hashing it would fetch it.
    digests = {name: file_digest(name) if local(name) else "" for name in named}
    about = {name: {"mark": mark, "digest": digests[name]} for name, mark in marks(named).items()}
    write(uri, {"record": record.model_dump(mode="json"), "files": about}, derived=True)


def kept(uri: str, model: type[M]) -> M | None:
    """The record that `keep` wrote, or None where it or one of its files is gone, damaged or of another version.

    A file that lies there as it did then is believed; any other is hashed. Whoever reads a file checks its digest.
    """
    held = read(uri)
    if held is None or "record" not in held:  # an older version had no list of files
        return None
    try:
        record, files = model.model_validate(held["record"]), dict(held["files"])
        now = marks(files)
        moved = [name for name, about in files.items() if now.get(name) != about["mark"]]
        if not all(same(name, files[name]["digest"]) for name in moved):
            return None
    except (ValueError, KeyError, TypeError) as error:
        _damaged(uri, error, "")
        return None
    if moved:  # put back by a restore, or copied: the same bytes at another time
        keep(uri, record, *files)
    return record


def marks(uris: Iterable[str]) -> dict[str, str]:
    """What tells each file that is there from itself after a change, without reading it: size and time."""
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
    told = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("created") or ""
    return f"{info.get('size')}-{told}"


def same(uri: str, digest: str) -> bool:
    """Whether the file at `uri` has this digest; one that is there and has not is told, once."""
    found = file_digest(uri) if exists(uri) else None
    if found is not None and found != digest and uri not in _told:
        _told.add(uri)
        log.warning("%r is damaged: it has digest %s, and %s was written; it is made anew", uri, found, digest)
    return found == digest


def check(uri: str, digest: str) -> str:
    """`uri`, once its file has been found to have this digest; DamagedError where it is gone or has another.

    The file is then doubted: whoever keeps a record of it looks at its bytes and makes it anew.
    """
    if not exists(uri):
        raise DamagedError(f"{uri!r} is gone: run the same command again, it is made anew")
    if not same(uri, digest):
        doubt(uri)
        raise DamagedError(f"{uri!r} is not as it was written: run the same command again, it is made anew")
    return uri


def doubt(uri: str) -> None:
    """Take away the mark by which a file is believed without a look; an object, which has no time to set, goes."""
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
    found = hasher.hexdigest()[:32]
    if before is not None and before == _mark(uri):
        _digests[uri] = (before, found)
    return found


def learn(uri: str, digest: str) -> str:
    """Take the digest of a file that was just written from who has hashed it meanwhile; returns it."""
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
