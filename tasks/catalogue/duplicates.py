"""Duplicates: which rows, over all shards, have the title and content of an earlier row.

Earlier means in catalogue order, whatever order the shards were cleaned in. So rows of a shard never depend on later
shards, and a grown catalogue leaves its old shards as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tasks import store
from tasks.catalogue.records import Cleaned, Repeats

ROOM = 1_000_000  # hashes held at a time: about 70 MB with what sorting needs

NONE = Repeats(uri=None, rows=0, digest="")


def find(cleaned: Sequence[Cleaned], policy: Literal["keep", "drop"], root: str) -> tuple[Repeats, ...]:
    """For each shard, in order, the rows to drop: none where `policy` is keep."""
    if policy == "keep":
        return (NONE,) * len(cleaned)
    starts = np.cumsum([0, *(c.rows for c in cleaned)])
    found: list[Any] = [np.empty(0, np.int64)]
    slices = int(starts[-1]) // ROOM + 1
    for part in range(slices):
        found.append(_repeats(cleaned, starts, part, slices))
    repeats = np.sort(np.concatenate(found))
    edges = np.searchsorted(repeats, starts)
    return tuple(
        _keep((repeats[a:b] - start).astype("<i4"), root)
        for a, b, start in zip(edges[:-1], edges[1:], starts, strict=False)
    )


def _repeats(cleaned: Sequence[Cleaned], starts: Any, part: int, slices: int) -> Any:
    """Places, in the whole catalogue, of rows whose hash was there before, among hashes of one slice of the range."""
    places, highs, lows = [], [], []
    for start, high, low in _hashes(cleaned, starts):
        mine = np.arange(len(high)) if slices == 1 else np.flatnonzero(high % np.uint64(slices) == part)
        places.append(start + mine)
        highs.append(high[mine])
        lows.append(low[mine])
    if not places:
        return np.empty(0, np.int64)
    place, high, low = np.concatenate(places), np.concatenate(highs), np.concatenate(lows)
    some = _twins(high)
    order = some[np.lexsort((place[some], low[some], high[some]))]
    same = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
    return place[order[1:][same]]


def _twins(numbers: Any) -> Any:
    """Positions of the numbers that are there more than once: few, so only they are sorted with care."""
    order = np.argsort(numbers)
    ranked = numbers[order]
    same = ranked[1:] == ranked[:-1]
    twin = np.zeros(len(numbers), bool)
    twin[1:] |= same
    twin[:-1] |= same
    return order[twin]


def _hashes(cleaned: Sequence[Cleaned], starts: Any) -> Iterator[tuple[int, Any, Any]]:
    for start, one in zip(starts, cleaned, strict=False):
        with store.reading(one.hashes_uri) as stream:
            pairs = np.frombuffer(stream.read(), "<u8").reshape(-1, 2)
        yield int(start), pairs[:, 0], pairs[:, 1]


def _keep(positions: Any, root: str) -> Repeats:
    if not len(positions):
        return NONE
    data = positions.tobytes()
    digest = hashlib.sha256(data).hexdigest()[:32]
    uri = store.join(root, "catalogue", "repeats", f"{digest}.i4")
    if not store.exists(uri):
        with store.writing(uri) as out:
            out.write(data)
    return Repeats(uri=uri, rows=len(positions), digest=digest)


def positions(repeats: Repeats) -> Any:
    """The row positions in `repeats`, ascending, as int32."""
    if repeats.uri is None:
        return np.empty(0, np.int32)
    with store.reading(repeats.uri) as stream:
        return np.frombuffer(stream.read(), "<i4")
