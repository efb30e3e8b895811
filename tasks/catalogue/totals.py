"""Totals: what prepare did with every line, over all shards, checked against the plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from tasks.catalogue.records import Finished
from tasks.core import store
from tasks.core.choices import WANTED
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Plan, Prepared

LINE = 1 << 20  # bytes of a line that are looked at to say what is wrong with it


def total(plan: Plan, finished: Sequence[Finished], most: float = 1.0) -> Prepared:
    """The shards added up; `most` is the share of the lines that may be in quarantine.

    CatalogueError where no row is usable, where more is in quarantine, or where a line is not accounted for.
    """
    shards = tuple(one.shard for one in finished)
    dropped: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    mended: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard.dropped)
        reasons.update(shard.reasons)
        mended.update(shard.mended)
    prepared = Prepared(
        catalogue=plan.catalogue, lines=sum(s.lines for s in shards), kept=sum(s.kept for s in shards),
        dropped=dict(sorted(dropped.items())), quarantined=sum(s.quarantined for s in shards), cut=plan.cut,
        shards=shards, exports=tuple(e for one in finished for e in one.exports),
        made=sum(one.made for one in finished), reasons=dict(sorted(reasons.items())), left=plan.left,
        mended=dict(sorted(mended.items())),
    )  # fmt: skip
    counted = prepared.kept + sum(prepared.dropped.values()) + prepared.quarantined
    if not prepared.lines == plan.lines == counted:
        raise CatalogueError(f"{plan.lines:,} lines were planned and {counted:,} are accounted for: please report this")
    if not prepared.kept:
        raise CatalogueError(_unusable(plan, prepared))
    if prepared.quarantined > most * prepared.lines:
        raise CatalogueError(
            f"{prepared.quarantined:,} of the {prepared.lines:,} lines of {plan.catalogue!r} are in quarantine, more "
            f"than the share {most:g} that catalogue.max_quarantined_share allows; {_first_fault(plan, shards)}"
        )
    return prepared


def _unusable(plan: Plan, prepared: Prepared) -> str:
    """Why no row is left: what was dropped, what is in quarantine, and the first line there."""
    told = f"the catalogue {plan.catalogue!r} holds no usable row: {prepared.lines:,} lines"
    if prepared.dropped:
        told += f", dropped {prepared.dropped!r} (look at the rules under `clean`)"
    if prepared.quarantined:
        told += f", in quarantine {prepared.reasons!r}; {_first_fault(plan, prepared.shards)}"
    if plan.left:
        told += f"; not read: {', '.join(map(repr, plan.left[:5]))}"
    return told


def _first_fault(plan: Plan, shards: Sequence[CleanShard]) -> str:
    """The first line in quarantine, what is wrong with it, and where all of them are listed."""
    number, shard = next((n, s) for n, s in enumerate(shards) if s.quarantine_uri)
    with store.reading(str(shard.quarantine_uri)) as stream:
        fault = json.loads(stream.readline())
    with store.reading(plan.shards[number].uri) as stream:
        stream.seek(plan.shards[number].start)
        before = fault["line"] - plan.shards[number].first_line
        line = next(islice(iter(lambda: stream.readline(LINE), b""), before, None), b"")
    return (
        f"the first is line {fault['line']:,}, {_wrong(fault['rule'], line)}: {fault['snippet'][:80]!r}; "
        f"all of them: {shard.quarantine_uri}"
    )


def _wrong(rule: str, line: bytes) -> str:
    """The rule that a line breaks, with what was found instead."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        told = str(error) if rule == "malformed_json" else ""
        return f"{rule} ({told})" if told else f"{rule}{ADVICE.get(rule, '')}"
    if not isinstance(value, dict):
        return f"{rule} (a line must be one object with {', '.join(WANTED)})"
    if rule.startswith("missing_"):
        keys = ", ".join(repr(key[:64]) for key in list(value)[:12])
        inner = next((key for key in value if isinstance(value[key], dict) and WANTED[0] in value[key]), None)
        if inner is not None:
            return f"{rule} (its key {inner!r} holds the row: say `uid: {inner}.uid` and so on under catalogue.fields)"
        return (
            f"{rule} (its keys are {keys}: say under catalogue.fields which of them are {', '.join(WANTED)}; "
            "`shardtune init FILE` proposes it)"
        )
    if rule == "wrong_type":
        kinds = ", ".join(f"{key} is {type(value[key]).__name__}" for key in WANTED if not isinstance(value[key], str))
        return f"{rule} ({kinds}, and should be text)"
    return f"{rule}{ADVICE.get(rule, '')}"


ADVICE = {
    "invalid_utf8": " (save the file as UTF-8)",
    "blank_uid": " (each product needs an identifier of its own)",
    "too_long": " (catalogue.max_line_bytes is the bound)",
    "cut": " (the file breaks off: fetch it again)",
}
