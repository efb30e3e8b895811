"""What the steps of prepare hand to each other: small frozen records."""

from __future__ import annotations

from pydantic import Field

from tasks.models import CleanShard, Export, Frozen, Shard
from tasks.recipe import Cleaning, Splitting


class Rules(Frozen):
    """All that decides what becomes of a line."""

    clean: Cleaning = Field(default_factory=Cleaning)
    split: Splitting = Field(default_factory=Splitting)
    max_line_bytes: int = 16_000_000


class Cleaned(Frozen):
    """A shard after cleaning, before duplicates: its rows wait in `rows_uri` (Arrow IPC) until they are settled."""

    shard: Shard
    rows_uri: str
    hashes_uri: str  # 16 bytes a row: xxh3-128 of title and content, in row order
    rows: int
    dropped: dict[str, int]
    quarantined: int
    quarantine_uri: str | None
    reasons: dict[str, int] = Field({})  # quarantined lines by rule
    made: bool = Field(False, exclude=True)  # worked on just now, not served from the cache


class Repeats(Frozen):
    """Which rows of a cleaned shard came before: their positions as little-endian int32, or no file where none did."""

    uri: str | None
    rows: int
    digest: str


class Finished(Frozen):
    """A shard at the end of prepare, with its exports."""

    shard: CleanShard
    exports: tuple[Export, ...]
    made: bool = Field(False, exclude=True)
