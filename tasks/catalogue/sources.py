"""Where a catalogue's bytes come from: a file or several, packed or not, here or in object storage, or a data set.

A source is opened as a stream of byte blocks in catalogue order. Nothing is kept in memory, and a download that
breaks off is not an error: the stream ends early and says so. Every file is opened by `_opened`, which first asks
whether it may be.
"""

from __future__ import annotations

import glob
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import fsspec

from tasks.catalogue import databases, forms, parts, sheets, tables
from tasks.catalogue.how import USUAL, How
from tasks.catalogue.unpack import PACKED, ZIP, Unpacker, is_binary, is_lines, is_table, is_workbook
from tasks.core import store
from tasks.core.errors import CatalogueError, RecipeError, ShardtuneError
from tasks.recipe import allowed

RANGED = ("s3://", "gs://")  # any part of an object is as near as a copy of it would be
WHAT, SETS = "catalogue.uri", "hf://datasets/"
REPOSITORY = re.compile(r"(?:hf://datasets/)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")
KINDS = "JSON lines, JSON arrays, CSV, TSV, Parquet, Arrow, each of the texts plain or as .gz, .bz2, .xz, .zst, .zip"
LOOKS = 200  # files of a folder that are looked into where no name tells what they hold


@dataclass
class Source:
    """One catalogue, found and told apart. `identity` is None where nothing tells whether it changed."""

    uri: str
    identity: list[Any] | None
    plain: bool = False  # JSON lines as they are, on disk or in object storage: byte ranges of the file will do
    files: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # no part of it: of tests, labels, other splits, another format
    split: str | None = None
    cut: bool = False  # set while streaming: a compressed file broke off
    how: How = USUAL

    def blocks(self) -> Iterator[bytes]:
        """The catalogue as JSON lines, about 1 MiB at a time; between two files there is always a line end."""
        if databases.is_database(self.uri):
            yield from databases.records(self.uri, self.how)
            return
        unpacker = Unpacker(self._members)
        last = b"\n"
        for name in self.files:
            with _opened(name) as stream, _asking(name):
                for member, blocks in _inside(name, stream, unpacker):
                    if not last.endswith(b"\n"):
                        yield b"\n"
                    last = b"\n"
                    for block in self._lines(member, blocks, stream):
                        if block:
                            yield block
                            last = block
        self.cut = unpacker.cut

    def _lines(self, member: str, blocks: Iterator[bytes] | None, stream: IO[bytes]) -> Iterator[bytes]:
        if blocks is None:
            return _table(member, stream, self.how)
        first = next(blocks, b"")
        if first.startswith((*tables.BINARY, ZIP)):
            return _spooled(member, chain((first,), blocks), self.how)
        return forms.lines(member, chain((first,), blocks), self.how)

    def _members(self, names: list[str]) -> list[str]:
        """The members of an archive that belong to the catalogue."""
        found = sorted(parts.chosen(names, self.split))
        self.left += sorted(set(names) - set(found))
        return found


def _inside(name: str, stream: IO[bytes], unpacker: Unpacker) -> Iterator[tuple[str, Iterator[bytes] | None]]:
    """The files within a file; without blocks where it is a Parquet or Arrow file, which is read by seeking."""
    magic = stream.read(6)
    stream.seek(0)
    if magic.startswith(tables.BINARY) or (magic.startswith(ZIP) and is_workbook(name, stream)):
        yield name, None
    else:
        yield from unpacker.files(name, stream)


def _table(name: str, stream: IO[bytes], how: How) -> Iterator[bytes]:
    """The records of a table that is read by seeking: a workbook, Parquet or Arrow."""
    magic = stream.read(4)
    stream.seek(0)
    if magic == ZIP:
        return sheets.records(name, stream, how)
    return tables.binary(name, stream, how.wanted)


def _spooled(name: str, blocks: Iterator[bytes], how: How) -> Iterator[bytes]:
    """The records of such a table inside an archive, which is unpacked to a file without a name first."""
    with tempfile.TemporaryFile() as stream:
        stream.writelines(blocks)
        stream.seek(0)
        if stream.read(4) == ZIP and not is_workbook(name, stream):
            raise CatalogueError(f"{name!r} is a zip archive inside another archive: unpack it and name the folder")
        stream.seek(0)
        yield from _table(name, stream, how)


