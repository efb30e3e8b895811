"""Plan: cut a catalogue into shards of consecutive lines, in one streaming pass.

A plain file, on disk or in object storage, is not copied: its shards are byte ranges. Every other source is streamed
once and each shard's bytes are kept as a file of their own under the root, named by their digest. So is a file on disk
where the root is in object storage, since machines that share the root need not share the disk. A plan is cached by
what tells the source apart (path, size, time of change; entity tag), so an unchanged catalogue is not read again.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, repeat
from typing import IO

import numpy as np

from tasks.catalogue import decode, how, sources, unpack
from tasks.core import store
from tasks.core.errors import CatalogueError
from tasks.core.models import Plan, Shard
from tasks.recipe import model

VERSION = 3  # bump when the same source gives another plan
ATTEMPTS = 3


def plan(catalogue: model.Catalogue, root: str, refresh: bool = False) -> Plan:
    """The catalogue's shards, in order, from the cache unless it changed or `refresh` asks for a new look.

    Raises CatalogueError where nothing is there, it is empty, or it changes each time it is read.
    """
    if not catalogue.uri:
        raise CatalogueError("the recipe names no catalogue: set `catalogue.uri` (on the command line --catalogue URI)")
    for _ in range(ATTEMPTS):
        source = _found(catalogue)
        name = cached_at(catalogue, source, root)
        known = None if refresh or name is None else _read(name)
        if known is not None:
            return known
        made = _make(source, catalogue, root)
        if _found(catalogue).identity == source.identity:
            if name is not None:
                store.write(name, made, derived=True)
            return made
    raise CatalogueError(f"{catalogue.uri!r} changed each of {ATTEMPTS} times it was read: wait until it is written")


def _found(catalogue: model.Catalogue) -> sources.Source:
    return sources.find(str(catalogue.uri), catalogue.config, catalogue.split, how.of(catalogue))


def cached_at(catalogue: model.Catalogue, source: sources.Source, root: str) -> str | None:
    """Where the plan of this source is kept, or None where nothing tells whether the source changed."""
    if source.identity is None:
        return None
    parts = [VERSION, source.identity, catalogue.lines_per_shard, catalogue.max_line_bytes]
    parts += [catalogue.cuts] if catalogue.cuts else []
    parts += [{"fields": _fields(catalogue)}] if _fields(catalogue) else []
    parts += [{"text": [catalogue.encoding, catalogue.delimiter]}] if catalogue.encoding or catalogue.delimiter else []
    return store.join(root, "catalogue", "plans", f"{store.digest_of(parts)}.json")


def _fields(catalogue: model.Catalogue) -> str:
    """A digest of the mapping; "" where there is none."""
    return "" if catalogue.fields is None else store.digest_of(catalogue.fields.model_dump(mode="json"))


def _read(name: str) -> Plan | None:
    known = store.read(name, Plan)
    return known if known and all(store.exists(uri) for uri in {s.uri for s in known.shards}) else None


def _make(source: sources.Source, catalogue: model.Catalogue, root: str) -> Plan:
    shards: list[Shard] = []
    tail = _Tail(catalogue.max_line_bytes)
    line, offset = 1, 0
    ranged = source.plain and (store.local(source.uri) is None or store.local(root) is not None)
    with ThreadPoolExecutor(1) as hashing:
        writer = _Writer(hashing, None if ranged else root)
        for piece, lines, ends in pieces(tail.watch(source.blocks()), catalogue.lines_per_shard, catalogue.cuts):
            writer.add(piece, lines)
            if ends:
                digest, uri, size = writer.close()
                start, end = (offset, offset + size) if ranged else (0, size)
                shard = Shard(
                    index=len(shards), uri=uri or source.uri, start=start, end=end, first_line=line,
                    lines=writer.lines, digest=digest, fields=_fields(catalogue),
                )  # fmt: skip
                shards.append(shard)
                line, offset = line + writer.lines, offset + size
                writer = _Writer(hashing, None if ranged else root)
    if not shards and source.cut:
        raise CatalogueError(f"the catalogue {catalogue.uri!r} breaks off before its first line: fetch it again")
    if not shards:
        raise CatalogueError(f"the catalogue {catalogue.uri!r} is empty: give a file with at least one line")
    cut = source.cut or tail.cut()
    return Plan(
        catalogue=source.uri, lines=line - 1, bytes=offset, cut=cut, shards=tuple(shards), left=tuple(source.left)
    )


def pieces(
    blocks: Iterable[bytes], lines_per_shard: int, cuts: Sequence[int] = ()
) -> Iterator[tuple[bytes, int, bool]]:
    """Cut blocks at shard ends: (bytes, lines that end in them, whether the shard ends here).

    `cuts` are the lines of the first shards. Joined, the pieces are the blocks. A last line without a line end counts
    as a line.
    """
    rooms = chain(cuts, repeat(lines_per_shard))
    room, open_line, pending = next(rooms), False, False
    for block in blocks:
        while block:
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
            if len(ends) < room:
                room -= len(ends)
                open_line, pending = not block.endswith(b"\n"), True
                yield block, len(ends), False
                break
            here = int(ends[room - 1]) + 1
            yield block[:here], room, True
            block, room, open_line, pending = block[here:], next(rooms), False, False
    if pending:
        yield b"", int(open_line), True


class _Writer:
    """One shard while it is read: its digest, counted in another thread, and its copy where it needs one."""

    def __init__(self, hashing: ThreadPoolExecutor, root: str | None) -> None:
        self.lines = 0
        self._size = 0
        self._hash = hashlib.sha256()
        self._hashing = hashing
        self._waiting: deque[Future[None]] = deque()
        self._root = root
        self._copy: IO[bytes] | None = tempfile.TemporaryFile() if root else None  # noqa: SIM115

    def add(self, piece: bytes, lines: int) -> None:
        self.lines += lines
        self._size += len(piece)
        if self._copy:
            self._copy.write(piece)
        self._waiting.append(self._hashing.submit(self._hash.update, piece))
        if len(self._waiting) > 8:  # so that reading does not run away from hashing
            self._waiting.popleft().result()

    def close(self) -> tuple[str, str | None, int]:
        """Digest, URI of the copy if there is one, and size in bytes."""
        while self._waiting:
            self._waiting.popleft().result()
        digest, uri = self._hash.hexdigest(), None
        if self._copy and self._root:
            uri = store.join(self._root, "catalogue", "spool", f"{digest}.jsonl")
            if not store.same(uri, digest[:32]):
                self._copy.seek(0)
                with store.writing(uri, derived=True) as target:
                    shutil.copyfileobj(self._copy, target, unpack.BLOCK)
            self._copy.close()
        return digest, uri, self._size


class _Tail:
    """The bytes after the last line end, as far as a line may reach: they tell whether the file was cut."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            after = block.rfind(b"\n") + 1
            if after:
                self._bytes.clear()
            self._bytes += block[after : after + self._limit + 1 - len(self._bytes)]
            yield block

    def cut(self) -> bool:
        """Whether the last line has no line end and is no whole JSON either."""
        tail = bytes(self._bytes)
        return len(tail) <= self._limit and bool(tail.strip()) and not decode.is_json(tail)
