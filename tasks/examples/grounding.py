"""Grounding: the rows put into a `grounded` prompt, the right one among others of its shard and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xxhash

ROWS = 3  # in one prompt: the right one and two others

Row = dict[str, Any]


def context(rows: Sequence[Row], number: int) -> list[Row]:
    """The rows shown with `rows[number]`: itself and others, chosen and ordered by its hash alone.

    `rows` are all rows of one shard and one split, so that no held-out row is shown in training. A shard with fewer
    rows shows fewer.
    """
    seed = xxhash.xxh3_64_intdigest(str(rows[number]["row_hash"]).encode())
    shown: list[int] = []
    for step in range(min(ROWS, len(rows)) - 1):
        candidate = (seed + step * (seed >> 32 | 1)) % len(rows)
        while candidate == number or candidate in shown:
            candidate = (candidate + 1) % len(rows)
        shown.append(candidate)
    shown.insert(seed % (len(shown) + 1), number)
    return [rows[n] for n in shown]
