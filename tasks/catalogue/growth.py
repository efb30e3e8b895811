"""Growth: what of a catalogue is new beside what a chain has learned of it, and what waits since it is still filling.

What was learned is known by its bytes and never cut in another way again: a shard that was not full when it was learned
keeps its lines, and what came after it begins the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from tasks.core import store
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Plan, Shard, Waiting
from tasks.recipe.model import Catalogue


class Growth(NamedTuple):
    """`new` shards can be trained on now; `cuts` keep the last of them as it is; `end` shards are to be prepared."""

    new: tuple[int, ...]
    waiting: Waiting | None
    left: tuple[int, ...]  # new ones that the recipe does not name
    cuts: tuple[int, ...]
    end: int


def cuts(learned: Sequence[CleanShard], then: Catalogue, now: Catalogue) -> tuple[int, ...]:
    """Lines of the first shards, so that those learned are cut as they were; `then` is how they were cut."""
    if not learned:
        return now.cuts
    lines = {s.index: s.lines for s in learned}
    whole = dict(enumerate(then.cuts))
    sizes = [lines.get(n, whole.get(n, then.lines_per_shard)) for n in range(max(lines) + 1)]
    return _needed(sizes, now.lines_per_shard)


def _needed(sizes: list[int], usual: int) -> tuple[int, ...]:
    """The sizes without those at the end that come about anyway, so that a plan of full shards has none."""
    while sizes and sizes[-1] == usual:
        sizes = sizes[:-1]
    return tuple(sizes)


def find(
    plan: Plan,
    learned: Sequence[CleanShard],
    catalogue: Catalogue,
    wanted: Sequence[int] | None,
    max_wait_hours: float | None,
    seen: str,
    now: datetime,
) -> Growth:
    """What is new in `plan`, which is cut by `cuts`. `seen` is the file that tells when a last shard was first seen.

    `wanted` are the recipe's `shards`.

    A last shard waits until it is full, or the recipe's longest wait is over; a line that breaks off waits for its end.
    Where a chain has learned nothing and the catalogue has no full shard yet, its first one does not wait: whoever asks
    for a model of so small a catalogue wants one. Raises CatalogueError where a learned shard is not there as it was.
    """
    for shard in learned:
        _same(plan, shard)
    known = {s.index for s in learned}
    new = [s.index for s in plan.shards if s.index not in known]
    last, waiting, kept = plan.shards[-1], None, catalogue.cuts
    whole = last.lines - plan.cut
    if last.index in new and whole < catalogue.lines_per_shard:
        alone = not known and last.index == 0
        waiting = _waiting(last, whole, catalogue, max_wait_hours, seen, now, alone)
        if waiting:
            new.remove(last.index)
        else:
            kept = _needed([*(s.lines for s in plan.shards[:-1]), whole], catalogue.lines_per_shard)
    named = [n for n in new if wanted is None or n in wanted]
    left = tuple(n for n in new if n not in named)
    return Growth(tuple(named), waiting, left, kept, len(plan.shards) - bool(waiting))


def _same(plan: Plan, learned: CleanShard) -> None:
    """Raise CatalogueError where the shard of this number is not the learned one."""
    there = plan.shards[learned.index] if learned.index < len(plan.shards) else None
    if there is None or (learned.source != there.identity and learned.source != _open_ended(there)):
        told = (
            f"lines {there.first_line:,} to {there.first_line + there.lines - 1:,} are others, or catalogue.fields is"
            if there
            else "it ends before"
        )
        raise CatalogueError(
            f"shard {learned.index} of {plan.catalogue!r}, learned with digest {learned.source[:16]!r}, is not there "
            f"as it was ({told}); nothing was trained. A catalogue may only grow at its end: undo the change, give a "
            "new file a name that sorts after the old ones, or start a new chain under another `name`"
        )


def _open_ended(shard: Shard) -> str:
    """The digest without the last line end: the file may have had none when the shard was learned."""
    with store.reading(shard.uri) as stream:
        stream.seek(shard.start)
        read = stream.read(shard.end - shard.start).removesuffix(b"\n")
    return shard.known(hashlib.sha256(read).hexdigest())


def _waiting(
    shard: Shard,
    lines: int,
    catalogue: Catalogue,
    max_wait_hours: float | None,
    seen: str,
    now: datetime,
    alone: bool,
) -> Waiting | None:
    """Why and until when the shard waits; None where it is taken."""
    if not lines:
        return Waiting(shard=shard.index, lines=0, why="its only line breaks off in the middle", until=None)
    if alone:
        return None
    since = _since(shard, catalogue.uri, seen, now)
    until = None if max_wait_hours is None else since + timedelta(hours=max_wait_hours)
    if until is not None and until <= now:
        return None
    why = f"it has {lines:,} of {catalogue.lines_per_shard:,} lines"
    told = until.isoformat(timespec="seconds") if until else None
    return Waiting(shard=shard.index, lines=lines, why=why, until=told)


def _since(shard: Shard, catalogue: str | None, seen: str, now: datetime) -> datetime:
    """When this shard was first seen. A time that lies ahead, since a clock was set back, is now."""
    mine = {"catalogue": catalogue, "first_line": shard.first_line}
    held = store.read(seen) or {}
    if {name: held.get(name) for name in mine} == mine:
        with suppress(KeyError, TypeError, ValueError):  # a file of another version
            since = datetime.fromisoformat(held["since"])
            if since <= now:
                return since
    store.write(seen, mine | {"since": now.isoformat()})
    return now