def find(uri: str, config: str | None = None, split: str | None = None, how: How = USUAL) -> Source:
    """Look at `uri` and say what it is; CatalogueError when nothing readable is there.

    `config` and `split` choose a part of a data set, `how` says what the bytes do not. RecipeError where workers may
    not read it: see `tasks.recipe.allowed`.
    """
    allowed.check(WHAT, uri, hub=SETS)
    found = _found(uri, config, split)
    for file in found.files:
        _check(file, file)
    if found.identity is not None and (config or split):
        found.identity += [config, split]
    found.split, found.how = split, how
    found.plain = found.plain and not how.encoding
    return found


def _found(uri: str, config: str | None, split: str | None) -> Source:
    if databases.is_database(uri):
        return Source(uri, None)
    path = store.local(uri)
    if path is not None and path.is_file():
        name = str(path.resolve())
        return Source(name, _stamps([name])[0], plain=_is_plain(name), files=[name])
    if path is not None and path.is_dir():
        return _folder(path.resolve(), config, split)
    if glob.has_magic(uri) and not uri.startswith("http"):
        return _matching(uri, split)
    repository = REPOSITORY.fullmatch(uri)
    if repository and not is_lines(uri) and not is_table(uri):
        return _repository(repository[1], repository[2], config, split)
    if path is not None:
        raise CatalogueError(f"no catalogue at {uri!r}: name a file, a folder, a URI, or a Hugging Face data set")
    return _remote(uri, config, split)


def _check(name: str, shown: str) -> None:
    """Raise RecipeError where a file that was found may not be read: a link in a folder may lead out of it.

    The message shows what was asked for, never where the link leads.
    """
    try:
        allowed.check(WHAT, name)
    except RecipeError:
        raise RecipeError(
            f"{WHAT}: {shown!r} leads to a place that {allowed.VARIABLE} does not allow: "
            "choose one of its places, or have whoever runs the workers add it"
        ) from None


def _opened(name: str) -> IO[bytes]:
    """The one door through which a catalogue's bytes come."""
    _check(name, name)
    with _asking(name):
        return store.reading(name)


def _head(name: str) -> bytes:
    with _opened(name) as stream, _asking(name):
        return forms.peeked(iter(lambda: stream.read(forms.HEAD), b""))[0]


def _is_plain(name: str) -> bool:
    """Whether the file's own bytes are JSON lines."""
    head = _head(name)
    return not head.startswith((*tables.BINARY, *PACKED)) and forms.recognise(head).as_it_is


def _folder(path: Path, config: str | None, split: str | None) -> Source:
    inside = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")]
    if not inside:
        raise CatalogueError(f"the folder {str(path)!r} is empty: name a folder of JSON lines or of a data set")
    named = partial(store.join, str(path))
    names, left = _chosen(str(path), inside, named, config, split)
    files = [named(name) for name in names]
    return Source(str(path), _stamps(files, left), files=files, left=left)


def _chosen(
    uri: str, inside: Sequence[str], named: Callable[[str], str], config: str | None, split: str | None
) -> tuple[list[str], list[str]]:
    """Which of the files `inside` are the catalogue, in order, and which others that hold rows are not."""
    saved = _saved(inside, named, split)
    if saved is not None:
        return saved, []
    if parts.CARD in inside:
        with _opened(named(parts.CARD)) as stream, _asking(uri):
            card = stream.read(1 << 20).decode("utf-8", "replace")
        told = parts.of_card(card, inside, config, split)
        if told is not None:
            return told, _left(inside, _of_rows(uri, inside, named), told)
    elif config is not None:
        raise CatalogueError(f"catalogue.config = {config!r}: {uri!r} has no card {parts.CARD!r} that names any")
    rows = _of_rows(uri, inside, named)
    names = sorted(parts.chosen(rows, split), key=natural)
    return names, _left(inside, rows, names)


