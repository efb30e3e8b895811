"""State: the clock, the faults that are switched on, and the record of what was asked."""

from __future__ import annotations

import threading
import time
from typing import Any


class Clock:
    """Simulated seconds since 1970: real ones, `speed` times as fast, plus what was added by hand."""

    def __init__(self, speed: float) -> None:
        self.speed, self._began, self._added = speed, time.time(), 0.0

    def now(self) -> float:
        return self._began + (time.time() - self._began) * self.speed + self._added

    def advance(self, seconds: float) -> None:
        self._added += seconds


class State:
    """What the simulated services share; `lock` is held while one request is answered."""

    def __init__(self, speed: float = 60.0) -> None:
        self.clock, self.lock = Clock(speed), threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the time."""
        self.faults: list[dict[str, Any]] = []
        self.taken: list[str] = []  # faults that were acted out
        self.requests: list[dict[str, Any]] = []
        self.creates: dict[str, int] = {"openai": 0, "azure": 0, "vertex": 0}  # create calls that made a job
        self.files: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.tuning: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self._numbers = 0

    def number(self) -> int:
        """A number that was not given before."""
        self._numbers += 1
        return self._numbers

    def fault(self, route: str, when: str) -> dict[str, Any] | None:
        """The next fault of this route at this moment, after `skip` calls that pass; used up by one."""
        for fault in self.faults:
            if fault["route"] == route and fault.get("when", "before") == when and fault.get("times", 1) != 0:
                if fault.get("skip"):
                    fault["skip"] -= 1
                    continue
                if fault.get("times", 1) is not None:
                    fault["times"] = fault.get("times", 1) - 1
                self.taken.append(fault["fault"])
                return fault
        return None
