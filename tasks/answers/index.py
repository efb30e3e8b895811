"""Index: clean shards in tantivy on this machine's disk; a shard is added once, and no server is needed.

One folder a catalogue. A grown catalogue adds its new shards; a shard that changed is taken out and put in anew.
Killed at any moment, the next update finishes it: what a commit holds is what `shards.json` says, or is done again. A
file of it that is not as it was written, by size and time, has all of it made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tantivy
import xxhash
from filelock import FileLock

from tasks.answers import matching
from tasks.answers.words import telling, words
from tasks.catalogue.split import normalised
from tasks.core import settings, store
from tasks.core.errors import AnswerError
from tasks.core.models import CleanShard, Frozen
from tasks.recipe.model import Catalogue, Cleaning, Splitting

VERSION = 2  # bump when the schema, or what is put into it, changes
COLUMNS = ["uid", "title", "content", "line", "row_hash"]
HEAP = 256 * 2**20  # bytes that a writer fills before it writes a segment
RAREST, LOOKED_AT, AT_ONCE = 6, 32, 4_096
RANKED = 10  # rows read of a ranking: 32 find no more right ones, in 1.5 times the time, and touch more of the files


class IndexedRow(Frozen):
    """One product as the index has it; `also` are uids of other rows with the same title and content."""

    uid: str
    title: str
    content: str
    line: int
    shard: int
    digest: str  # of the clean shard it lies in
    also: tuple[str, ...] = ()


class Candidate(Frozen):
    """A row that may be the one asked about. `fits`: the question names it; else it is only the nearest."""

    row: IndexedRow
    score: float  # 0 to 1: how much of the question the title has, and how much of the title the question
    fits: bool


class IndexRecord(Frozen):
    """What an index holds: the number of each clean shard, by its digest."""

    shards: dict[str, int]


def _schema() -> Any:
    made = tantivy.SchemaBuilder()
    for name in ("uid", "key", "digest"):
        made.add_text_field(name, stored=name != "key", tokenizer_name="raw", index_option="basic")
    made.add_bytes_field("row_hash", stored=True)  # nothing is looked up by it
    for name in ("title", "content"):
        made.add_text_field(name, stored=True, index_option="freq")
    made.add_unsigned_field("line", stored=True)
    made.add_unsigned_field("shard", stored=True)
    return made.build()


def key_of(title: str) -> str:
    """16 hex digits by which titles that differ only in case and signs are one."""
    return xxhash.xxh3_64_hexdigest(normalised([title])[0])


def folder_of(catalogue: Catalogue, clean: Cleaning, split: Splitting) -> Path:
    """Folder of the index of a catalogue that is cut, cleaned and split like this; always on this machine."""
    uri = catalogue.uri or ""
    path = store.local(uri)
    decides = [catalogue.lines_per_shard, clean.model_dump(), split.model_dump()]
    name = store.digest_of([VERSION, str(path.resolve()) if path and path.exists() else uri, *decides])[:12]
    return settings.local_root() / "index" / name


def update(folder: Path, shards: Sequence[CleanShard]) -> int:
    """Bring the index in `folder` to these clean shards; returns how many of them were put in."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = str(folder / "shards.json")
    with FileLock(folder / "lock"):
        known = store.kept(listed, IndexRecord)
        held = known.shards if known else {}
        wanted = {s.digest: s for s in shards}
        missing = [s for digest, s in wanted.items() if digest not in held]
        gone = [digest for digest in held if digest not in wanted]
        if missing or gone:
            if not held or len(gone) == len(held):  # nothing of it stays, or a first update was cut short
                shutil.rmtree(folder / "rows", ignore_errors=True)
            _write(folder / "rows", missing, gone)
            files = [str(p) for p in (folder / "rows").iterdir() if p.is_file() and p.suffix != ".lock"]
            store.keep(listed, IndexRecord(shards={digest: s.index for digest, s in wanted.items()}), *files)
    return len(missing)


