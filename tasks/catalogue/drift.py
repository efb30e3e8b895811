"""Drift: how far new shards are from those before them: in words, in lengths, and in what cleaning leaves out.

Words and lengths are compared by the Jensen-Shannon divergence in bits: 0 for equal shares, 1 where nothing is common.
Two samples of one catalogue are never equal, and small ones are further apart. So what a sample of the old rows shows
against the other old rows, at the same size, is taken off: like shards have a drift near 0 whatever their size.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core import store
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Frozen

SAMPLE = 8_000  # rows of each side, drawn by their hash: the same rows give the same drift
FEWEST = 40  # rows of each side; with fewer nothing can be said
READ = 4_000  # characters of a content
NEW = 5  # rows that hold a word before it is shown as new
SHOWN = 40  # new words
# A word; in scripts that put no space between words, a character.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


class Drift(Frozen):
    """New shards against earlier ones. Each number is from 0 to 1; `rows` are those compared, of each side."""

    new: tuple[int, ...]
    before: tuple[int, ...]
    rows: int
    words: float
    lengths: float
    left_out: float  # change of the share of lines that are dropped or in quarantine
    new_words: tuple[tuple[str, int], ...] = ()  # (word, rows that hold it), most frequent first

    @property
    def largest(self) -> tuple[str, float]:
        """The name and the value of the largest number."""
        return max((("words", self.words), ("lengths", self.lengths), ("left_out", self.left_out)), key=lambda x: x[1])

    @property
    def summary(self) -> str:
        """The numbers as a sentence."""
        return f"words {self.words:.3f}, lengths {self.lengths:.3f}, left out {self.left_out:.3f}"


def measure(new: Sequence[CleanShard], before: Sequence[CleanShard]) -> Drift | None:
    """The drift of `new` from `before`; None where one of them has too few lines to say.

    Where few rows are left of many lines, `rows` is 0 and the share left out alone is compared.
    """
    if min(sum(s.lines for s in some) for some in (new, before)) < FEWEST:
        return None
    named = {"new": tuple(s.index for s in new), "before": tuple(s.index for s in before)}
    left_out = round(abs(_left_out(new) - _left_out(before)), 4)
    ours, theirs = sample(new, SAMPLE), sample(before, 2 * SAMPLE)
    many = min(len(ours), len(theirs) // 2)
    if many < FEWEST:
        return Drift(**named, rows=0, words=0.0, lengths=0.0, left_out=left_out)
    one, other, rest = (_counts(rows) for rows in (ours[:many], theirs[:many], theirs[many : 2 * many]))
    far = max(0.0, divergence(one[0], rest[0]) - divergence(other[0], rest[0]))
    lengths = max(0.0, divergence(one[1], rest[1]) - divergence(other[1], rest[1]))
    known = {*other[0], *rest[0]}
    fresh = Counter({word: count for word, count in one[0].items() if word not in known and count >= NEW})
    newest = tuple(fresh.most_common(SHOWN))
    numbers = {"words": round(far, 4), "lengths": round(lengths, 4), "left_out": left_out}
    return Drift(**named, rows=many, **numbers, new_words=newest)


def check(most: float, new: Sequence[CleanShard], before: Sequence[CleanShard], catalogue: str) -> Drift | None:
    """The drift; CatalogueError where it is more than `most`."""
    found = measure(new, before)
    if found and found.largest[1] > most:
        name, value = found.largest
        fresh = ", ".join(word for word, _ in found.new_words[:8]) or "none"
        raise CatalogueError(
            f"the new shards {list(found.new)} of {catalogue!r} drift from those before them: {name} = {value:.3f}, "
            f"more than catalogue.max_drift = {most:g} ({found.summary}; new words: {fresh}). Nothing "
            "was started. Look at them with `shardtune report`; where they are as they should be, raise max_drift"
        )
    return found


def sample(shards: Sequence[CleanShard], most: int) -> list[tuple[str, str]]:
    """About `most` rows at the most, (title, content), drawn by hash over all shards and in the order of it."""
    total = sum(shard.kept for shard in shards)
    bound = f"{min(1 << 32, int(1.3 * (1 << 32) * most / max(total, 1))):08x}"
    found = sorted(row for shard in shards for row in _drawn(shard, bound, everything=total <= most))
    return [(title, content) for _, title, content in found[:most]]


def _drawn(shard: CleanShard, bound: str, everything: bool) -> Iterator[tuple[str, str, str]]:
    """Rows whose hash is below `bound`; what they are sorted by is another part of it."""
    with store.reading(store.check(shard.uri, shard.digest)) as stream, pq.ParquetFile(stream) as parquet:
        for batch in parquet.iter_batches(columns=["row_hash", "title", "content"]):
            rows = batch if everything else batch.filter(pc.less(batch["row_hash"], bound))
            for key, title, content in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                yield key[16:], title, content[:READ]


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return _WORD.findall(text.lower())


def _counts(rows: Sequence[tuple[str, str]]) -> tuple[Counter[str], Counter[int]]:
    """How many rows hold each word, and how many have a content of each length, in steps of half a doubling."""
    held: Counter[str] = Counter()
    for title, content in rows:
        held.update({*words(title), *words(content)})
    return held, Counter(int(2 * math.log2(1 + len(content))) for _, content in rows)


def divergence(one: Counter[str] | Counter[int], other: Counter[str] | Counter[int]) -> float:
    """The Jensen-Shannon divergence of two counts, in bits."""
    total, others = sum(one.values()), sum(other.values())
    found = 0.0
    for key in {*one, *other}:
        p, q = one.get(key, 0) / total, other.get(key, 0) / others  # type: ignore[call-overload]
        middle = (p + q) / 2
        found += sum(x / 2 * math.log2(x / middle) for x in (p, q) if x)
    return found


def _left_out(shards: Sequence[CleanShard]) -> float:
    lines = sum(s.lines for s in shards)
    return 1 - sum(s.kept for s in shards) / lines if lines else 0.0
