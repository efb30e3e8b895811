"""Quality: what a person wants to see of a catalogue: what was left out and why, as it was and as it is now.

Counts are of every line. Examples, languages and characters are of lines drawn by their number in the catalogue, so
that memory and the page stay small whatever the catalogue: the whole of it is read once, and few rows are cleaned.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.catalogue import clean, decode, drift, languages, text
from tasks.catalogue.records import Rules
from tasks.core import store
from tasks.core.models import CleanShard, Export, Plan, Prepared

DRAWN = 40_000  # lines that are cleaned again to be shown
EACH = 6  # examples of a rule
LONG = 1_200  # characters of a text on the page
FAULTS = 2_000  # lines of the quarantine on the page, over all shards
CHARACTERS = 40
LENGTHS = (128, 256, 512, 1_024, 2_048, 4_096)
REPEATS = ("duplicates", "same_uid", "shared_content")  # found beside other rows, not in a row by itself


class BeforeAfter(NamedTuple):
    """A line as it was and as cleaning leaves it. `other` is the kept row that it repeats."""

    line: int
    uid: str
    before: tuple[str, str]  # title, content
    after: tuple[str, str]
    other: str = ""


class Character(NamedTuple):
    """A character that is not ASCII, or a control: in how many of the drawn lines it stands before and after."""

    shown: str
    name: str
    before: int
    after: int


class Quality(NamedTuple):
    """All that the page shows. `cut` is (tokens, examples that are longer); None where no model counts them."""

    prepared: Prepared
    drawn: int
    examples: dict[str, list[BeforeAfter]]  # by rule; "changed" are rows that are kept
    lengths: dict[str, list[tuple[int, int]]]  # field: (at least so many characters, rows), in doublings
    languages: list[tuple[str, int]]
    characters: list[Character]
    blurbs: list[tuple[str, int]]  # contents that many of the drawn lines share
    cut: list[tuple[int, int]] | None
    examples_counted: int
    max_length: int | None
    drift: drift.Drift | None
    faults: list[dict[str, Any]]


def look(plan: Plan, rules: Rules, prepared: Prepared, max_length: int | None = None) -> Quality:
    """Look at a catalogue that was prepared by these rules; `max_length` is what the chosen model reads, in tokens."""
    seen = _Gathered(rules)
    share = min(1.0, DRAWN / max(prepared.lines, 1))
    for raw, settled in zip(plan.shards, prepared.shards, strict=False):
        lines = _lines(settled)
        for block in decode.read(raw, rules.max_line_bytes, rules.fields):
            seen.add(_draw(block, share), lines)
    _resolve(seen, prepared.shards)
    kept = drift.sample(prepared.shards, drift.SAMPLE)
    tongues = Counter(languages.guess(f"{title} {content}") for title, content in kept)
    counted = [e for e in prepared.exports if e.split == "train" and e.tokens is not None]
    return Quality(
        prepared=prepared, drawn=seen.drawn, examples=dict(seen.examples), lengths=_lengths(prepared.shards),
        languages=tongues.most_common(20), characters=_characters(seen),
        blurbs=[(content, many) for content, many in seen.contents.most_common(12) if many > 1],
        cut=_cut(counted, max_length) if counted else None, examples_counted=sum(e.examples for e in counted),
        max_length=max_length, drift=latest(prepared.shards), faults=list(_faults(prepared.shards)),
    )  # fmt: skip


def latest(shards: Sequence[CleanShard]) -> drift.Drift | None:
    """The drift of the last shard from those before it; of the last two where the last has few rows."""
    many = 1 if len(shards) < 3 or shards[-1].kept >= drift.FEWEST else 2
    return drift.measure(shards[-many:], shards[:-many]) if len(shards) > many else None


class _Gathered:
    """What the drawn lines were, gathered block by block."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.drawn = rules, 0
        self.examples: defaultdict[str, list[BeforeAfter]] = defaultdict(list)
        self.repeats: list[BeforeAfter] = []
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.contents: Counter[str] = Counter()

    def add(self, block: decode.Block, kept: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Clean the block's rows again, and keep some of each rule."""
        rules = self.rules.clean
        before = [(row.title, row.content) for row in block.rows]
        titles, contents = clean.texts(block, rules, Counter())
        stays = np.isin(block.numbers, kept, assume_unique=True)
        self.drawn += len(before)
        for n, (title, content) in enumerate(zip(titles, contents, strict=True)):
            short = text.cut_tails(content) if rules.boilerplate_tails else content
            one = BeforeAfter(int(block.numbers[n]), str(block.rows[n].uid), _shown(*before[n]), _shown(title, short))
            self.before.update(_special("".join(before[n])))
            if stays[n]:
                self.after.update(_special(title + short))
                if before[n] != (title, short):
                    self._keep("changed", one)
            elif rule := clean.fault(title, short, content, rules):
                self._keep(rule, one)
            elif len(self.repeats) < 50 * EACH:
                self.repeats.append(one)
                self.contents[one.after[1]] += 1

    def _keep(self, rule: str, one: BeforeAfter) -> None:
        if len(self.examples[rule]) < EACH * (2 if rule == "changed" else 1):
            self.examples[rule].append(one)


def _draw(block: decode.Block, share: float) -> decode.Block:
    """The rows of a block whose line numbers are drawn: the same lines each time, spread over the catalogue."""
    if share >= 1:
        return block
    mixed = (block.numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    chosen = np.flatnonzero(mixed < np.uint64(share * (1 << 32)))
    return decode.Block(len(chosen), [block.rows[n] for n in chosen], block.numbers[chosen])


def _lines(shard: CleanShard) -> np.ndarray[Any, np.dtype[np.int64]]:
    with store.reading(store.check(shard.uri, shard.digest)) as stream, pq.ParquetFile(stream) as parquet:
        return np.asarray(parquet.read(columns=["line"])["line"].to_numpy(), np.int64)


def _shown(title: str, content: str) -> tuple[str, str]:
    return title[:LONG], content[:LONG]


def _special(said: str) -> set[str]:
    """Characters of a text that people overlook: no ASCII, or a control."""
    if said.isascii() and said.isprintable():
        return set()
    return {char for char in said if not char.isascii() or (char < " " and char not in "\n\t")}


def _characters(seen: _Gathered) -> list[Character]:
    found = []
    for char, _ in (seen.before + seen.after).most_common(CHARACTERS):
        name = unicodedata.name(char, "CONTROL CHARACTER" if ord(char) < 0xA0 else "NO NAME")
        shown = char if char.isprintable() else ""
        found.append(Character(shown, f"U+{ord(char):04X} {name}", seen.before[char], seen.after[char]))
    return found


def _resolve(seen: _Gathered, shards: Sequence[CleanShard]) -> None:
    """By which rule each drawn repeat was left out: a kept row has its text, or its uid, or neither has been kept."""
    uids = {one.uid for one in seen.repeats}
    texts = {one.after for one in seen.repeats}
    by_uid: dict[str, str] = {}
    by_text: dict[tuple[str, str], str] = {}
    if not seen.repeats:
        return
    wanted = {title for title, _ in texts}
    for shard in shards:
        with store.reading(shard.uri) as stream, pq.ParquetFile(stream) as parquet:
            for batch in parquet.iter_batches(columns=["uid", "title", "content", "line"]):
                for uid, title, content, line in zip(*(c.to_pylist() for c in _near(batch, uids, wanted)), strict=True):
                    by_uid[uid] = f"line {line}: {title[:LONG]}"
                    by_text[_shown(title, content)] = f"line {line}, uid {uid}"
    for one in seen.repeats:
        rule = "duplicates" if one.after in by_text else "same_uid" if one.uid in by_uid else "shared_content"
        other = by_text.get(one.after) or by_uid.get(one.uid) or ""
        if len(seen.examples[rule]) < EACH:
            seen.examples[rule].append(one._replace(other=other))


def _near(batch: Any, uids: set[str], titles: set[str]) -> Any:
    """Rows with one of these uids or titles."""
    same = pc.or_(pc.is_in(batch["uid"], pa.array(sorted(uids))), pc.is_in(batch["title"], pa.array(sorted(titles))))
    return batch.filter(same).columns


def _lengths(shards: Sequence[CleanShard]) -> dict[str, list[tuple[int, int]]]:
    """Rows by the characters of title and content, of every kept row."""
    found: dict[str, Counter[int]] = {"title": Counter(), "content": Counter()}
    for shard in shards:
        with store.reading(shard.uri) as stream, pq.ParquetFile(stream) as parquet:
            for batch in parquet.iter_batches(columns=list(found)):
                for name, counts in found.items():
                    many = np.asarray(pc.utf8_length(batch[name]).to_numpy(zero_copy_only=False), np.int64)
                    counts.update(np.floor(np.log2(np.maximum(many, 1))).astype(int).tolist())
    return {name: [(2**power, counts[power]) for power in sorted(counts)] for name, counts in found.items()}


def _cut(exports: Sequence[Export], own: int | None) -> list[tuple[int, int]]:
    """How many examples are longer than so many tokens."""
    bounds = sorted({*LENGTHS, *([own] if own else [])})
    over = np.zeros(len(bounds), np.int64)
    for export in exports:
        with store.reading(export.rows_uri) as stream, pq.ParquetFile(stream) as parquet:
            if "tokens" not in parquet.schema_arrow.names:
                continue
            tokens = parquet.read(columns=["tokens"])["tokens"].drop_null().to_numpy()
            over += np.array([(tokens > bound).sum() for bound in bounds])
    return [(bound, int(many)) for bound, many in zip(bounds, over, strict=True)]


def _faults(shards: Sequence[CleanShard]) -> Iterator[dict[str, Any]]:
    """Lines of the quarantine, as many of each shard as the page has room for."""
    named = [shard for shard in shards if shard.quarantine_uri]
    each = math.ceil(FAULTS / len(named)) if named else 0
    for shard in named:
        with store.reading(str(shard.quarantine_uri)) as stream:
            for line in islice(stream, each):
                yield json.loads(line)