def _write(place: Path, missing: Sequence[CleanShard], gone: Sequence[str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    writer = tantivy.Index(_schema(), path=str(place)).writer(HEAP, 2)
    for digest in (*gone, *(s.digest for s in missing)):
        writer.delete_documents_by_term("digest", digest)
    for shard in missing:
        for document in _documents(shard):
            writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _documents(shard: CleanShard) -> Iterator[Any]:
    with store.reading(store.check(shard.uri, shard.digest)) as stream, pq.ParquetFile(stream) as parquet:
        for batch in parquet.iter_batches(AT_ONCE, columns=COLUMNS):
            columns = [batch[name].to_pylist() for name in COLUMNS]
            keys = map(xxhash.xxh3_64_hexdigest, normalised(columns[1]))
            for uid, title, content, line, row_hash, key in zip(*columns, keys, strict=True):
                made = tantivy.Document(uid=uid, title=title, content=content, key=key, digest=shard.digest)
                made.add_bytes("row_hash", bytes.fromhex(row_hash))
                made.add_unsigned("line", line)
                made.add_unsigned("shard", shard.index)
                yield made


class Index:
    """An index opened for look-ups. Raises AnswerError where none was made."""

    def __init__(self, folder: Path | str) -> None:
        if not Path(folder, "shards.json").exists():
            raise AnswerError(f"no index at {str(folder)!r}: `shardtune ask` makes it from the catalogue")
        try:
            opened = tantivy.Index.open(str(Path(folder, "rows")))
        except ValueError as error:
            raise AnswerError(
                f"the index at {str(folder)!r} cannot be opened ({error}): remove the folder, an update makes it again"
            ) from error
        self._schema, self._searcher = opened.schema, opened.searcher()
        self._rows = max(1, self._searcher.num_docs)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def by_uid(self, uid: str) -> IndexedRow | None:
        """The row with this uid, or None."""
        found = self._found(tantivy.Query.term_query(self._schema, "uid", uid), 1)
        return found[0] if found else None

    def by_title(self, title: str) -> list[IndexedRow]:
        """All rows of this very title, but for case and signs."""
        return self._found(tantivy.Query.term_query(self._schema, "key", key_of(title)), LOOKED_AT)

    def candidates(self, subject: str, limit: int = 5, hidden: str | None = None) -> list[Candidate]:
        """Rows that `subject` may mean, best first: its very title, else titles with its words, else descriptions.

        `hidden` is a title whose rows are treated as not there: what would be answered if the catalogue lacked it.
        """
        asked = telling(subject)
        if not asked:
            return []
        absent = key_of(hidden) if hidden else None
        rarest = self._rarest(asked)
        named = self.by_title(subject) if absent is None or key_of(subject) != absent else []
        if len(named) < limit:
            named += self._ranked("title", rarest, every=True)
        judged = self._judged(asked, named, absent)
        if not (judged and judged[0].fits):
            judged = self._judged(asked, [*named, *self._ranked("title", rarest)], absent)
        if not (judged and judged[0].fits):
            described = self._ranked("content", rarest, every=len(rarest) > 2)
            judged = self._judged(asked, [c.row for c in judged] + described, absent)
        return judged[:limit]

    def _rarest(self, asked: Sequence[str]) -> list[tuple[str, int]]:
        """The words of the question that tell most, each with the number of titles that have it."""
        counted = [(word, self._searcher.doc_freq("title", word)) for word in dict.fromkeys(asked)]
        return sorted(counted, key=lambda told: told[1])[: RAREST + 2]

    def _ranked(self, field: str, rarest: Sequence[tuple[str, int]], every: bool = False) -> list[IndexedRow]:
        """Rows whose `field` has the words, by BM25: every word, or as many as may be with misspelt ones looked for."""
        query, parts = tantivy.Query, []
        for word, titles in rarest if every else rarest[:RAREST]:
            if every and field == "title" and not titles:
                return []
            fuzzy = not every and field == "title" and len(word) > 3 and not word.isdigit() and titles < 10
            term = query.fuzzy_term_query(self._schema, field, word, 1) if fuzzy else None
            occur = tantivy.Occur.Must if every else tantivy.Occur.Should
            parts.append((occur, term or query.term_query(self._schema, field, word, "freq")))
        return self._found(query.boolean_query(parts), RANKED) if parts else []

    def _found(self, query: Any, limit: int) -> list[IndexedRow]:
        """The rows of a query, best first; those with the same title and content are one."""
        folded: dict[str, IndexedRow] = {}
        for _, address in self._searcher.search(query, limit, count=False).hits:
            held = self._searcher.doc(address).to_dict()
            row_hash, values = (
                held["row_hash"][0],
                {name: held[name][0] for name in IndexedRow.model_fields if name in held},
            )
            if row_hash in folded:
                first = folded[row_hash]
                folded[row_hash] = first.model_copy(update={"also": (*first.also, values["uid"])})
            else:
                folded[row_hash] = IndexedRow(**values)
        return list(folded.values())

    def _judged(self, asked: Sequence[str], rows: Sequence[IndexedRow], absent: str | None) -> list[Candidate]:
        different = {(row.uid, row.digest): row for row in rows if absent is None or key_of(row.title) != absent}
        weights = {word: self._weight(word) for row in different.values() for word in words(row.title)}
        weights |= {word: self._weight(word) for word in asked}
        spelt = {word for word in asked if self._searcher.doc_freq("title", word)}
        judged = []
        for row in different.values():
            score, fits = matching.judge(asked, telling(row.title), words(row.content), weights, spelt)
            judged.append(Candidate(row=row, score=round(score, 4), fits=fits))
        return sorted(judged, key=lambda c: (not c.fits, -c.score))

    def _weight(self, word: str) -> float:
        return matching.weight(self._searcher.doc_freq("title", word), self._rows)
