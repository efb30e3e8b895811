"""Processes by number and moment of their start: a number that another process uses again does not count."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

FIRST = "pid:[4026531836]"  # the namespace of the machine itself, which has this number on every Linux


def place() -> str:
    """Where process numbers mean what they mean here: this machine, or one container of it, since its start.

    Containers may share a name (two workers of docker-compose.yml do) and do not see each other's processes.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return socket.gethostname()  # no Linux, no namespaces
    number = namespace.strip("pid:[]")
    return socket.gethostname() if namespace == FIRST else f"{socket.gethostname()}:{number}-{boot[:8]}"


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
