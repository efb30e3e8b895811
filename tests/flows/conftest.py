"""Flows under test: one Prefect server for the session, started when the first test asks for `orchestrator`.

A module of flow tests says `pytestmark = pytest.mark.usefixtures("orchestrator")`; it may import flows and Prefect at
its top, since the environment is set here, before any module beside this file is read. Every test has its own
SHARDTUNE_ROOT (tests/conftest.py), and with it its own shards, exports and MLflow store.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core import settings

STARTUP = 300  # seconds: the first start of the server makes its database, slowly on a small machine


def _enter() -> None:
    """`settings.enter()` on a root of the session's own: Prefect's home is there, not the person's."""
    home = tempfile.mkdtemp(prefix="shardtune-flows-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    before = os.environ.get(settings.ROOT_VARIABLE)
    os.environ[settings.ROOT_VARIABLE] = home
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    settings.enter()
    del os.environ["MLFLOW_TRACKING_URI"]  # each test's own root names its own
    if before is None:
        del os.environ[settings.ROOT_VARIABLE]
    else:
        os.environ[settings.ROOT_VARIABLE] = before


_enter()


@pytest.fixture(scope="session")
def orchestrator() -> Iterator[None]:
    """A Prefect server with an empty database, for flows called in this process."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # The end of every flow run would wait for its heartbeat to wake from a second of sleep.
    with (
        prefect_test_harness(server_startup_timeout=STARTUP),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the whole session."""
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture
def shared_root(place: Path, monkeypatch: pytest.MonkeyPatch, own_root: Path) -> None:
    """One root for all tests that ask for it: the base model is converted once."""
    monkeypatch.setenv(settings.ROOT_VARIABLE, str(place / "root"))
