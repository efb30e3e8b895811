"""Preview: what prepare would make of a sample of records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.catalogue import clean, decode, mapping
from tasks.catalogue.records import Rules
from tasks.recipe.fields import Fields

LIMIT = 16_000_000  # bytes of a line


class Preview(NamedTuple):
    """`rows` as they will be, facts included; what cleaning drops and what goes to quarantine, by rule."""

    rows: tuple[dict[str, Any], ...]
    kept: int
    dropped: Mapping[str, int]
    reasons: Mapping[str, int]


def preview(records: Sequence[Mapping[str, Any]], fields: Fields | None, rules: Rules, shown: int = 3) -> Preview:
    """`records` cleaned by themselves; duplicates are found by prepare alone."""
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    rules = rules.model_copy(update={"fields": fields})
    block = decode.decode(lines, 1, LIMIT, mapping.of(fields) if fields else None)
    dropped: Counter[str] = Counter()
    batch = clean.rows(block, rules, dropped, Counter(), [], [])
    reasons = Counter(fault.rule for fault in block.faults)
    found = batch.slice(0, shown).to_pylist()
    return Preview(tuple(found), batch.num_rows, {k: n for k, n in dropped.items() if n}, reasons)


def needed(records: Sequence[Mapping[str, Any]], fields: Fields) -> bool:
    """Whether rows are made by `fields`, or are what they would be without."""
    if fields != Fields(facts=fields.facts) or fields.facts:
        return True
    return any(not isinstance(record.get(name, ""), str | int) for record in records for name in fields.named)
