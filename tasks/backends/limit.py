"""Limit: until when a provider takes no more jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def until(retry_after: str | None, daily: bool) -> str:
    """When a limit ends, ISO 8601 UTC: as the provider says, else at midnight for a daily one, else in a minute."""
    now = datetime.now(UTC)
    if retry_after and retry_after.replace(".", "", 1).isdigit():
        end = now + timedelta(seconds=float(retry_after))
    elif daily:
        end = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    else:
        end = now + timedelta(minutes=1)
    return end.isoformat(timespec="seconds")
