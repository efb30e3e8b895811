"""Shapes: what may be unusual in a provider's answers: lists that never end, counts that are texts or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

NEVER = datetime.fromtimestamp(0, UTC)
MILLISECONDS = 100_000_000_000  # a larger number counts them; as seconds it would be the year 5138
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
        if value is None or not float(value) >= 0:
            return None
        return value if isinstance(value, int) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def moment(value: Any) -> datetime:
    """A time as a provider tells it, in seconds or milliseconds or as ISO 8601; 1970 where none can be read."""
    try:
        if (seconds := whole(value)) is not None:
            return datetime.fromtimestamp(seconds / 1_000 if seconds >= MILLISECONDS else seconds, UTC)
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else NEVER
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return NEVER
