"""Unpack: the files inside a plain, compressed or zip file, as streams. Nothing is written under a name from inside.

A file that ends early gives what it has; one that is damaged is an error, since what it would give is not what was
packed. One that unpacks to far more than its size is refused before it fills a disk.
"""

from __future__ import annotations

import bz2
import fnmatch
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

from tasks.core.errors import CatalogueError

BLOCK = 1 << 20
RATIO, SLACK = 100, 1 << 26  # the published catalogue unpacks to 3 or 4 times its size
LIST = 1 << 23  # bytes of the list of files in a zip archive: some 80,000 of them
MEMORY = 1 << 28  # bytes that unpacking xz may take; its highest level takes 65 MB
LINES = ("*.json", "*.jsonl", "*.ndjson")
TABLES = ("*.csv", "*.tsv")
ENDINGS = ("", ".gz", ".bz2", ".xz", ".zst")
BINARIES = ("*.parquet", "*.arrow", "*.feather", "*.xlsx", "*.xlsm")
MEMBERS = 100_000  # files of a tar archive
PACKED = ZIP, GZIP, BZIP2, XZ, ZSTD = b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"


def is_lines(name: str) -> bool:
    """Whether a file of this name holds JSON lines."""
    return _named(name, LINES)


def is_table(name: str) -> bool:
    """Whether a file of this name holds a table as text."""
    return _named(name, TABLES)


def is_binary(name: str) -> bool:
    """Whether a file of this name holds a table that is no text."""
    return _named(name, BINARIES)


def _named(name: str, patterns: Sequence[str]) -> bool:
    base = Path(name).name.lower()
    return not base.startswith(".") and any(fnmatch.fnmatch(base, p + e) for p in patterns for e in ENDINGS)