def _left(inside: Sequence[str], rows: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """The files that hold rows, or are named as if they did, and are not chosen."""
    own = (*parts.ABOUT, parts.CARD)
    named = [n for n in inside if n.rpartition("/")[2] not in own and (is_lines(n) or _is_rows(n))]
    return sorted({*rows, *named} - set(chosen), key=natural)


def _is_rows(name: str) -> bool:
    """Whether a file of this name holds a table, as text or not."""
    return is_table(name) or is_binary(name)


def _of_rows(uri: str, inside: Sequence[str], named: Callable[[str], str]) -> list[str]:
    """The files that hold rows: by their names, or where no name tells it by their first bytes."""
    usable = [name for name in inside if name.rpartition("/")[2] not in (*parts.ABOUT, parts.CARD)]
    lines = [name for name in usable if is_lines(name)]
    if lines:
        return lines
    by_name = [n for n in usable if _is_rows(n)]
    if by_name:
        return by_name
    told: list[str] = []
    found = [name for name in sorted(usable, key=natural)[:LOOKS] if _holds_rows(named(name), told)]
    if not found:
        why = "; ".join(told[:3]) or f"give {KINDS}"
        raise CatalogueError(f"no file in {uri!r} holds rows: {why}")
    return found


def _holds_rows(name: str, told: list[str]) -> bool:
    """Whether the file's first bytes are those of rows; what else it is goes to `told`."""
    try:
        with _opened(name) as stream, _asking(name):
            for member, blocks in _inside(name, stream, Unpacker()):
                if blocks is None:
                    return True
                head, _ = forms.peeked(blocks)
                form = forms.recognise(head)
                if form.refused:
                    told.append(f"{member!r} is {form.refused}")
                return form.kind != "refused" and (not form.as_it_is or head.lstrip(forms.MARK).lstrip()[:1] == b"{")
    except CatalogueError as error:
        told.append(str(error))
    return False


def _saved(inside: Sequence[str], named: Callable[[str], str], split: str | None) -> list[str] | None:
    """The Arrow files of a data set that `save_to_disk` wrote, or None. Its own lists name them, and no other place."""
    if "dataset_dict.json" in inside:
        known = _json(named("dataset_dict.json")).get("splits") or []
        default = "train" if "train" in known or not known else known[0] if len(known) == 1 else None
        wanted = (split or default or "").split("+")
        if lacking := [part for part in wanted if part not in known]:
            told = f"catalogue.split = {lacking[0]!r}: " if split else ""
            raise CatalogueError(
                f"{told}the data set has the splits {', '.join(map(str, known))}: name one as catalogue.split"
            )
        folders = [f"{part}/" for part in wanted]
    elif "state.json" in inside:
        folders = [""]
    else:
        return None
    files = []
    for folder in folders:
        for file in _json(named(f"{folder}state.json")).get("_data_files") or []:
            name = str(file.get("filename"))
            if "/" in name or "\\" in name or f"{folder}{name}" not in inside:
                raise RecipeError(
                    f"{folder}state.json names {name!r} as its data, which is no file beside it: fetch it again"
                )
            files.append(f"{folder}{name}")
    return files


def _json(name: str) -> dict[str, Any]:
    with _opened(name) as stream, _asking(name):
        try:
            value = json.loads(stream.read(1 << 24))
        except (ValueError, RecursionError) as error:
            raise CatalogueError(f"{name!r} is damaged ({error}): fetch the data set again") from error
    return value if isinstance(value, dict) else {}


def _stamps(names: list[str], left: Sequence[str] = ()) -> list[Any]:
    """What tells whether one of these files changed, or others stand beside them."""
    told = [(name, Path(name).stat()) for name in names]
    stamps: list[Any] = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in told]
    return stamps + _besides(left)


def _besides(left: Sequence[str]) -> list[Any]:
    return [["left", *left]] if left else []  # a plan, which is kept, says what it leaves out


