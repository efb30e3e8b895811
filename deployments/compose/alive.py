"""Alive: exit status 0 where a URL answers below 400. `python -m deployments.compose.alive URL`, a health check."""

from __future__ import annotations

import sys
from urllib.error import URLError
from urllib.request import urlopen


def alive(url: str) -> bool:
    """Whether `url` answers, without a redirect to follow or credentials."""
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status < 400)
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if alive(sys.argv[1]) else 1)
