"""Uploads: the files that a provider gets for a link. Their names contain the link's key. So a job can be found by its
file if a provider keeps no metadata, and no other link uses the same file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from tempfile import TemporaryFile
from typing import IO

from filelock import FileLock
from pydantic import BaseModel

from tasks.backends.contract import Link
from tasks.core import settings, store
from tasks.core.models import Export, Finding
from tasks.examples import rules


class Upload(BaseModel):
    """The lines of some exports as one file. `rows` limits them in a validation file."""

    key: str  # of the link
    exports: tuple[Export, ...]
    rows: int | None = None
    mark: bool = False  # starts with a byte-order mark, which Azure requires in training files

    @property
    def name(self) -> str:
        """The file's name at the provider: the link's key and, for a validation file, its row limit."""
        return f"{stem(self.key)}{'' if self.rows is None else f'-heldout-{self.rows}'}.jsonl"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file, opened at its start. DamagedError if an export has changed since it was written."""
        with TemporaryFile() as stream:
            stream.write(codecs.BOM_UTF8 if self.mark else b"")
            stream.writelines(islice(self._lines(), self.rows))
            stream.seek(0)
            yield stream

    def _lines(self) -> Iterator[bytes]:
        for export in self.exports:
            with store.reading(store.check(export.uri, export.digest)) as lines:
                yield from lines


def stem(key: str) -> str:
    """The common start of the names of a link's files."""
    return f"shardtune-{key}"


def of_link(link: Link, most: int, mark: bool = False) -> tuple[Upload, Upload]:
    """A link's training file, and the file of held-out rows whose loss is measured, at most `most` of them."""
    heldout = Upload(key=link.key, exports=link.holdout, rows=min(link.heldout_rows, most), mark=mark)
    return Upload(key=link.key, exports=link.train, mark=mark), heldout


def findings(link: Link, provider: str) -> list[Finding]:
    """Findings if the training file of this link is over the limits of `provider`."""
    limits, size = rules.limits()[provider], sum(_size(export.uri) for export in link.train)
    examples = sum(export.examples for export in link.train)
    listed = []
    for what, count, most in (("bytes", size, limits.get("bytes")), ("examples", examples, limits.get("most"))):
        if most is not None and count > most:
            message = f"the training file has {count:,} {what}, {most:,} are taken: train on fewer shards in one link"
            listed.append(Finding(rule="size", level="error", message=message))
    return listed


def _size(uri: str) -> int:
    with store.reading(uri) as stream:
        return stream.seek(0, 2)


def sending(upload: Upload) -> FileLock:
    """Lock from the search for a file to its use, so that no other process of this machine deletes it in between."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{upload.name}.lock")
