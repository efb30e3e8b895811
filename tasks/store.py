"""Files under the root, local or in object storage: written whole or not at all.

Every write goes to a temporary name first and is then renamed, so a half-written file is never read as whole.
Paths are plain strings: local absolute paths or URIs with a scheme, opened by fsspec.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec


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
def writing(uri: str) -> Iterator[IO[bytes]]:
    """Open `uri` for binary writing under a temporary name; it appears whole at the end, or not at all."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with temporary.open("wb") as stream:
            yield stream
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def reading(uri: str, ahead: int | None = None) -> IO[bytes]:
    """Open `uri` for binary reading; object storage is asked for `ahead` bytes more than needed, or its default."""
    path = local(uri)
    if path is not None:
        return path.open("rb")
    fs, name = fsspec.core.url_to_fs(uri)
    return cast(IO[bytes], fs.open(name, "rb", block_size=ahead))


def write_json(uri: str, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    with writing(uri) as stream:
        stream.write(json.dumps(value, ensure_ascii=False, indent=1).encode())


def read_json(uri: str) -> Any:
    """Read JSON; FileNotFoundError when nothing is there."""
    with reading(uri) as stream:
        return json.loads(stream.read())


def digest_of(value: Any) -> str:
    """32 hex digits of the SHA-256 of `value` as canonical JSON: the same value, the same digest, on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(uri: str) -> str:
    """32 hex digits of the SHA-256 of the bytes at `uri`."""
    hasher = hashlib.sha256()
    with reading(uri) as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()[:32]


def remove(uri: str) -> None:
    """Remove the file at `uri`; no error where nothing is there."""
    path = local(uri)
    if path is not None:
        path.unlink(missing_ok=True)
        return
    fs, name = fsspec.core.url_to_fs(uri)
    with suppress(FileNotFoundError):
        fs.rm_file(name)
