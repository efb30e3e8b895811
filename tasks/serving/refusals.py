"""Refusals: every request that is not answered gets a JSON error of OpenAI's shape, with a status that fits."""

from __future__ import annotations

from typing import Any


class RefusedRequest(Exception):
    """A request that is not answered. `message` says what to do next; it never repeats what was sent."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None, wait: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.wait = status, message, code, param, wait

    @property
    def headers(self) -> dict[str, str]:
        """How many seconds to wait before another try, where that helps."""
        return {"Retry-After": str(self.wait)} if self.wait is not None else {}


def body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The error as OpenAI's clients read it."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
