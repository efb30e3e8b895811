"""The services of docker-compose.yml as containers, by Docker Compose or podman-compose.

Every command reads the file itself. Only two things are given from outside: free ports, and for podman-compose the
order, since podman checks no health without systemd.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit import compose
from tests.kit.clients import Clients

PATIENCE = 300  # seconds until a service is well, or has ended
REVIVED = 60  # seconds in which an engine starts a dead container again
STANDIN = "shardtune.standin"  # label of an image that stands for one of a registry: what it is
NO_GPU = "  worker-gpu: {image: shardtune-cpu:0.1.0, deploy: {resources: {reservations: !reset {}}}}\n"
NO_ORDER = compose.TOP / "deployments/compose/podman.yaml"


def engine() -> list[str] | None:
    """The command of Compose on this machine; None where no engine runs."""
    for tool, words in (("docker", ["docker", "compose"]), ("podman", ["podman-compose"])):
        found = shutil.which(words[0]) and shutil.which(tool)
        if found and subprocess.run([tool, "info"], capture_output=True).returncode == 0:
            return words
    return None


class Contained(Clients):
    """One project of its own: its containers, networks and volumes go with it."""

    def __init__(
        self, words: list[str], place: Path, simulators: Sequence[str] = (), passwords: Mapping[str, str] | None = None
    ) -> None:
        self.words, self.place = words, place
        self.tool = "docker" if words[0] == "docker" else "podman"
        self.project = f"check{secrets.token_hex(3)}"
        told = compose.example()
        secret = {name for name, value in told.items() if value == "" and name not in compose.given_on()}
        self.values = {name: (passwords or {}).get(name) or secrets.token_hex(12) for name in secret}
        self.ports = {"4200": "PREFECT_PORT", "5000": "MLFLOW_PORT", "7070": "STORE_PORT", "8000": "SERVE_PORT"}
        self.values |= {name: str(compose.free_port()) for name in self.ports.values()}
        self.values |= {"WORKER_CPUS": "2", "WORKER_MEMORY": "6g", "GPU_WORKER_MEMORY": "6g", "SERVE_MEMORY": "4g"}
        (place / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.values.items()))
        self.services: dict[str, Any] = compose.interpolated(compose.declared()["services"], self.values)
        changes: dict[str, dict[str, Any]] = {
            "simulators": {"command": self.services["simulators"]["command"] + [*simulators]}
        }
        (place / "changes.json").write_text(json.dumps({"services": changes}))
        (place / "no-gpu.yaml").write_text("services:\n" + NO_GPU)
        self.mounted: list[Path] = []

    def port(self, number: str) -> int:
        return int(self.values[self.ports[number]])

    def compose(self, *words: str) -> str:
        files = ["--file", str(compose.FILE), "--file", str(self.place / "changes.json")]
        files += ["--file", str(self.place / "no-gpu.yaml")]
        files += ["--file", str(NO_ORDER)] * (self.tool == "podman")
        about = ["--env-file", str(self.place / ".env"), "-p", self.project, *files]
        about += ["--profile", "rehearsal", "--profile", "gpu"]
        return _run([*self.words, *about, *words])

    def engine(self, *words: str) -> str:
        return _run([self.tool, *words])

    def container(self, name: str) -> str:
        """The id of a service's container."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={name}"]
        chosen = [word for label in labels for word in ("--filter", f"label={label}")]
        found = self.engine("ps", "--all", "--quiet", "--no-trunc", *chosen).split()
        assert len(found) == 1, f"{name}: {len(found)} containers"
        return found[0]

    def inspected(self, name: str) -> dict[str, Any]:
        """All that the engine knows of a service's container."""
        return dict(json.loads(self.engine("inspect", self.container(name)))[0])

    def state(self, name: str) -> dict[str, Any]:
        return dict(self.inspected(name)["State"])

    def up(self, *names: str) -> None:
        """Start these services, each when those it waits for are well or have ended well."""
        for name in names:
            self.compose("up", "--detach", "--no-deps", "--no-build", name)
            self.wait(name)

    def wait(self, name: str) -> None:
        """Until its health check passes; of one that ends, until it has ended well."""
        until = time.monotonic() + PATIENCE
        while not (self.ended(name) if self.services[name]["restart"] == "no" else self.well(name)):
            assert time.monotonic() < until, f"{name} is not well: {self.output(name)[-4000:]}"
            time.sleep(0.5)

    def ended(self, name: str) -> bool:
        state = self.state(name)
        if state["Status"] not in ("exited", "stopped"):
            return False
        assert state["ExitCode"] == 0, f"{name} ended with {state['ExitCode']}: {self.output(name)[-4000:]}"
        return True

    def well(self, name: str) -> bool:
        if self.tool == "docker":
            return bool(self.state(name).get("Health", {}).get("Status") == "healthy")
        found = subprocess.run(["podman", "healthcheck", "run", self.container(name)], capture_output=True)
        return found.returncode == 0

    def revive(self, name: str) -> None:
        """Wait until a container that has died is well again; the engine starts it, as the file tells it to."""
        until = time.monotonic() + REVIVED
        while self.state(name)["Status"] != "running" and time.monotonic() < until:
            time.sleep(0.5)
        assert self.state(name)["Status"] == "running", f"{name} was not started again"
        self.wait(name)

    def networks(self, name: str) -> list[str]:
        """The names of the networks that a container is in."""
        return sorted(self.inspected(name)["NetworkSettings"]["Networks"])

    def output(self, name: str) -> str:
        done = subprocess.run([self.tool, "logs", self.container(name)], capture_output=True, text=True)
        return done.stdout + done.stderr

    def inside(self, name: str, *command: str) -> str:
        """What a command prints in a service's container."""
        return self.engine("exec", self.container(name), *command)

    def has(self, name: str, pattern: str) -> bool:
        """Whether a file of this pattern lies in a service's container."""
        found = f"import glob; print(len(glob.glob({pattern!r})))"
        return int(self.inside(name, "python", "-c", found)) > 0

    def images(self) -> list[tuple[str, str, str]]:
        """The images of the file: name, size, and what it is where it stands in for another."""
        found = []
        for name in sorted({service["image"] for service in self.services.values()}):
            done = subprocess.run([self.tool, "image", "inspect", name], capture_output=True, text=True)
            if done.returncode == 0:
                told = json.loads(done.stdout)[0]
                label = (told.get("Labels") or told.get("Config", {}).get("Labels") or {}).get(STANDIN, "")
                found.append((name, f"{told['Size'] / 1e6:.0f} MB", label))
            else:
                found.append((name, "missing", ""))
        return found

    def folder(self, name: str) -> Path:
        """Where a volume lies on this machine; only root may look."""
        return Path(json.loads(self.engine("volume", "inspect", f"{self.project}_{name}"))[0]["Mountpoint"])

    def copy_out(self, folder: Path, names: Sequence[str]) -> None:
        """Each volume as NAME.tar."""
        for name in names:
            self._tar(name, folder, "--create")

    def copy_in(self, folder: Path, names: Sequence[str], small: Mapping[str, str]) -> None:
        """New volumes from NAME.tar; those of `small` are in memory and of this size, which takes root."""
        for name in names:
            labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.volume={name}"]
            options = [word for label in labels for word in ("--label", label)]
            self.engine("volume", "create", *options, f"{self.project}_{name}")
            if name in small:
                place = self.folder(name)
                _run(["mount", "-t", "tmpfs", "-o", f"size={small[name]}", "tmpfs", str(place)])
                self.mounted.append(place)
            self._tar(name, folder, "--extract")

    def _tar(self, name: str, folder: Path, way: str) -> None:
        volumes = ["--volume", f"{self.project}_{name}:/volume", "--volume", f"{folder}:/copy"]
        tar = ["--entrypoint", "tar", "shardtune:0.1.0", way, "--numeric-owner", "--file", f"/copy/{name}.tar"]
        self.engine("run", "--rm", "--user", "0", *volumes, *tar, "--directory", "/volume", ".")

    def down(self) -> None:
        """End all of it, volumes included."""
        self.compose("stop", "--timeout", "10")
        for place in self.mounted:
            _run(["umount", "--lazy", str(place)])
        self.compose("down", "--volumes", "--timeout", "10")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=compose.TOP, capture_output=True, text=True)
    assert done.returncode == 0, (
        f"{' '.join(command[:2])} … {' '.join(command[-4:])}: {done.stdout[-800:]}{done.stderr[-2000:]}"
    )
    return done.stdout
