"""Index: clean shards in tantivy on this machine's disk; a shard is added once, and no server is needed.

One folder a catalogue. A grown catalogue adds its new shards; a shard that changed is taken out and put in anew.
Killed at any moment, the next update finishes it: what a commit holds is what `shards.json` says, or is done again. A
file of it that is not as it was written, by size and time, has all of it made anew.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import tantivy
import xxhash
from filelock import FileLock
from rapidfuzz import process
from rapidfuzz.distance import OSA

from tasks.answers.words import STEMS, analyzer, stems, weight
from tasks.catalogue.split import normalised
from tasks.core import settings, store
from tasks.core.errors import AnswerError
from tasks.core.models import CleanShard, Frozen
from tasks.recipe.model import Catalogue, Cleaning, Splitting

VERSION = 4  # bump when the schema, or what is put into it, changes: the folder's name has it, so old ones are not read
COLUMNS = ["uid", "title", "content", "line", "row_hash"]
HEAP = 256 * 2**20  # bytes that a writer fills before it writes a segment
LOOKED_AT, AT_ONCE, LOTS = 32, 4_096, 1_024
FEW = 1_000
HELD = 100_000  # words whose frequency is kept in memory


class IndexedRow(Frozen):
    """One product as the index has it; `also` are uids of other rows with the same title and content."""

    uid: str
    title: str
    content: str
    line: int
    shard: int
    digest: str  # of the clean shard it lies in
    also: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """By which rows of one title are one product."""
        return key_of(self.title)


class IndexRecord(Frozen):
    """What an index holds: the number of each clean shard, by its digest."""

    shards: dict[str, int]
    version: int = 0


def _schema() -> Any:
    made = tantivy.SchemaBuilder()
    for name in ("uid", "key", "digest", "lot"):
        made.add_text_field(name, stored=name in ("uid", "digest"), tokenizer_name="raw", index_option="basic")
    made.add_bytes_field("row_hash", stored=True)  # nothing is looked up by it
    for name in ("title", "content"):
        made.add_text_field(name, stored=True, tokenizer_name=STEMS, index_option="freq")
    made.add_unsigned_field("line", stored=True)
    made.add_unsigned_field("shard", stored=True)
    return made.build()


@lru_cache(4_096)
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
            store.keep(
                listed, IndexRecord(shards={digest: s.index for digest, s in wanted.items()}, version=VERSION), *files
            )
            if not held:
                _tidy(folder, wanted)
    return len(missing)


def _tidy(folder: Path, shards: Mapping[str, CleanShard]) -> None:
    """Remove what earlier versions of shardtune made of the same shards: nothing reads it any more."""
    for other in folder.parent.iterdir():
        listed = other / "shards.json"
        if other == folder or not listed.exists():
            continue
        record = store.kept(str(listed), IndexRecord)
        if record and record.version < VERSION and record.shards.keys() & shards.keys():
            shutil.rmtree(other, ignore_errors=True)


def _write(place: Path, missing: Sequence[CleanShard], gone: Sequence[str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    made = tantivy.Index(_schema(), path=str(place))
    made.register_tokenizer(STEMS, analyzer())
    # Rows that fit a question equally well come in the order of the file. Two threads would mix those of one shard.
    writer = made.writer(HEAP, 1 if len(missing) < 2 else 2)
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
                # A lot is decided by the row alone, so a sample of lots is the same whatever the order of writing.
                lot, text = str(int(row_hash[:8], 16) % LOTS), bytes.fromhex(row_hash)
                made = tantivy.Document(uid=uid, title=title, content=content, key=key, digest=shard.digest, lot=lot)
                made.add_bytes("row_hash", text)
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
        opened.register_tokenizer(STEMS, analyzer())
        self.folder = Path(folder)
        self.calibration: Any = None  # of tasks.answers.calibrating, once a question was asked
        self._schema, self._searcher = opened.schema, opened.searcher()
        self._frequencies: dict[str, int] = {}
        self._weights: dict[str, float] = {}
        self._letters: dict[str, list[str]] = {}
        self._hidden: frozenset[tuple[str, str]] = frozenset()
        self._less: Counter[str] = Counter()
        self._only: Any = None  # a query that every row found must fit, too

    def __len__(self) -> int:
        return int(self._searcher.num_docs) - len(self._hidden)

    @property
    def size(self) -> int:
        """Rows, or FEW: in a handful of rows no word is rare."""
        return max(len(self), FEW)

    def without(self, rows: Sequence[IndexedRow]) -> Index:
        """This index as it would be if it lacked these rows; its words are then as rare as they would be."""
        less = copy(self)
        less._weights = {}
        less._hidden = self._hidden | {(row.uid, row.digest) for row in rows}
        less._less = self._less + Counter(word for row in rows for word in {*stems(row.title), *stems(row.content)})
        return less

    def only(self, uids: Iterable[str]) -> Index:
        """This index as if look-ups saw these rows alone; how rare a word is stays that of the whole catalogue."""
        less = copy(self)
        rows = tantivy.Query.term_set_query(self._schema, "uid", sorted(uids))
        less._only = tantivy.Query.const_score_query(rows, 0.0)
        return less

    def by_uid(self, uid: str) -> IndexedRow | None:
        """The row with this uid, or None."""
        found = self._found(tantivy.Query.term_query(self._schema, "uid", uid), 1)
        return found[0][0] if found else None

    def by_title(self, title: str) -> list[IndexedRow]:
        """All rows of this very title, but for case and signs."""
        return [row for row, _ in self._found(tantivy.Query.term_query(self._schema, "key", key_of(title)), LOOKED_AT)]

    def sample(self, wanted: int, seed: int) -> list[IndexedRow]:
        """About `wanted` rows picked by what they hold, so always the same ones, in the order of the catalogue."""
        lots, found = list(range(LOTS)), []
        Random(seed).shuffle(lots)
        for lot in lots:
            found += self._found(tantivy.Query.term_query(self._schema, "lot", str(lot)), wanted)
            if len(found) >= wanted:
                break
        return sorted((row for row, _ in found[:wanted]), key=lambda row: (row.shard, row.line, row.uid))

    def frequency(self, stem: str) -> int:
        """In how many rows a stem stands: those of the titles or of the contents, whichever are more."""
        known = self._frequencies.get(stem)
        if known is None:
            if len(self._frequencies) > HELD:
                self._frequencies.clear()
                self._weights.clear()
            known = max(self._searcher.doc_freq("title", stem), self._searcher.doc_freq("content", stem))
            self._frequencies[stem] = known
        return max(0, known - self._less[stem]) if self._less else known

    def titled(self, stem: str) -> int:
        """In how many titles a stem stands."""
        return int(self._searcher.doc_freq("title", stem))

    def weight(self, stem: str) -> float:
        """What a stem tells: the inverse document frequency of BM25, as if the catalogue had FEW rows at least."""
        known = self._weights.get(stem)
        if known is None:
            known = self._weights[stem] = weight(self.frequency(stem), self.size)
        return known

    def alike(self, stem: str) -> list[str]:
        """Stems of titles that `stem` may be a slip of the pen for, the likeliest first; never itself.

        One edit apart, two from eight letters on; with the same first letter: tomatoes are no potatoes. Words of four
        letters are one edit from too many others.
        """
        if len(stem) < 5 or not stem.isalpha():
            return []
        if stem[0] not in self._letters:
            held = self._searcher.terms_with_prefix("title", stem[0])
            self._letters[stem[0]] = [term for term, _ in held if term.isalpha() and len(term) > 2]
        near = process.extract(
            stem, self._letters[stem[0]], scorer=OSA.distance, score_cutoff=1 + (len(stem) > 7), limit=8
        )
        told = [(distance, -self.frequency(term), term) for term, distance, _ in near if term != stem]
        return [term for _, rows, term in sorted(told) if rows]

    def nearest(self, asked: Mapping[str, float], limit: int, title: float = 3.0) -> list[tuple[IndexedRow, float]]:
        """The best rows by BM25 over title (`title` times as much) and content; a stem counts by what it is given."""
        query, parts = tantivy.Query, []
        for stem, boost in asked.items():
            for field, times in (("title", title), ("content", 1.0)):
                term = query.term_query(self._schema, field, stem, "freq")
                parts.append((tantivy.Occur.Should, query.boost_query(term, boost * times)))
        return self._found(query.boolean_query(parts), limit) if parts else []

    def _found(self, query: Any, limit: int) -> list[tuple[IndexedRow, float]]:
        """The rows of a query with their scores, best first; those with the same title and content are one."""
        folded: dict[str, tuple[IndexedRow, float]] = {}
        if self._only is not None:
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, self._only)])
        for score, address in self._searcher.search(query, limit + len(self._hidden), count=False).hits:
            held = self._searcher.doc(address).to_dict()
            values = {name: held[name][0] for name in IndexedRow.model_fields if name in held}
            if (values["uid"], values["digest"]) in self._hidden:
                continue
            row_hash = held["row_hash"][0]
            if row_hash in folded:
                first, best = folded[row_hash]
                folded[row_hash] = first.model_copy(update={"also": (*first.also, values["uid"])}), best
            else:
                folded[row_hash] = IndexedRow(**values), score
        # Two threads write an index, so rows that score the same lie in any order: that of the catalogue is kept.
        return sorted(folded.values(), key=lambda hit: (-hit[1], hit[0].shard, hit[0].line))[:limit]
