"""MLflow's own server in a thread of the test, on the store of the test's root, handing out its artifacts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
import uvicorn

from tasks.core import settings

PATIENCE = 60.0  # seconds for a server to start
STORES = ("_tracking_store", "_model_registry_store", "_artifact_repo")


@contextmanager
def server(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's address, which is the tracking URI of the settings meanwhile."""
    root.mkdir(exist_ok=True)
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{root}/mlflow.db")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", (root / "mlartifacts").as_uri())
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app

    for kept in STORES:  # it would go on with the stores of the test before
        monkeypatch.setattr(handlers, kept, None)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    made = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE
    while not made.started:
        assert time.monotonic() < until
        time.sleep(0.05)
    # Not by the environment: the server in this process writes its own store into it.
    monkeypatch.setattr(settings, "tracking_uri", lambda: f"http://127.0.0.1:{port}")
    yield f"http://127.0.0.1:{port}"
    made.should_exit = True
    thread.join()
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    mlflow.set_registry_uri("")  # the server names its own store to the whole process