class Unpacker:
    """Files, one after the other; `cut` once a compressed one ended early.

    `choose` says which of the names in a zip archive are the catalogue's.
    """

    def __init__(self, choose: Callable[[list[str]], list[str]] = sorted) -> None:
        self.cut = False
        self._choose = choose

    def files(self, name: str, stream: IO[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Each file inside, with its bytes in blocks; CatalogueError where one is damaged, a bomb or of no use."""
        room = [RATIO * stream.seek(0, os.SEEK_END) + SLACK]
        stream.seek(0)
        magic = stream.read(6)
        stream.seek(0)
        if not magic.startswith(ZIP):
            blocks = self._expanded(name, stream, magic, room)
            head = next(blocks, b"")
            if head[257:262] == b"ustar":
                yield from self._tar(name, stream, magic, room)
            else:
                yield name, chain((head,), blocks)
            return
        archive = _archive(name, stream)
        for member in self._members(name, archive):
            with _told(name), archive.open(member) as inner:
                magic = inner.read(6)
            with _told(name), archive.open(member) as inner:
                yield f"{name}/{member}", self._expanded(f"{name}/{member}", inner, magic, room)

    def _members(self, name: str, archive: zipfile.ZipFile) -> list[str]:
        inside = [n for n in archive.namelist() if not n.endswith("/")]
        return self._chosen(name, inside)

    def _chosen(self, name: str, inside: list[str]) -> list[str]:
        """The names in an archive that are the catalogue."""
        found = self._choose([n for n in inside if is_lines(n) or is_table(n)] or [n for n in inside if is_binary(n)])
        if not found:
            told = ", ".join(repr(n) for n in sorted(inside)[:5]) or "nothing"
            raise CatalogueError(
                f"{name!r} holds no JSON lines and no table, but {told}: name the right archive, or unpack it and "
                "name the folder"
            )
        return found

    def _tar(
        self, name: str, stream: IO[bytes], magic: bytes, room: list[int]
    ) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of a tar archive, in its order; read twice, first for their names. Links are never followed."""
        chosen = set(self._chosen(name, [m.name for m, _ in self._members_of(name, stream, magic, list(room))]))
        for member, inner in self._members_of(name, stream, magic, room):
            if member.name in chosen:
                first = inner.read(6)
                whole: Any = _Again(first, inner)
                yield f"{name}/{member.name}", self._expanded(f"{name}/{member.name}", whole, first, room)

    def _members_of(
        self, name: str, stream: IO[bytes], magic: bytes, room: list[int]
    ) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        stream.seek(0)
        packed: Any = io.BufferedReader(Blocks(self._expanded(name, stream, magic, room)))
        try:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                for count, member in enumerate(archive):
                    if count >= MEMBERS:
                        raise CatalogueError(f"{name!r} holds more than {MEMBERS:,} files: give fewer, larger files")
                    usual = member.isreg() and not member.issparse() and not Path(member.name).name.startswith(".")
                    if usual and (inner := archive.extractfile(member)):
                        yield member, inner
                    archive.members = []  # type: ignore[attr-defined]  # else each stays in memory
        except tarfile.TarError as error:
            raise CatalogueError(f"{name!r} is a damaged tar archive ({error}): fetch it again") from error

    def _expanded(self, name: str, stream: IO[bytes], magic: bytes, room: list[int]) -> Iterator[bytes]:
        """The bytes of one file, unpacked. `room` is what the whole archive may still unpack to."""
        try:
            for block in self._open(stream, magic):
                room[0] -= len(block)
                if room[0] < 0:
                    raise CatalogueError(
                        f"{name!r} unpacks to more than {RATIO} times its size, which no catalogue does: "
                        "it is broken or made to fill the disk; unpack it yourself if it is neither"
                    )
                yield block
        except (zlib.error, lzma.LZMAError, zipfile.BadZipFile, EOFError, _Damaged) as error:
            raise CatalogueError(
                f"{name!r} is damaged near byte {stream.tell():,} ({error}): fetch it again; nothing of it was used"
            ) from error

    def _open(self, stream: IO[bytes], magic: bytes) -> Iterator[bytes]:
        if magic.startswith(GZIP):
            # zlib by hand, as gzip.open drops what it has already decoded when the file ends early.
            return self._inflate(stream)
        if magic.startswith(BZIP2):
            return self._decompress(stream, bz2.BZ2Decompressor)
        if magic.startswith(XZ):
            return self._decompress(stream, lambda: lzma.LZMADecompressor(memlimit=MEMORY))
        if magic.startswith(ZSTD):
            return self._zstd(stream)
        return iter(lambda: stream.read(BLOCK), b"")

    def _inflate(self, stream: IO[bytes]) -> Iterator[bytes]:
        inflate = zlib.decompressobj(wbits=31)
        started = True
        while data := stream.read(BLOCK):
            while data:
                if inflate.eof:
                    inflate, started = zlib.decompressobj(wbits=31), False
                if not started:
                    data = data.lstrip(b"\0")  # padding after a member is allowed, as much as there is
                    started = bool(data)
                    continue
                if block := inflate.decompress(data, BLOCK):
                    yield block
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        self.cut = self.cut or (started and not inflate.eof)

    def _decompress(self, stream: IO[bytes], made: Callable[[], Any]) -> Iterator[bytes]:
        """bzip2 or xz, whose objects keep what they have not unpacked yet."""
        expand, started = made(), True
        while data := stream.read(BLOCK):
            while data or not (expand.needs_input or expand.eof):
                if expand.eof:
                    expand, started = made(), False
                if not started:
                    data = data.lstrip(b"\0")
                    started = bool(data)
                    continue
                try:
                    block = expand.decompress(data, BLOCK)
                except OSError as error:  # what bz2 raises
                    raise _Damaged(str(error)) from error
                if block:
                    yield block
                data = expand.unused_data if expand.eof else b""
        self.cut = self.cut or (started and not expand.eof)

    def _zstd(self, stream: IO[bytes]) -> Iterator[bytes]:
        import pyarrow as pa

        packed = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
        while True:
            try:
                block = packed.read(BLOCK)
            except OSError as error:
                if "Truncated" not in str(error):
                    raise _Damaged(str(error)) from error
                self.cut = True
                return
            if not block:
                return
            yield block


class Blocks(io.RawIOBase):
    """Blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


class _Again:
    """A stream that cannot seek, whose first bytes were looked at."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int) -> bytes:
        first, self._first = self._first, b""
        return first + self._rest.read(size - len(first))

    def tell(self) -> int:
        return self._rest.tell()


def is_workbook(name: str, stream: IO[bytes]) -> bool:
    """Whether a zip archive is an Excel workbook; CatalogueError where it is a sheet of another office program."""
    stream.seek(0)
    inside = _archive(name, stream).namelist()
    stream.seek(0)
    if "content.xml" in inside and name.lower().endswith(".ods"):
        raise CatalogueError(f"{name!r} is an OpenDocument sheet: save it as Excel (.xlsx) or CSV (UTF-8)")
    return "xl/workbook.xml" in inside


class _Damaged(Exception):
    """What a decompressor says of bytes that nobody packed so."""


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What a zip archive cannot do becomes one line: broken, encrypted, packed in a way nobody here unpacks."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, lzma.LZMAError) as error:
        raise CatalogueError(f"{name!r} is a zip archive that cannot be read ({error}): fetch it again") from error


def _archive(name: str, stream: IO[bytes]) -> zipfile.ZipFile:
    """The archive, opened; its members are only ever read as a stream, whatever they are called."""
    with _told(name):
        # Opening reads the whole list of members into memory, at ten times its size.
        ends = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
        if ends and ends[zipfile._ECD_SIZE] > LIST:  # type: ignore[attr-defined]
            raise CatalogueError(
                f"the list of files in {name!r} is longer than {LIST:,} bytes: give fewer, larger files"
            )
        return zipfile.ZipFile(stream)
