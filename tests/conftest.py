"""No test can reach the network or see a key: sockets are held to loopback and keys are taken away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

SECRETS = ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["SHARDTUNE_IDLE"] = "0"  # no command of a test leaves a server in the background
for name in (*SECRETS, "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)


def pytest_runtest_setup() -> None:
    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a root of its own, and nothing else."""
    root = tmp_path / "root"
    monkeypatch.setenv("SHARDTUNE_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it itself, for the root of another test
    return root
