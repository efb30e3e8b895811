"""`shardtune up` as a process of its own, for tests of the service and of its pages in a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tasks.core import store

TOP = Path(__file__).parent.parent.parent
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PORTS = ("--port", "--mlflow-port", "--serve-port")
PATIENCE = 300.0  # seconds, after which a moment that never came fails the test


class Service:
    """`shardtune up` on a root of its own."""

    def __init__(self, root: Path, taken: int, **env: str) -> None:
        self.root, self.log, self.taken = root, root.parent / "up.log", taken
        self.env = {name: v for name, v in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        self.env |= {"SHARDTUNE_ROOT": str(root), "PYTHONPATH": os.pathsep.join([str(TOP), *sys.path[1:]])} | env

    def call(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from flows.cli.main import main; main()", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.call(*words), cwd=TOP, env=self.env, capture_output=True, text=True)

    def start(self) -> None:
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.call("up", *(word for name in PORTS for word in (name, str(self.taken))), "--no-gpu"),
                cwd=TOP,
                env=self.env,
                stdout=stream,
                stderr=stream,
            )
        until(lambda: "serve" in self.known() and self.known()["up"]["pid"] == self.process.pid, self)

    def known(self) -> dict[str, Any]:
        path = self.root / "service.json"
        return store.read(str(path)) or {} if path.exists() else {}

    def url(self, name: str) -> str:
        return str(self.known()[name]["url"])

    def login(self) -> dict[str, str]:
        """The passwords that the first start made."""
        return dict(json.loads((self.root / "access.json").read_text()))

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        auth = tuple(self.login()["prefect"].split(":", 1))
        for _ in range(10):  # its database is busy now and then: Prefect's own client asks again, too
            reply = httpx.request(method, self.url("prefect") + path, json=body, auth=auth, timeout=60)
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return reply

    def deployment(self, name: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/deployments/name/{name}").raise_for_status().json())

    def begin(self, name: str, /, **changes: Any) -> httpx.Response:
        """A run of the deployment as the form starts it, with changes of the recipe's keys."""
        deployment = self.deployment(name)
        for key, value in changes.items():
            *folders, last = key.split("__")
            at = deployment["parameters"]["recipe"]
            for folder in folders:
                at = at[folder]
            at[last] = value
        body = {"parameters": deployment["parameters"], "state": {"type": "SCHEDULED"}}
        return self.api("POST", f"/deployments/{deployment['id']}/create_flow_run", body)

    def begun(self, name: str, /, **changes: Any) -> str:
        """The id of a run that was begun."""
        reply = self.begin(name, **changes)
        assert reply.is_success, reply.text
        return str(reply.json()["id"])

    def flow_run(self, run_id: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/flow_runs/{run_id}").raise_for_status().json())

    def kill(self) -> None:
        """Leave nothing behind, whatever a test has left."""
        known = self.known()
        self.process.kill()
        for child in known.values():
            with suppress(ProcessLookupError):
                os.killpg(child["pid"], signal.SIGKILL)

    def processes(self) -> list[psutil.Process]:
        """`up` and everything that it began."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]


def until(moment: Callable[[], object], service: Service) -> None:
    """Wait for the moment; `up` must still be there when it comes."""
    deadline = time.monotonic() + PATIENCE
    while not moment():
        assert service.process.poll() is None, service.log.read_text()
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.2)
