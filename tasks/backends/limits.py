"""Limits: until when a provider accepts no more jobs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=1)  # a provider that wants a longer wait is asked again after a day


def until(retry_after: str | None, daily: bool) -> str:
    """When a limit ends, ISO 8601 UTC: as the provider says (seconds, or an HTTP date), at most a day from now.

    Where it says nothing that can be read: at midnight for a daily limit, else in a minute.
    """
    now = datetime.now(UTC)
    wait = _seconds(retry_after, now)
    if wait is not None:
        end = now + min(max(wait, timedelta()), LONGEST)
    elif daily:
        end = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    else:
        end = now + timedelta(minutes=1)
    return end.isoformat(timespec="seconds")


def after(seconds: float) -> str:
    """The time `seconds` from now, ISO 8601 UTC."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _seconds(header: str | None, now: datetime) -> timedelta | None:
    try:
        seconds = float(header or "")
        return None if math.isnan(seconds) else timedelta(seconds=min(max(seconds, 0.0), LONGEST.total_seconds()))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
