"""Processes by number and moment of their start: a number that another process uses again does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil


def told(process: psutil.Process | None = None) -> dict[str, Any]:
    """What tells `process` (else: this one) from every other of this machine."""
    if process is None:
        import psutil

        process = psutil.Process()
    return {"pid": process.pid, "started": process.create_time()}


def alive(known: dict[str, Any] | None) -> psutil.Process | None:
    """The process that `known` tells of; None where it is gone."""
    if known is None:
        return None
    import psutil

    try:
        process = psutil.Process(int(known["pid"]))
        there = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(known["started"])) < 2
        return process if there else None
    except psutil.NoSuchProcess:
        return None
