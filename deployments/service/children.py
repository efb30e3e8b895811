"""Children: processes that are started, looked at, started again when they die, and stopped with all they began.

Of our own: supervisor is a daemon with a configuration language and a socket, honcho stops everything when one child
dies, and neither asks a server how it is or knows which of its processes outlive it by design.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tasks.core import processes

GRACE = 30.0  # seconds for a process to end by itself
PATIENCE = 120.0  # seconds without a good answer, after which a server is started again
LONGEST = 60.0  # seconds between two starts of a child that keeps dying
# A job goes on without us. The second name is that of trainers which a version before 2026-11-26 has started.
TRAINERS = {"tasks.backends.local.training.trainer", "tasks.backends.trainer"}


class Child:
    """One process of the service."""

    def __init__(self, name: str, call: Sequence[str], env: dict[str, str], log: Path, url: str = "", health: str = ""):
        self.name, self.call, self.env, self.log, self.url, self.health = name, list(call), env, log, url, health
        self.process: subprocess.Popen[bytes] | None = None
        self.starts, self.begun, self.good, self.due = 0, 0.0, 0.0, 0.0

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches nobody but us."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.call,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1
        self.begun = self.good = time.monotonic()

    def healthy(self) -> bool:
        """Whether it lives and, where it is a server, says that it is well."""
        if self.process is None or self.process.poll() is not None:
            return False
        return not self.health or answers(self.health)

    def tend(self) -> str:
        """Start it again where it died or no longer answers; what happened, in words, or nothing."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            if self.healthy():
                self.good = now
                if now - self.begun > LONGEST:
                    self.starts = 1  # what lives this long may die again without a pause
            elif now - self.good > PATIENCE:
                kill_group(self.process.pid)
                return f"{self.name} gave no answer for {PATIENCE:.0f} s and was killed"
            return ""
        if self.due <= self.begun:
            if self.health and self.process is not None:
                kill_group(self.process.pid)  # what it had begun would hold its port
            pause = min(LONGEST, 2.0 ** (self.starts - 1))
            self.due = now + pause
            return f"{self.name} ended with status {self.process and self.process.returncode}; again in {pause:.0f} s"
        if now >= self.due:
            self.start()
        return ""

    def record(self) -> dict[str, Any]:
        """What `service.json` keeps of it: pid, start time, url and log."""
        assert self.process is not None
        known = {"pid": self.process.pid, "url": self.url, "log": str(self.log)}
        try:
            return known | processes.identity(psutil.Process(self.process.pid))
        except psutil.NoSuchProcess:
            return known | {"started": 0.0}


def answers(url: str) -> bool:
    """Whether the server at `url` answers that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def stop(pid: int) -> None:
    """End a process and everything that it began, but no trainer: first asked, then killed."""
    try:
        first = psutil.Process(pid)
        end([first, *begun(first)])
    except (psutil.NoSuchProcess, ValueError):
        pass
    kill_group(pid)


def begun(process: psutil.Process) -> list[psutil.Process]:
    """All processes that this one began and those began, without trainers and what is theirs."""
    listed = []
    for child in process.children():
        try:
            if not TRAINERS & {*child.cmdline()}:
                listed += [child, *begun(child)]
        except psutil.NoSuchProcess:
            continue
    return listed


def end(several: list[psutil.Process]) -> None:
    """Ask the first to end, which ends the others; ask what is left; kill what is left then."""
    for asked, grace in ((several[:1], GRACE), (several, 5.0)):
        for process in asked:
            if process.is_running():
                process.terminate()
        psutil.wait_procs(asked, grace)
    for process in several:
        if process.is_running():
            process.kill()
    psutil.wait_procs(several, GRACE)


def kill_group(pid: int) -> None:
    """Kill what is left of the process group that `pid` led; 0 would be our own, and 1 everybody's."""
    if pid <= 1:
        return
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
