"""Overlap: training rows that are nearly a held-out row. The split keeps equal ones apart; this is about the others.

Candidates come from MinHash (A. Broder, SEQUENCES 1997); each is then compared exactly, so none is told by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rensa import RMinHash, RMinHashLSH

from tasks.core import store
from tasks.core.models import CleanShard, Export, Finding, Frozen
from tasks.examples.export import of_split, read_rows
from tasks.examples.quarantine import without

SHINGLE = 3  # words
PERMUTATIONS, BANDS = 128, 32  # four to a band: a pair of similarity 0.6 is missed once in a hundred times
EXAMPLES = 20
SNIPPET = 200  # characters
_WORD = re.compile(r"[^\W_]+")


class Pair(Frozen):
    """A training row and the held-out row that it is nearly: Jaccard similarity of their three-word shingles."""

    similarity: float
    shard: int
    line: int  # of the training export
    uid: str
    text: str
    held_uid: str
    held_text: str


class Overlap(Frozen):
    """What was found between a training set and a holdout. `pairs` are the likest, one for each training row."""

    trained: int
    held: int
    near: int  # training rows that are near a held-out one
    held_near: int  # held-out rows with such a training row
    threshold: float
    dropped: bool
    pairs: tuple[Pair, ...]


class KeptApart(Frozen):
    """Training exports, and what they share with the holdout."""

    train: tuple[Export, ...]
    overlap: Overlap


class OverlapRow(Frozen):
    """A row of an export, and its place in it."""

    shard: int
    line: int
    uid: str
    text: str


def rows(exports: Sequence[Export], shards: Sequence[CleanShard]) -> Iterator[OverlapRow]:
    """The rows behind the examples of these exports, title and content as one text."""
    by_index = {shard.index: shard for shard in shards}
    for export in exports:
        wanted = read_rows(export, ["line"])["line"].to_pylist()
        shard = by_index[export.shard]
        held = {row["line"]: row for row in of_split(store.check(shard.uri, shard.digest), export.split).to_pylist()}
        for number, line in enumerate(wanted, 1):
            row = held[line]
            yield OverlapRow(shard=export.shard, line=number, uid=row["uid"], text=f"{row['title']}\n{row['content']}")


def between(
    train: Sequence[Export], holdout: Sequence[Export], shards: Sequence[CleanShard], threshold: float, drop: bool
) -> KeptApart:
    """Training exports and what they share with the holdout; with `drop`, without the rows that are near it."""
    held = list(rows(holdout, shards))
    places = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
    for number, row in enumerate(held):
        places.insert(number, _signature(shingles(row.text)))
    pairs, trained = {}, 0
    for row in rows(train, shards):
        trained += 1
        mine = shingles(row.text)
        near = [(_jaccard(mine, shingles(held[n].text)), held[n]) for n in places.query(_signature(mine))]
        if near and (best := max(near, key=lambda told: told[0]))[0] >= threshold:
            pairs[row.shard, row.line] = _pair(row, *best)
    likest = sorted(pairs.values(), key=lambda p: (-p.similarity, p.shard, p.line))
    overlap = Overlap(
        trained=trained,
        held=len(held),
        near=len(pairs),
        held_near=len({p.held_uid for p in likest}),
        threshold=threshold,
        dropped=drop,
        pairs=tuple(likest[:EXAMPLES]),
    )
    return KeptApart(train=tuple(_without(e, pairs) for e in train) if drop else tuple(train), overlap=overlap)


def _without(export: Export, pairs: dict[tuple[int, int], Pair]) -> Export:
    near = [p for (shard, _), p in pairs.items() if shard == export.shard]
    findings = [
        Finding(rule="near duplicate", level="error", line=p.line, uid=p.uid, message=f"of held-out {p.held_uid!r}")
        for p in near
    ]
    return without(export, {p.line for p in near}, findings, "apart")[0] if near else export


def shingles(text: str) -> set[str]:
    """Runs of three words, in lower case; of a shorter text all of it."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[n : n + SHINGLE]) for n in range(max(1, len(words) - SHINGLE + 1))}


def _signature(found: set[str]) -> RMinHash:
    made = RMinHash(num_perm=PERMUTATIONS, seed=1)
    made.update(list(found))
    return made


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _pair(row: OverlapRow, similarity: float, held: OverlapRow) -> Pair:
    told = {"shard": row.shard, "line": row.line, "uid": row.uid, "text": row.text[:SNIPPET]}
    return Pair(similarity=round(similarity, 4), held_uid=held.uid, held_text=held.text[:SNIPPET], **told)
