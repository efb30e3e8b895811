"""No test can reach the network or see a key: sockets are held to loopback and keys are taken away."""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

SECRETS = ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["SHARDTUNE_IDLE"] = "0"  # no command of a test leaves a server in the background
for name in (*SECRETS, "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)

# A test's tier follows from what it needs. `quick`: it lies in one of QUICK, and importing its module loads none of
# HEAVY. `whole`: it uses a fixture that starts services, or it says so. `long`: it says so. `make test` adds others.
TOP = Path(__file__).parent.parent
QUICK = [
    TOP / "tests/tasks" / name
    for name in ("", "answers", "catalogue", "core", "evaluation", "examples", "orchestrator", "recipe")
]
HEAVY = {"torch", "transformers", "trl", "peft", "prefect", "mlflow"}
SERVICES = {"orchestrator", "service", "running", "chromium"}


@functools.cache
def loads(path: Path) -> frozenset[str]:
    """The packages that importing a module of ours loads, by its own imports and by those of our modules it imports."""
    found, ours = set(), set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = TOP / f"{name.replace('.', '/')}.py"
            ours |= {file} if file.exists() else set()
            found.add(name.partition(".")[0])
    return frozenset(found.union(*(loads(file) for file in ours if file != path)))


def quick(path: Path) -> bool:
    return path.parent in QUICK and not loads(path) & HEAVY


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m quick` does not even import what is not quick: that would cost more than the tests."""
    if config.getoption("markexpr") == "quick" and collection_path.name.startswith("test_"):
        return not quick(collection_path) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SERVICES & {*getattr(item, "fixturenames", ())}:
            item.add_marker("whole")
        elif quick(item.path) and not item.get_closest_marker("whole"):
            item.add_marker("quick")


@pytest.fixture(scope="session", autouse=True)
def only_light_packages(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tests of `-m quick` load neither torch nor Prefect nor MLflow."""
    yield
    if request.config.getoption("markexpr") == "quick":
        assert {"torch", "prefect", "mlflow"} & {*sys.modules} == set()


def pytest_runtest_setup() -> None:
    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test has a root of its own, and nothing else."""
    root = tmp_path / "root"
    monkeypatch.setenv("SHARDTUNE_ROOT", str(root))
    # MLflow sets it itself, for the root of another test; a fixture of the next module must not see it either.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield root
    os.environ.pop("MLFLOW_TRACKING_URI", None)
