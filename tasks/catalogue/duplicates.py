"""Duplicates: which rows, over all shards, repeat title and content or the uid, or have a content of many titles.

What repeats is the later one, in catalogue order, whatever order the shards were cleaned in. So rows of a shard never
depend on later shards, and a grown catalogue leaves its old shards as they are: but where the newest row of a uid is
asked for.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tasks.catalogue import shared
from tasks.catalogue.records import Cleaned, Repeats
from tasks.core import store
from tasks.recipe.model import Cleaning

ROOM = 1_000_000  # hashes held at a time: about 70 MB with what sorting needs
SLICES = 500  # at most, since each is an open file for a while; above ROOM * SLICES rows, more are held at a time
READERS = 16  # files read or written at a time: in object storage each is a wait
HASHED = np.dtype([("place", "<i8"), ("high", "<u8"), ("low", "<u8")])

NONE = Repeats(uri=None, rows=0, digest="")


def find(cleaned: Sequence[Cleaned], rules: Cleaning, root: str) -> tuple[Repeats, ...]:
    """For each shard, in order, the rows to drop, each counted by the first rule that drops it."""
    starts = np.cumsum([0, *(c.rows for c in cleaned)])
    slices = min(SLICES, int(starts[-1]) // ROOM + 1)
    found: dict[str, Any] = {}
    asked = rules.duplicates == "drop" or rules.same_uid == "first"
    exact = {"duplicates": (_repeats, [c.hashes_uri for c in cleaned])} if asked else {}
    uids = [c.uids_uri for c in cleaned if c.uids_uri]
    # The newest row of a uid is found before exact repeats are, of which the first one stays.
    steps: dict[str, Any] = {"same_uid": (_repeated, uids), **exact} if rules.same_uid == "newest" else exact
    if rules.same_uid == "first":
        steps = {**exact, "same_uid": (_repeats, uids)}
    for rule, (which, uris) in steps.items():
        before = np.concatenate([np.empty(0, np.int64), *found.values()])
        sliced = _sliced(uris, starts, slices)
        found[rule] = np.sort(np.concatenate([which(rows[~np.isin(rows["place"], before)]) for rows in sliced]))
    if rules.duplicates == "keep":
        found.pop("duplicates", None)  # exact repeats stay, those of one uid too
    if rules.shared_content:
        sliced = _sliced([c.shared_uri for c in cleaned if c.shared_uri], starts, slices)
        many = [shared.places(rows[_twins(rows["high"])], starts, rules.shared_content) for rows in sliced]
        before = np.concatenate([np.empty(0, np.int64), *found.values()])
        found["shared_content"] = np.setdiff1d(np.concatenate(many), before)
    own = [_of_shard(found, int(a), int(b)) for a, b in pairwise(starts)]
    with ThreadPoolExecutor(READERS) as writers:
        return tuple(writers.map(_keep, own, [root] * len(own)))


def _of_shard(found: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    """Of each rule the positions in the shard whose rows have the places from `start` to `end`."""
    edges = {rule: np.searchsorted(places, (start, end)) for rule, places in found.items()}
    return {rule: found[rule][a:b] - start for rule, (a, b) in edges.items() if b > a}


def _sliced(uris: Sequence[str], starts: Any, slices: int) -> Iterator[Any]:
    """All rows, in slices of the range of hashes. Several wait in temporary files, so that each shard is read once."""
    if slices == 1:
        yield np.concatenate([np.empty(0, HASHED), *_hashes(uris, starts)])
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        files = [stack.enter_context(Path(name, str(n)).open("w+b")) for n in range(slices)]
        for rows in _hashes(uris, starts):
            parts = rows["high"] % np.uint64(slices)
            order = np.argsort(parts, kind="stable")
            edges = np.searchsorted(parts[order], np.arange(slices + 1, dtype=np.uint64))
            for file, a, b in zip(files, edges[:-1], edges[1:], strict=False):
                file.write(rows[order[a:b]].tobytes())
        for file in files:
            file.seek(0)
            yield np.frombuffer(file.read(), HASHED)


def _repeats(rows: Any) -> Any:
    """Places, in the whole catalogue, of rows whose hash was there before."""
    places, same = _ordered(rows)
    return places[1:][same]


def _repeated(rows: Any) -> Any:
    """Places of rows whose hash comes again."""
    places, same = _ordered(rows)
    return places[:-1][same]


def _ordered(rows: Any) -> tuple[Any, Any]:
    """Places of rows whose hash is there more than once, by hash; and for each but the first, if it is as before."""
    place, high, low = rows["place"], rows["high"], rows["low"]
    some = _twins(high)
    order = some[np.lexsort((place[some], low[some], high[some]))]
    same = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
    return place[order], same


def _twins(numbers: Any) -> Any:
    """Positions of the numbers that are there more than once: few, so only they are sorted with care."""
    order = np.argsort(numbers)
    ranked = numbers[order]
    same = ranked[1:] == ranked[:-1]
    twin = np.zeros(len(numbers), bool)
    twin[1:] |= same
    twin[:-1] |= same
    return order[twin]


def _hashes(uris: Sequence[str], starts: Any) -> Iterator[Any]:
    """Of each shard, in order, its rows as HASHED."""
    with ThreadPoolExecutor(READERS) as readers:
        for n in range(0, len(uris), READERS):
            for start, pairs in zip(starts[n:], readers.map(_read, uris[n : n + READERS]), strict=False):
                rows = np.empty(len(pairs), HASHED)
                rows["place"] = np.arange(start, start + len(pairs))
                rows["high"], rows["low"] = pairs[:, 0], pairs[:, 1]
                yield rows


def _read(uri: str) -> Any:
    with store.reading(uri) as stream:
        return np.frombuffer(stream.read(), "<u8").reshape(-1, 2)


def _keep(own: dict[str, Any], root: str) -> Repeats:
    if not own:
        return NONE
    positions = np.sort(np.concatenate(list(own.values())))
    data = positions.astype("<i4").tobytes()
    digest = hashlib.sha256(data).hexdigest()[:32]
    uri = store.join(root, "catalogue", "repeats", f"{digest}.i4")
    if not store.same(uri, digest):
        with store.writing(uri, derived=True) as out:
            out.write(data)
    dropped = {rule: len(each) for rule, each in own.items()}
    return Repeats(uri=uri, rows=len(positions), digest=digest, dropped=dropped)


def positions(repeats: Repeats) -> Any:
    """The row positions in `repeats`, ascending, as int32."""
    if repeats.uri is None:
        return np.empty(0, np.int32)
    with store.reading(store.check(repeats.uri, repeats.digest)) as stream:
        return np.frombuffer(stream.read(), "<i4")
