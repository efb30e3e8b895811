"""Guard: the simulators answer programs that know their address, and no page of a browser."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any, TypeVar
from urllib.parse import urlsplit

Handler = TypeVar("Handler", bound=BaseHTTPRequestHandler)


def guarded(handler: type[Handler], names: tuple[str, ...]) -> type[Handler]:
    """`handler`, which refuses with 403 what names another host than `names`, and what a browser sends for a page."""

    class Guarded(handler):  # type: ignore[misc,valid-type]
        def parse_request(self) -> Any:
            if not super().parse_request():
                return False
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            if host in names and "Origin" not in self.headers and "Sec-Fetch-Site" not in self.headers:
                return True
            self.close_connection = True
            self.send_error(403, "The simulators answer no page of a browser")
            return False

    return Guarded
