"""Wording: errors as OpenAI words them."""

from __future__ import annotations

from deployments.simulators.faults import Refused


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None, param: str = "") -> Refused:
    """An error as OpenAI words it."""
    kind = "insufficient_quota" if code == "insufficient_quota" else "invalid_request_error"
    error = {"message": f"{message} (simulator)", "type": kind, "param": param or None, "code": code}
    return Refused(status, {"error": error}, headers)
