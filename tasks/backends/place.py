"""Place: what a base URL stands for. A simulator on this machine must never be taken for the provider it plays."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def of(url: str | None, official: str) -> str | None:
    """None for the provider's own service (or no URL), "loopback/…" for this machine, else host and path."""
    if not url:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.endswith(official):
        return None
    return ("loopback" if is_loopback(url) else host) + parts.path.rstrip("/")


def is_loopback(url: str | None) -> bool:
    """Whether the URL leads to this machine."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