def natural(name: str) -> tuple[list[str | int], str]:
    """Order of files: by name, numbers in it by their value, so that part-10 comes after part-9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def _matching(uri: str, split: str | None) -> Source:
    """All files of rows that a pattern names, here or in object storage."""
    path = store.local(uri)
    if path is None:
        with _asking(uri):
            fs, pattern = fsspec.core.url_to_fs(uri)
            fs.invalidate_cache()
            infos = fs.glob(pattern, detail=True)
        return _listed(uri, fs, infos, None, split)
    found = glob.glob(str(path.absolute()), recursive=True)
    for name in found:
        _check(name, uri)  # before anything is said of a file that lies elsewhere
    found = [name for name in found if Path(name).is_file()]
    if not found:
        raise CatalogueError(f"no file matches {uri!r}: check the pattern")
    inside = {name.removeprefix(_fixed(str(path.absolute()))): name for name in found}
    rows = _of_rows(uri, list(inside), inside.__getitem__)
    names = sorted(parts.chosen(rows, split), key=natural)
    left = _left(list(inside), rows, names)
    files = [inside[name] for name in names]
    return Source(str(path.absolute()), _stamps(files, left), files=files, left=left)


def _fixed(pattern: str) -> str:
    """The folder in which all that matches lies: its own name says nothing of the files. Or the place itself."""
    return re.split(r"[*?[]", pattern)[0].rpartition("/")[0] + "/" if glob.has_magic(pattern) else pattern


def _listed(uri: str, fs: Any, found: dict[str, Any], config: str | None, split: str | None) -> Source:
    """Files of rows in object storage, in order."""
    infos = {str(fs.unstrip_protocol(name)): info for name, info in found.items() if info["type"] == "file"}
    if not infos:
        raise CatalogueError(f"no file is in {uri!r}: check the address")
    base = str(fs.unstrip_protocol(fs._strip_protocol(_fixed(uri)))).rstrip("/") + "/"
    inside = {name.removeprefix(base): name for name in infos if not name.rpartition("/")[2].startswith(".")}
    chosen, left = _chosen(uri, list(inside), inside.__getitem__, config, split)
    names = [inside[name] for name in chosen]
    marks: list[Any] = [[name, infos[name].get("size"), _marks(infos[name])] for name in names]
    known = marks + _besides(left) if all(mark[2] for mark in marks) else None
    return Source(uri, known, files=names, left=left)


@contextmanager
def _asking(uri: str) -> Iterator[None]:
    """Whatever keeps a store from answering is a CatalogueError of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise CatalogueError(f"no catalogue at {uri!r}: check the address and your rights to read it") from error
    except ShardtuneError:
        raise
    except Exception as error:
        if not _is_of_a_store(error):
            raise
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise CatalogueError(
            f"cannot open {uri!r}: {told}; check the address, your credentials and your rights to read it"
        ) from error


def _is_of_a_store(error: Exception) -> bool:
    """Whether a store's client raised this. Each has its own root of errors, and none is imported for it."""
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    theirs = {"botocore", "aiobotocore", "google", "gcsfs", "aiohttp", "azure", "adlfs", "huggingface_hub", "requests"}
    return isinstance(error, ImportError | ValueError | OSError) or bool(roots & (theirs | {"httpx"}))


def _remote(uri: str, config: str | None, split: str | None) -> Source:
    with _asking(uri):
        fs, name = fsspec.core.url_to_fs(uri)
        fs.invalidate_cache()  # a listing of a minute ago lacks what has arrived since
        info = fs.info(name)
        inside = fs.find(name, detail=True) if info["type"] == "directory" else None
    if inside is not None:
        return _listed(uri, fs, inside, config, split)
    plain = uri.startswith(RANGED) and info["size"] > 0 and _is_plain(uri)
    marks = _marks(info)
    return Source(uri, [uri, info.get("size"), marks] if marks else None, plain=plain, files=[uri])


def _marks(info: dict[str, Any]) -> dict[str, str]:
    """What a store says that changes with a file's bytes."""
    known = ("ETag", "etag", "LastModified", "mtime", "md5Hash", "blob_id", "created")
    return {name: str(info[name]) for name in known if name in info}


def _repository(repository: str, revision: str | None, config: str | None, split: str | None) -> Source:
    """A data set of the hub, at the commit that it is at now: a folder like any other in a store."""
    from huggingface_hub import HfApi

    with _asking(repository):
        commit = HfApi().dataset_info(repository, revision=revision).sha
        uri = f"{SETS}{repository}@{commit}"
        fs, name = fsspec.core.url_to_fs(uri)
        fs.invalidate_cache()
        found = {f"{SETS[5:]}{key.removeprefix(SETS[5:])}": info for key, info in fs.find(name, detail=True).items()}
    source = _listed(uri, fs, found, config, split)
    source.uri, source.identity = repository, [repository, commit]
    return source
