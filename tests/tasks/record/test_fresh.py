"""MLflow's database of a new root: as MLflow makes it, whole or not there, and one that is there stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.core import settings
from tasks.record import fresh


def dumped(path: Path) -> list[list[str]]:
    """All of a database but the times at which it was made; constraints come in any order."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE experiments SET creation_time = 0, last_update_time = 0")
        return sorted(sorted(line.replace(",", " ").split()) for line in file.iterdump())


@pytest.fixture
def path(own_root: Path) -> Path:
    made = settings.local_root() / "mlflow.db"
    made.unlink(missing_ok=True)
    return made


def test_it_is_what_mlflow_makes_and_one_that_is_there_stays(path, tmp_path):
    with fresh.lock():
        fresh.database()
    MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'theirs.db'}")
    assert dumped(path) == dumped(tmp_path / "theirs.db")
    before = path.read_bytes()
    fresh.database()
    assert path.read_bytes() == before and not list(path.parent.glob("*.part"))


def test_one_that_is_cut_short_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr("mlflow.store.db.utils._upgrade_db", lambda engine: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fresh.database()
    assert not path.exists() and not list(path.parent.glob("*.part"))


def test_other_connections_wait_for_the_disk(path):
    fresh.database()
    store = MlflowClient(tracking_uri=f"sqlite:///{path}")._tracking_client.store
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
