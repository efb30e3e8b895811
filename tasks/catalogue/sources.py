"""Where a catalogue's bytes come from: plain, gzip or zip, here or in object storage, or a Hugging Face dataset.

A source is opened as a stream of byte blocks in catalogue order. Nothing is kept in memory, and a download that
breaks off is not an error: the stream ends early and says so.
"""

from __future__ import annotations

import fnmatch
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import fsspec
import msgspec

from tasks import store
from tasks.errors import CatalogueError

BLOCK = 1 << 20
LINES = ("*.json", "*.jsonl", "*.ndjson", "*.json.gz", "*.jsonl.gz", "*.ndjson.gz")
RANGED = ("s3://", "gs://")  # any part of an object is as near as a copy of it would be
PACKED = (b"\x1f\x8b", b"PK\x03\x04")
REPOSITORY = re.compile(r"(?:hf://datasets/)?([\w.-]+/[\w.-]+)/?")


@dataclass
class Source:
    """One catalogue, found and told apart. `identity` is None where nothing tells whether it changed."""

    uri: str
    identity: list[Any] | None
    plain: bool = False  # JSON lines as they are, on disk or in object storage: byte ranges of the file will do
    files: list[str] = field(default_factory=list)
    dataset: bool = False
    cut: bool = False  # set while streaming: a compressed file broke off

    def blocks(self) -> Iterator[bytes]:
        """The catalogue's bytes, about 1 MiB at a time; between two files there is always a line end."""
        if self.dataset:
            yield from _rows(self.uri)
            return
        for number, name in enumerate(self.files):
            last = b"\n"
            with store.reading(name) as stream:
                for block in self._open(name, stream):
                    yield block
                    last = block
            if number + 1 < len(self.files) and not last.endswith(b"\n"):
                yield b"\n"

    def _open(self, name: str, stream: IO[bytes]) -> Iterator[bytes]:
        magic = stream.read(4)
        stream.seek(0)
        if magic.startswith(b"PK\x03\x04"):
            yield from self._members(name, stream)
        elif magic.startswith(b"\x1f\x8b"):
            yield from self._inflate(stream)
        else:
            while block := stream.read(BLOCK):
                yield block

    def _members(self, name: str, stream: IO[bytes]) -> Iterator[bytes]:
        try:
            archive = zipfile.ZipFile(stream)
        except zipfile.BadZipFile as error:
            raise CatalogueError(f"{name!r} is a zip archive that cannot be read ({error}): fetch it again") from error
        names = sorted(n for n in archive.namelist() if _is_lines(n))
        # The published archive also holds a test file and labels beside the catalogue itself.
        names = [n for n in names if Path(n).name.startswith("trn.json")] or names
        if not names:
            raise CatalogueError(f"{name!r} holds no JSON lines ({', '.join(LINES)}): name the right archive")
        for number, member in enumerate(names):
            last = b"\n"
            with archive.open(member) as inner:
                for block in self._inflate(inner) if member.endswith(".gz") else iter(lambda: inner.read(BLOCK), b""):
                    yield block
                    last = block
            if number + 1 < len(names) and not last.endswith(b"\n"):
                yield b"\n"

    def _inflate(self, stream: IO[bytes]) -> Iterator[bytes]:
        # zlib by hand, as gzip.open drops what it has already decoded when the file breaks off.
        inflate = zlib.decompressobj(wbits=31)
        started = True
        try:
            while data := stream.read(BLOCK):
                while data:
                    if inflate.eof:
                        inflate, started = zlib.decompressobj(wbits=31), False
                        data = data.lstrip(b"\0")  # padding after a member is allowed
                        continue
                    started = True
                    if block := inflate.decompress(data, BLOCK):
                        yield block
                    data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        except (zlib.error, zipfile.BadZipFile):
            self.cut = True
            return
        self.cut = self.cut or (started and not inflate.eof)


def find(uri: str) -> Source:
    """Look at `uri` and say what it is; CatalogueError when nothing readable is there."""
    path = store.local(uri)
    if path is not None and path.is_file():
        stat = path.stat()
        with path.open("rb") as stream:
            magic = stream.read(4)
        plain = not magic.startswith(PACKED)
        name = str(path.resolve())
        return Source(name, [name, stat.st_size, stat.st_mtime_ns], plain=plain, files=[name])
    if path is not None and path.is_dir():
        return _folder(path.resolve())
    repository = REPOSITORY.fullmatch(uri)
    if repository and not _is_lines(uri):
        return Source(repository[1], _revision(repository[1]), dataset=True)
    if path is not None:
        raise CatalogueError(f"no catalogue at {uri!r}: name a file, a folder, a URI, or a Hugging Face data set")
    return _remote(uri)


def _folder(path: Path) -> Source:
    inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    if not inside:
        raise CatalogueError(f"the folder {str(path)!r} is empty: name a folder of JSON lines or of a data set")
    identity = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in inside]
    saved = any((path / name).exists() for name in ("dataset_dict.json", "state.json"))
    lines = [str(p) for p in inside if _is_lines(p.name)]
    if saved or not lines:
        return Source(str(path), identity, dataset=True)
    return Source(str(path), identity, files=lines)


def _remote(uri: str) -> Source:
    try:
        fs, name = fsspec.core.url_to_fs(uri)
        info = fs.info(name)
        ranged = uri.startswith(RANGED) and info["type"] == "file" and info["size"] > 0
        plain = ranged and not fs.cat_file(name, start=0, end=4).startswith(PACKED)
    except FileNotFoundError as error:
        raise CatalogueError(f"no catalogue at {uri!r}: check the address and your rights to read it") from error
    except (ImportError, ValueError, OSError) as error:
        raise CatalogueError(f"cannot open {uri!r}: {error}; check the address and your rights to read it") from error
    if info["type"] == "directory":
        raise CatalogueError(f"{uri!r} is a folder: name one file in it")
    marks = {
        k: str(info[k]) for k in ("ETag", "etag", "LastModified", "mtime", "md5Hash", "blob_id", "created") if k in info
    }
    return Source(uri, [uri, info.get("size"), marks] if marks else None, plain=plain, files=[uri])


def _revision(repository: str) -> list[Any] | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return [repository, HfApi().dataset_info(repository).sha]
    except (HfHubHTTPError, OSError):
        return None  # offline: whatever `datasets` has cached is read again


def _rows(uri: str) -> Iterator[bytes]:
    """A Hugging Face data set as JSON lines of uid, title and content, split after split."""
    import datasets

    try:
        saved = [n for n in ("dataset_dict.json", "state.json") if (Path(uri) / n).exists()]
        found = datasets.load_from_disk(uri) if saved else datasets.load_dataset(uri, streaming=True)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise CatalogueError(f"cannot open the data set {uri!r}: {error}") from error
    parts = [found[name] for name in found] if isinstance(found, dict) else [found]
    encoder = msgspec.json.Encoder(enc_hook=str)
    for part in parts:
        known = [n for n in ("uid", "title", "content") if n in (part.column_names or ("uid", "title", "content"))]
        for batch in (part.select_columns(known) if known else part).iter(batch_size=1_000):
            rows = zip(*(batch[name] for name in known), strict=True)
            yield b"".join(encoder.encode(dict(zip(known, row, strict=True))) + b"\n" for row in rows)


def _is_lines(name: str) -> bool:
    base = Path(name).name.lower()
    return not base.startswith(".") and any(fnmatch.fnmatch(base, pattern) for pattern in LINES)
