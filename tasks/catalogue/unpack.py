"""Unpack: the JSON lines in a plain, gzip or zip file, as a stream. Nothing is ever written under a name from inside.

A file that breaks off gives what it has. One that unpacks to far more than its size is refused before it fills a disk.
"""

from __future__ import annotations

import fnmatch
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tasks.errors import CatalogueError

BLOCK = 1 << 20
RATIO, SLACK = 100, 1 << 26  # the published catalogue unpacks to 3 or 4 times its size
LIST = 1 << 23  # bytes of the list of files in a zip archive: some 80,000 of them
LINES = ("*.json", "*.jsonl", "*.ndjson", "*.json.gz", "*.jsonl.gz", "*.ndjson.gz")


def is_lines(name: str) -> bool:
    """Whether a file of this name holds JSON lines."""
    base = Path(name).name.lower()
    return not base.startswith(".") and any(fnmatch.fnmatch(base, pattern) for pattern in LINES)


class Unpacker:
    """Files, one after the other; `cut` once a compressed one broke off."""

    def __init__(self) -> None:
        self.cut = False

    def blocks(self, name: str, stream: IO[bytes]) -> Iterator[bytes]:
        """The bytes of one file, in blocks; CatalogueError where it is an archive of no use, or a bomb."""
        most = RATIO * stream.seek(0, os.SEEK_END) + SLACK
        stream.seek(0)
        for block in self._open(name, stream):
            most -= len(block)
            if most < 0:
                raise CatalogueError(
                    f"{name!r} unpacks to more than {RATIO} times its size, which no catalogue does: "
                    "it is broken or made to fill the disk; unpack it yourself if it is neither"
                )
            yield block

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
        archive = _archive(name, stream)
        names = sorted(n for n in archive.namelist() if is_lines(n))
        # The published archive also holds a test file and labels beside the catalogue itself.
        names = [n for n in names if Path(n).name.startswith("trn.json")] or names
        if not names:
            raise CatalogueError(f"{name!r} holds no JSON lines ({', '.join(LINES)}): name the right archive")
        for number, member in enumerate(names):
            last = b"\n"
            with _told(name), archive.open(member) as inner:
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
