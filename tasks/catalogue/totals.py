"""Totals: what prepare did with every line, over all shards, checked against the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.catalogue.records import Finished
from tasks.errors import CatalogueError
from tasks.models import Plan, Prepared


def total(plan: Plan, finished: Sequence[Finished]) -> Prepared:
    """The shards added up. CatalogueError where no row is usable, or where a line is not accounted for."""
    shards = tuple(one.shard for one in finished)
    dropped: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard.dropped)
    prepared = Prepared(
        catalogue=plan.catalogue, lines=sum(s.lines for s in shards), kept=sum(s.kept for s in shards),
        dropped=dict(sorted(dropped.items())), quarantined=sum(s.quarantined for s in shards), cut=plan.cut,
        shards=shards, exports=tuple(e for one in finished for e in one.exports),
        made=sum(one.made for one in finished),
    )  # fmt: skip
    counted = prepared.kept + sum(prepared.dropped.values()) + prepared.quarantined
    if not prepared.lines == plan.lines == counted:
        raise CatalogueError(f"{plan.lines:,} lines were planned and {counted:,} are accounted for: please report this")
    if not prepared.kept:
        raise CatalogueError(
            f"the catalogue {plan.catalogue!r} holds no usable row: {prepared.lines:,} lines, dropped "
            f"{prepared.dropped!r}, in quarantine {prepared.quarantined:,}; look at the cleaning rules"
        )
    return prepared
