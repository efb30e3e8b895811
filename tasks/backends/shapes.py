"""Shapes: read provider answers of unusual form: lists that never end, counts that are text or missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

NEVER = datetime.fromtimestamp(0, UTC)
MILLISECONDS = 100_000_000_000  # a larger number is in milliseconds; as seconds it would be the year 5138
REPEATS = 200  # known items in a row, after which the service must be ignoring the position of a page


def once(items: Iterable[Any], name: Callable[[Any], Any]) -> Iterator[Any]:
    """Each item once, by its `name`. Ends if a service repeats its first page for ever. Items without a name are left
    out, since nothing can be done with them."""
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
    """A provider's count as an int; None if it gives none."""
    try:
        if value is None or not float(value) >= 0:
            return None
        return value if isinstance(value, int) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def moment(value: Any) -> datetime:
    """A provider's time, given in seconds, milliseconds or ISO 8601; 1970 if it cannot be read."""
    try:
        if (seconds := whole(value)) is not None:
            return datetime.fromtimestamp(seconds / 1_000 if seconds >= MILLISECONDS else seconds, UTC)
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else NEVER
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return NEVER
