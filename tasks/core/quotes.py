"""Quotes: what the links of a recipe will cost, as records that cross a flow's boundary."""

from __future__ import annotations

from tasks.core.models import Frozen


class Priced(Frozen):
    """The quote of one link. None is "unknown", never zero."""

    key: str
    shards: tuple[int, ...]
    done: bool  # recorded already, so it costs nothing more
    examples: int
    tokens: int | None
    tokens_high: int | None
    usd_low: float | None
    usd_high: float | None
    basis: str


class Quoted(Frozen):
    """What the links of a recipe will cost, in US dollars; sums are None where a part is unknown."""

    links: tuple[Priced, ...]
    usd_low: float | None
    usd_high: float | None
    budget_usd: float | None
    fits: bool | None  # None without a budget
