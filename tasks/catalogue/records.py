"""What the steps of prepare hand to each other: small frozen records."""

from __future__ import annotations

from pydantic import Field

from tasks.core import store
from tasks.core.models import CleanShard, Export, Frozen, Shard
from tasks.recipe.fields import Fields
from tasks.recipe.model import Cleaning, Splitting


class Rules(Frozen):
    """All that decides what becomes of a line."""

    clean: Cleaning = Field(default_factory=Cleaning)
    split: Splitting = Field(default_factory=Splitting)
    max_line_bytes: int = 16_000_000
    # Left out where it says nothing, so that what was made before there were fields is still found.
    fields: Fields | None = Field(None, exclude_if=lambda fields: fields is None)


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
    rows_mark: str = ""  # see `store.marks`
    digests: dict[str, str] = Field(default_factory=dict)  # of each file of 16 bytes a row
    marks: dict[str, str] = Field(default_factory=dict)  # of `files`
    made: bool = Field(False, exclude=True)  # worked on just now, not served from the cache

    @property
    def files(self) -> tuple[str, ...]:
        """What must be there as it was."""
        return tuple(uri for uri in (*self.hashed, self.quarantine_uri) if uri)

    @property
    def hashed(self) -> tuple[str, ...]:
        """The files of 16 bytes a row."""
        return tuple(uri for uri in (self.hashes_uri, self.uids_uri, self.shared_uri) if uri)

    @property
    def sound(self) -> bool:
        """Whether the files of 16 bytes a row, read to their end, are as they were written."""
        return all(store.same(uri, self.digests.get(uri, "")) for uri in self.hashed)


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
    marks: dict[str, str] = Field(default_factory=dict)
    made: bool = Field(False, exclude=True)

    @property
    def files(self) -> tuple[str, ...]:
        """What must be there as it was."""
        named = (self.shard.uri, self.shard.quarantine_uri, *(u for e in self.exports for u in (e.uri, e.rows_uri)))
        return tuple(uri for uri in named if uri)
