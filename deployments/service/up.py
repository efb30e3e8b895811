"""Up: Prefect, MLflow, workers and the models as one service on one machine. `shardtune up` runs it.

All state is under the root, in the stores that the command line uses without servers. What runs is written to
`service.json` there: commands find the servers by it, and a next `up` finds what a killed one left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from filelock import FileLock, Timeout

from deployments.service.children import Child, begun, end, stop
from tasks.core import access, processes, settings, store
from tasks.core.errors import ServiceError
from tasks.orchestrator import server
from tasks.recipe import allowed

READY = 300.0  # seconds: a first start makes the databases, slowly on a small machine
HOST = "127.0.0.1"


class Service:
    """The children, in the order in which they start."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell, self.root, self.stopping = tell, settings.local_root(), threading.Event()
        self.children: list[Child] = []
        # Named whole: the flow runs of this root are told by it, and its default or a relative one tells nothing.
        self.environment = os.environ | {settings.ROOT_VARIABLE: settings.root()}

    def run(self, port: int, mlflow_port: int, serve_port: int, pools: tuple[str, ...]) -> None:
        """Start everything, look after it until a signal says stop, stop it. ServiceError where `up` runs already."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "service.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ServiceError(f"already up: {', '.join(settings.served().values()) or 'starting'}") from error
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.clean()
            server.retire()  # with commands at work it stays until they have ended
            self.begin(port, mlflow_port, serve_port, pools)
            while not self.stopping.wait(1.0):
                self.tend()
        finally:
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
            lock.release()

    def _signalled(self, *_: object) -> None:
        self.stopping.set()

    def clean(self) -> None:
        """End what a killed `up` left behind."""
        for name, known in settings.service().items():
            if process := processes.alive(known):
                self.tell(f"{name} of an earlier `up` is stopped (pid {process.pid})")
                stop(process.pid)

    def begin(self, port: int, mlflow_port: int, serve_port: int, pools: tuple[str, ...]) -> None:
        """Servers, deployments, then workers and the models; the sweep looks once at what an earlier end has left."""
        known, first = settings.service(), access.known() is None
        self.tell(f"starting Prefect and MLflow{', which make their databases first' if first else ''}")
        self.add(prefect(self.environment, self.port("prefect", port, known), self.root))
        self.add(mlflow(self.environment, self.port("mlflow", mlflow_port, known), self.root))
        urls = settings.served()
        self.environment |= access.client(urls) | urls
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        registering = self.beside("deployments.register", "--begin")
        try:
            self.ready()
            self.tell("registering the deployments")
            done = self.ended(registering, "register the deployments")
        finally:
            registering.kill()
        if not done:
            return
        for pool in pools:
            self.add(worker(self.environment, pool, self.root))
        self.add(serve(self.environment, self.port("serve", serve_port, known), self.root))
        for child in self.children:
            if child.url:
                self.tell(f"{child.name:8} {child.url.removesuffix('/api')}")
        if first:
            self.tell(access.login())
        self.tell(f"up, with workers for {', '.join(pools)}; logs in {self.root / 'logs'}; Ctrl-C stops it")

    def port(self, name: str, wanted: int, known: dict[str, dict[str, str]]) -> int:
        """The port wanted (0: the one of last time, else the default), or a free one where it is taken."""
        last = known.get(name, {}).get("url", "").removesuffix("/api").rpartition(":")[2]
        wanted = wanted or int(last or {"prefect": 4200, "mlflow": 5000, "serve": 8000}[name])
        given = [urlsplit(child.url).port for child in self.children]  # to a server that may not listen yet
        for tried in (wanted, 0):
            if tried in given:
                continue
            with socket.socket() as door:
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    door.bind((HOST, tried))
                except OSError:
                    continue
                port = int(door.getsockname()[1])
                if port != wanted:
                    self.tell(f"port {wanted} is taken: {name} takes {port}")
                return port
        raise ServiceError(f"no port is free for {name!r} at {HOST}")

    def add(self, child: Child) -> None:
        self.children.append(child)
        child.start()
        self.record()

    def ready(self) -> None:
        """Wait until every child is well; ServiceError with the end of its log where one is not in time."""
        for child in self.children:
            waited = 0.0
            while not child.healthy() and not self.stopping.wait(0.5):
                waited += 0.5
                ended = child.process is not None and child.process.poll() is not None
                if waited % 10 == 0:
                    self.tell(f"waiting for {child.name} ({waited:.0f} s); its log is {child.log}")
                if ended or waited > READY:
                    tail = child.log.read_text(errors="replace").strip()[-600:]
                    raise ServiceError(f"{child.name} did not come up; the end of {str(child.log)!r}: {tail}")

    def beside(self, *module: str) -> subprocess.Popen[str]:
        """Start a Python module that does one thing beside the servers."""
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ended(self, process: subprocess.Popen[str], what: str) -> bool:
        """Wait for its end and tell what went wrong and what it kept; False where a stop came first."""
        while not self.stopping.is_set():
            try:
                out, err = process.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode:
                self.tell(f"cannot {what}: {(err or out).strip()[-1500:]}")
            for line in out.splitlines():
                if line.startswith("kept"):
                    self.tell(line)
            return not self.stopping.is_set()
        return False

    def tend(self) -> None:
        looks = [(child, child.tend(), child.starts) for child in self.children]
        for _, words, _ in looks:
            if words:
                self.tell(words)
        self.record()

    def record(self) -> None:
        """Write down what runs, where it has changed."""
        known = {"up": processes.identity()} | {child.name: child.record() for child in self.children}
        if known != settings.service():
            store.write(str(self.root / "service.json"), known)

    def stop(self) -> None:
        """Workers first, then the flow runs that lost theirs, then the servers. Trainers go on."""
        for child in reversed(self.children):
            if child.process is None:
                continue
            if child.url:
                for engine in engines(settings.root()):
                    end([engine, *begun(engine)])
            stop(child.process.pid)
            child.process.wait()


def engines(root: str) -> Iterator[psutil.Process]:
    """Flow runs of this root that work on this machine, each in a process of its own."""
    for process in psutil.process_iter():
        try:
            if "prefect.engine" in process.cmdline() and process.environ().get(settings.ROOT_VARIABLE) == root:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def prefect(environment: dict[str, str], port: int, root: Path) -> Child:
    """The Prefect server, with the page that a browser shows."""
    url = f"http://{HOST}:{port}/api"
    env = processes.environment("prefect", given=environment) | access.prefect_server(port)
    env.pop("PREFECT_API_URL", None)
    # Kept in memory, by default, a limit's slots are lost with the server, and every run that holds one ends itself.
    env |= {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}
    return Child("prefect", door("prefect", port), env, root / "logs" / "prefect.log", url, f"{url}/health")


def mlflow(environment: dict[str, str], port: int, root: Path) -> Child:
    """The MLflow server on the store that the command line uses without one."""
    url = f"http://{HOST}:{port}"
    env = processes.environment("mlflow", given=environment) | access.mlflow_server(port)
    return Child("mlflow", door("mlflow", port), env, root / "logs" / "mlflow.log", url, f"{url}/health")


def serve(environment: dict[str, str], port: int, root: Path) -> Child:
    """The models of this root, answered from over HTTP; without a champion it waits for one."""
    url = f"http://{HOST}:{port}"
    env = environment | {access.PASSWORD: access.made().password}
    return Child("serve", door("serve", port), env, root / "logs" / "serve.log", url, f"{url}/health")


def door(server: str, port: int) -> list[str]:
    """The command line of a server. `ps` shows it to every account, so passwords are in the environment alone."""
    return [sys.executable, "-m", "deployments.service.door", server, "--port", str(port)]


def worker(environment: dict[str, str], pool: str, root: Path) -> Child:
    """A worker of one pool; its name stays the same over restarts."""
    name = f"{pool}@{processes.place()}"
    call = [sys.executable, "-m", "deployments.service.worker", "--pool", pool, "--type", "process", "--name", name]
    env = {allowed.VARIABLE: allowed.usual(str(root))} | environment | {"PREFECT_WORKER_QUERY_SECONDS": "5"}
    return Child(f"worker {pool}", call, env, root / "logs" / f"worker-{pool}.log")
