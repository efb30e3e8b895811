"""Grounding: the rows that a prompt shows, the right one among others of its shard and split, or left out."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import xxhash

ROWS = 3  # in one prompt: the right one and two others
MISSING = 6  # in one of so many examples the right row is left out, and the answer is that none is there
Row = dict[str, Any]
_WORD = re.compile(r"[^\W_]{3,}")


class Shelf:
    """All rows of one shard and one split, so that no held-out row is shown in training."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            for word in set(_WORD.findall(row["title"].lower())):
                self._by_word[word].append(number)

    def missing(self, number: int) -> bool:
        """Whether this row is left out of its own prompt; a lonely one never is. Decided by its hash alone."""
        return len(self._rows) > ROWS and seed_of(self._rows[number]) % MISSING == 0

    def shown(self, number: int) -> list[Row]:
        """The rows shown with `rows[number]`: itself (unless `missing`), the one whose title is most like it, others.

        Chosen and ordered by the hash of the row. A shard with fewer rows shows fewer.
        """
        seed, left_out = seed_of(self._rows[number]), self.missing(number)
        shown = [like] if (like := self._like(number)) is not None else []
        step = 0
        while len(shown) < min(ROWS - (not left_out), len(self._rows) - 1):
            candidate = (seed + step * (seed >> 32 | 1)) % len(self._rows)
            while candidate == number or candidate in shown:
                candidate = (candidate + 1) % len(self._rows)
            shown.append(candidate)
            step += 1
        if not left_out:
            shown.insert(seed % (len(shown) + 1), number)
        return [self._rows[n] for n in shown]

    def _like(self, number: int) -> int | None:
        """Another row that shares the rarest shared word of the title."""
        title = sorted(set(_WORD.findall(self._rows[number]["title"].lower())))
        shared = [(len(self._by_word[word]), word) for word in title if len(self._by_word[word]) > 1]
        if not shared:
            return None
        others = self._by_word[min(shared)[1]]
        place = bisect_left(others, number)  # rows were put in by their number
        return others[place - 1] if place else others[1]


def seed_of(row: Row) -> int:
    """A number that the row alone decides."""
    return xxhash.xxh3_64_intdigest(str(row["row_hash"]).encode())


def clip(text: str, most: int) -> str:
    """The whole sentences at the head of `text` within `most` characters; else its words as far as they go."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    ends = [found.end() for found in re.finditer(r"[.!?][\"'\u201d\u2019)]*(?=\s)", head) if found.end() > most // 3]
    return head[: ends[-1]] if ends else head[:most].rpartition(" ")[0] or head[:most]
