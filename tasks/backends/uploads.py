"""Uploads: the file that a provider gets, known by the digest of what is in it, so that it is never sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from tempfile import TemporaryFile
from typing import IO

from filelock import FileLock
from pydantic import BaseModel

from tasks import settings, store
from tasks.backends.contract import Link
from tasks.models import Export


class Upload(BaseModel):
    """Lines of exports, one after the other; of at most `rows` of them where it is a validation file."""

    exports: tuple[Export, ...]
    rows: int | None = None

    @property
    def name(self) -> str:
        """The file's name at the provider; it tells our files from others, and each from those with other content."""
        return f"shardtune-{store.digest_of([[e.digest for e in self.exports], self.rows])}.jsonl"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The file, for reading from its beginning."""
        with TemporaryFile() as stream:
            stream.writelines(islice(self._lines(), self.rows))
            stream.seek(0)
            yield stream

    def _lines(self) -> Iterator[bytes]:
        for export in self.exports:
            with store.reading(export.uri) as lines:
                yield from lines


def of(link: Link, most: int) -> tuple[Upload, Upload]:
    """What a link sends: its training file, and the held-out rows whose loss is measured, `most` at the most."""
    return Upload(exports=link.train), Upload(exports=link.holdout, rows=min(link.heldout_rows, most))


def sending(upload: Upload) -> FileLock:
    """Held from the look for a file to its use: nobody else on this machine may remove it in between."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{upload.name}.lock")
