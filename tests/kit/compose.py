"""docker-compose.yml read as Compose reads it, and its services as processes of this machine.

What stands for another name or place in a container is translated, and nothing else: names of services become
127.0.0.1, their ports free ones, and folders of containers folders of the test.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

TOP = Path(__file__).parent.parent.parent
FILE = TOP / "docker-compose.yml"
EXAMPLE = TOP / ".env.example"
# What services listen on in their containers.
PORTS = ("4200", "5000", "5432", "7070", "8000", "8080", "8700", "8701")
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:[?-])([^}]*))?\})")


def declared() -> dict[str, Any]:
    """The file as it is written."""
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def interpolated(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with every ${NAME} in it replaced; LookupError with the file's own words where one is missing."""
    if isinstance(value, dict):
        return {key: interpolated(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, values) for inner in value]
    return VARIABLE.sub(lambda found: _put(found, values), value) if isinstance(value, str) else value


def _put(found: re.Match[str], values: Mapping[str, str]) -> str:
    dollar, name, sign, rest = found.groups()
    if dollar:
        return "$"
    if values.get(name):
        return values[name]
    if sign == ":?":
        raise LookupError(rest)
    return rest or ""


def example() -> dict[str, str]:
    """What .env.example sets, commented-out lines included, each with its value there."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return {m[1]: m[2] for m in (re.match(r"#?(\w+)=(.*)$", line) for line in lines) if m}


def given_on() -> set[str]:
    """Variables that a service names without a value."""
    return {n for s in declared()["services"].values() for n, value in s["environment"].items() if value is None}


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Native(NamedTuple):
    """A service as this machine runs it."""

    name: str
    command: list[str]
    environment: dict[str, str]
    health: list[str]

    def run(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """To its end."""
        return subprocess.run(
            self.command, env=self.environment, cwd=TOP, capture_output=True, text=True, timeout=seconds
        )

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """In a session of its own, its output in `log`."""
        with log.open("ab") as stream:
            return subprocess.Popen(
                self.command, env=self.environment, cwd=TOP, stdout=stream, stderr=stream, start_new_session=True
            )

    def well(self) -> bool:
        """What its health check says now."""
        return subprocess.run(self.health, env=self.environment, cwd=TOP, capture_output=True).returncode == 0


class Stack:
    """All services of the file, translated to this machine."""

    def __init__(self, values: Mapping[str, str], place: Path) -> None:
        self.services: dict[str, Any] = interpolated(declared()["services"], values)
        self.values, self.place = values, place
        self._ports: dict[str, int] = {}

    def folder(self, volume: str) -> Path:
        """The folder that stands for a volume."""
        made = self.place / "volumes" / volume
        made.mkdir(parents=True, exist_ok=True)
        return made

    def port(self, number: str, name: str = "") -> int:
        """The free port that stands for `number`; every worker has an 8080 of its own."""
        key = f"{name}:{number}" if number == "8080" else number
        if key not in self._ports:
            self._ports[key] = free_port()
        return self._ports[key]

    def native(self, name: str) -> Native:
        """One service as a process."""
        service = self.services[name]
        # A name without a value is taken from .env, and not set where it is not there.
        named = {k: self.values.get(k) if v is None else str(v) for k, v in service["environment"].items()}
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder(f"{name}-home")),
            "PYTHONPATH": os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "HF_HUB_OFFLINE": "1",
        }
        for key, value in named.items():
            if value is not None:
                is_host = key.endswith("HOST") and value in self.services
                environment[key] = "127.0.0.1" if is_host else self._here(value, name)
        check = service.get("healthcheck", {}).get("test", ["CMD", "true"])
        words = [[self._here(word, name) for word in line] for line in (service["command"], check[1:])]
        return Native(name, words[0], environment, words[1])

    def _here(self, text: str, name: str) -> str:
        service = self.services[name]
        places = {"/app": TOP}
        for mount in service.get("volumes", []):
            source, target = mount.split(":")[:2]
            places[target] = TOP / source if source.startswith(".") else self.folder(source)
        for mount in service.get("tmpfs", []):
            target = mount.split(":")[0]
            places[target] = self.folder(name + target.replace("/", "-"))
        # In one pass: what a folder is translated into is not translated again.
        targets = "|".join(sorted(map(re.escape, places), key=len, reverse=True))
        text = re.sub(rf"(?<![\w/.])(?:{targets})(?=/|$)", lambda found: str(places[found[0]]), text)
        hosts = "|".join(self.services)
        text = re.sub(rf"(?<=//)(?:{hosts})(?=:)|\b0\.0\.0\.0\b", "127.0.0.1", text)
        return re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda found: str(self.port(found[0], name)), text)
