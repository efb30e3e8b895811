"""The services of docker-compose.yml on this machine: real PostgreSQL 15, an S3 API, Prefect, MLflow, workers.

Their commands, environment, order and health checks are the file's. Only what is an image of somebody else is replaced:
Debian's PostgreSQL does what the entry point of its image does, and moto's server stands for the object store.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit import compose
from tests.kit.clients import Clients

POSTGRES = Path("/usr/lib/postgresql/15/bin")
PATIENCE = 300  # seconds: a first start makes a database, slowly on a busy machine


class Running(compose.Stack, Clients):
    """A stack whose services are started by name."""

    def __init__(self, place: Path) -> None:
        empty = {name for name, value in compose.example().items() if not value} - compose.given_on()
        super().__init__({name: secrets.token_hex(12) for name in empty}, place)
        self.behind: int | None = None  # the object store's own port, where something stands in front of it
        self._ends = ExitStack()
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        return self.place / f"{name}.log"

    def up(self, *names: str) -> None:
        """Start these services, each when what it waits for is well or has ended well."""
        for name in names:
            service = self.native(name) if name not in ("postgres", "store") else None
            if service is None:
                self._ends.enter_context(postgres(self) if name == "postgres" else store(self))
            elif self.services[name]["restart"] == "no":
                done = service.run(PATIENCE)
                assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
            else:
                self.started[name] = service.start(self.log(name))
                self._ends.callback(end, self.started[name])
        for name in names:
            if name in self.started:
                self.wait(name)

    def wait(self, name: str) -> None:
        """Until the service's own health check passes."""
        service, until = self.native(name), time.monotonic() + PATIENCE
        while not service.well():
            ended = name in self.started and self.started[name].poll() is not None
            tail = self.log(name).read_text(errors="replace")[-4000:] if self.log(name).exists() else ""
            assert not ended and time.monotonic() < until, f"{name} is not well: {tail}"
            time.sleep(0.3)

    def down(self) -> None:
        for process in self.started.values():
            process.terminate()  # all at once, and then one after another is waited for
        self._ends.close()

    def output(self, name: str) -> str:
        """What a service has printed."""
        return self.log(name).read_text(errors="replace") if self.log(name).exists() else ""

    def has(self, name: str, pattern: str) -> bool:
        """Whether a file of this pattern, as the service's container names it, is there."""
        return bool(glob.glob(self._here(pattern, name)))


@contextmanager
def stack(front: Callable[[Running], AbstractContextManager[None]] = nullcontext) -> Iterator[Running]:
    """PostgreSQL, object store, Prefect and MLflow with what is registered, and the CPU worker.

    `front` puts something in front of the object store: it sets `behind` and listens on the port that clients know.
    """
    if not POSTGRES.exists():
        pytest.skip(f"PostgreSQL 15 is not in {str(POSTGRES)!r}: apt-get install postgresql-15")
    place = Path(tempfile.mkdtemp(prefix="shardtune-stack-"))
    place.chmod(0o711)  # PostgreSQL's user passes through
    running = Running(place)
    try:
        with front(running):
            running.up("postgres", "store", "buckets")
            running.up("prefect", "mlflow")
            running.up("deploy", "worker")
            yield running
    finally:
        running.down()
        shutil.rmtree(place, ignore_errors=True)


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """A signal, and SIGKILL to its group where that is not enough."""
    process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


@contextmanager
def postgres(running: Running) -> Iterator[None]:
    """Debian's server, made and started as the entry point of PostgreSQL's image does it."""
    service = running.native("postgres")
    data, sockets = running.folder("postgres"), running.folder("postgres-var-run-postgresql")
    environment = service.environment | {"PGHOST": str(sockets), "PGPORT": str(running.port("5432"))}
    environment["PATH"] = f"{POSTGRES}:{environment['PATH']}"
    key = running.place / "postgres-password"
    key.write_text(environment["POSTGRES_PASSWORD"])
    user: dict[str, Any] = {"env": environment, "cwd": "/"}
    if os.geteuid() == 0:  # who may not run a database
        user |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        for path in (data, sockets, key):
            shutil.chown(path, "postgres")
        for path in (running.place, data.parent, sockets.parent):
            path.chmod(0o755)  # what shardtune makes is closed to other accounts, and this is one

    def run(*command: str, given: str = "") -> None:
        done = subprocess.run(command, input=given, capture_output=True, text=True, **user)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    owner = ["--username", environment["POSTGRES_USER"], "--pwfile", str(key)]
    rules = ["--auth-host=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    run("initdb", "--pgdata", str(data), *owner, *rules)
    here = ["-D", str(data), "-k", str(sockets), "-p", environment["PGPORT"], "-c", "listen_addresses=127.0.0.1"]
    with running.log("postgres").open("ab") as log:
        process = subprocess.Popen([*service.command, *here], stdout=log, stderr=log, start_new_session=True, **user)
    try:
        until = time.monotonic() + PATIENCE
        while subprocess.run([str(POSTGRES / service.health[0]), *service.health[1:]], capture_output=True).returncode:
            assert process.poll() is None and time.monotonic() < until, running.log("postgres").read_text()
            time.sleep(0.1)
        run("sh", "-s", given=(compose.TOP / "deployments/compose/databases.sh").read_text())
        yield
    finally:
        end(process, signal.SIGINT)  # as its image is stopped: SIGTERM would wait for its clients


@contextmanager
def store(running: Running) -> Iterator[None]:
    """moto's S3 server, at the address of the object store."""
    port = running.behind or running.port("7070")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running.log("store").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/moto-api/")
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < until, running.log("store").read_text()
                time.sleep(0.1)
        yield
    finally:
        end(process)
