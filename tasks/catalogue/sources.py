"""Where a catalogue's bytes come from: plain, gzip or zip, here or in object storage, or a Hugging Face dataset.

A source is opened as a stream of byte blocks in catalogue order. Nothing is kept in memory, and a download that
breaks off is not an error: the stream ends early and says so.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import msgspec

from tasks import reach, store
from tasks.catalogue.unpack import LINES, Unpacker, is_lines
from tasks.errors import CatalogueError, ShardtuneError

RANGED = ("s3://", "gs://")  # any part of an object is as near as a copy of it would be
PACKED = (b"\x1f\x8b", b"PK\x03\x04")
TABLES = ("arrow", "csv", "json", "parquet", "text")  # those whose readers run no code and load no pickle
WHAT, SETS = "catalogue.uri", "hf://datasets/"
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
        unpacked = Unpacker()
        for number, name in enumerate(self.files):
            last = b"\n"
            with store.reading(name) as stream:
                for block in unpacked.blocks(name, stream):
                    yield block
                    last = block
            if number + 1 < len(self.files) and not last.endswith(b"\n"):
                yield b"\n"
        self.cut = unpacked.cut


def find(uri: str) -> Source:
    """Look at `uri` and say what it is; CatalogueError when nothing readable is there.

    RecipeError where workers may not read it: see `tasks.reach`.
    """
    reach.check(WHAT, uri, hub=SETS)
    found = _found(uri)
    for file in found.files:
        reach.check(WHAT, file)  # a link in a folder may lead out of it
    return found


def _found(uri: str) -> Source:
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
    if glob.has_magic(uri) and not uri.startswith("http"):
        return _matching(uri)
    repository = REPOSITORY.fullmatch(uri)
    if repository and not is_lines(uri):
        return Source(repository[1], _revision(repository[1]), dataset=True)
    if path is not None:
        raise CatalogueError(f"no catalogue at {uri!r}: name a file, a folder, a URI, or a Hugging Face data set")
    return _remote(uri)


def _folder(path: Path) -> Source:
    inside = [str(p) for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")]
    if not inside:
        raise CatalogueError(f"the folder {str(path)!r} is empty: name a folder of JSON lines or of a data set")
    saved = any((path / name).exists() for name in ("dataset_dict.json", "state.json"))
    lines = [name for name in inside if is_lines(name)]
    if saved or not lines:
        return Source(str(path), _stamps(sorted(inside)), dataset=True)
    lines.sort(key=natural)
    return Source(str(path), _stamps(lines), files=lines)


def _stamps(names: list[str]) -> list[Any]:
    """What tells whether one of these files changed."""
    told = [(name, Path(name).stat()) for name in names]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in told]


def natural(name: str) -> tuple[list[str | int], str]:
    """Order of files: by name, numbers in it by their value, so that part-10 comes after part-9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def _matching(uri: str) -> Source:
    """All files of JSON lines that a pattern names, here or in object storage."""
    path = store.local(uri)
    if path is not None:
        found = glob.glob(str(path.absolute()), recursive=True)
        names = sorted((n for n in found if is_lines(n) and Path(n).is_file()), key=natural)
        if names:
            return Source(str(path.absolute()), _stamps(names), files=names)
    else:
        with _asking(uri):
            fs, pattern = fsspec.core.url_to_fs(uri)
            fs.invalidate_cache()
            return _listed(uri, fs, fs.glob(pattern, detail=True))
    raise CatalogueError(f"no file of JSON lines ({', '.join(LINES)}) matches {uri!r}: check the pattern")


def _listed(uri: str, fs: Any, found: dict[str, Any]) -> Source:
    """Files of JSON lines in object storage, in order."""
    infos = {str(fs.unstrip_protocol(name)): info for name, info in found.items() if info["type"] == "file"}
    names = sorted((name for name in infos if is_lines(name)), key=natural)
    if not names:
        raise CatalogueError(f"no file of JSON lines ({', '.join(LINES)}) is in {uri!r}: check the address")
    marks = [[name, infos[name].get("size"), _marks(infos[name])] for name in names]
    return Source(uri, marks if all(mark[2] for mark in marks) else None, files=names)


@contextmanager
def _asking(uri: str) -> Iterator[None]:
    """Whatever keeps a store from answering is a CatalogueError of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise CatalogueError(f"no catalogue at {uri!r}: check the address and your rights to read it") from error
    except CatalogueError:
        raise
    except (ImportError, ValueError, OSError) as error:
        raise CatalogueError(f"cannot open {uri!r}: {error}; check the address and your rights to read it") from error


def _remote(uri: str) -> Source:
    with _asking(uri):
        fs, name = fsspec.core.url_to_fs(uri)
        fs.invalidate_cache()  # a listing of a minute ago lacks what has arrived since
        info = fs.info(name)
        if info["type"] == "directory":
            return _listed(uri, fs, fs.find(name, detail=True))
        ranged = uri.startswith(RANGED) and info["size"] > 0
        plain = ranged and not fs.cat_file(name, start=0, end=4).startswith(PACKED)
        marks = _marks(info)
        return Source(uri, [uri, info.get("size"), marks] if marks else None, plain=plain, files=[uri])


def _marks(info: dict[str, Any]) -> dict[str, str]:
    """What a store says that changes with a file's bytes."""
    known = ("ETag", "etag", "LastModified", "mtime", "md5Hash", "blob_id", "created")
    return {name: str(info[name]) for name in known if name in info}


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
        found = datasets.load_from_disk(uri) if saved else _streamed(uri)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, ShardtuneError):
            raise
        raise CatalogueError(f"cannot open the data set {uri!r}: {error}") from error
    parts = [found[name] for name in found] if isinstance(found, dict) else [found]
    for file in (file for part in parts for file in getattr(part, "cache_files", ())):
        reach.check(WHAT, file["filename"])  # its state.json names them
    encoder = msgspec.json.Encoder(enc_hook=str)
    for part in parts:
        known = [n for n in ("uid", "title", "content") if n in (part.column_names or ("uid", "title", "content"))]
        for batch in (part.select_columns(known) if known else part).iter(batch_size=1_000):
            rows = zip(*(batch[name] for name in known), strict=True)
            yield b"".join(encoder.encode(dict(zip(known, row, strict=True))) + b"\n" for row in rows)


def _streamed(uri: str) -> Any:
    """A data set of plain tables. Its card may name any file or address as its data, so each is looked at."""
    import datasets

    builder = datasets.load_dataset_builder(uri)
    kind = type(builder).__module__.rpartition(".")[2]
    if kind not in TABLES:
        raise CatalogueError(f"the data set {uri!r} is made of {kind!r}: give one of {', '.join(TABLES)}")
    for files in (builder.config.data_files or {}).values():
        for file in files:
            reach.check(WHAT, str(file))
    return builder.as_streaming_dataset()
