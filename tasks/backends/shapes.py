"""Shapes: what may be unusual in a provider's answers: lists that never end, counts that are texts or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

REPEATS = 200  # items in a row that were seen before: the service ignores where a page was to begin


def once(items: Iterable[Any], name: Callable[[Any], Any]) -> Iterator[Any]:
    """Each item once, known by `name`; ends where a service repeats its first page for ever. Items without a name
    are left out: nothing can be done with them."""
    seen, repeated = set(), 0
    for item in items:
        known = name(item)
        if not known or known in seen:
            repeated += 1
            if repeated >= REPEATS:
                return
            continue
        repeated = 0
        seen.add(known)
        yield item


def whole(value: Any) -> int | None:
    """A count as a provider tells it; None where it tells none."""
    try:
        return int(value) if value is not None and float(value) >= 0 else None
    except (TypeError, ValueError, OverflowError):
        return None
