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
    uids_uri: str | None = None  # 16 bytes a row: xxh3-128 of the uid, for the rule same_uid
    shared_uri: str | None = None  # 16 bytes a row: content and title, for the rule shared_content
    mended: dict[str, int] = Field({})  # rows changed by a rule that mends damage
    made: bool = Field(False, exclude=True)  # worked on just now, not served from the cache


class Repeats(Frozen):
    """Rows of a cleaned shard to drop for what other rows hold: positions as little-endian int32, no file for none."""

    uri: str | None
    rows: int
    digest: str
    dropped: dict[str, int] = Field({})  # rows by rule


class Finished(Frozen):
    """A shard at the end of prepare, with its exports."""

    shard: CleanShard
    exports: tuple[Export, ...]
    made: bool = Field(False, exclude=True)
