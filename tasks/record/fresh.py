"""Create MLflow's SQLite database for a new root without waiting for the disk after each migration."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from tasks.core import settings, store


def lock() -> FileLock:
    """A lock to hold while tables are created: MLflow does not check whether another process is creating them."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "mlflow.lock")


def database() -> None:
    """Make the database of this root where none is; `lock` is held. It appears whole, forced to the disk once.

    MLflow commits some fifty migrations one by one: four seconds here, in which a CPU has nothing to do.
    """
    path = settings.local_root() / "mlflow.db"
    if path.exists():
        return
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as place:
        made = Path(place) / path.name
        _migrated(made)
        with made.open("rb") as source, store.writing(str(path)) as target:
            shutil.copyfileobj(source, target)


def _migrated(path: Path) -> None:
    from mlflow import MlflowClient
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def unforced(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
            if file == str(path):
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unforced)
    try:
        MlflowClient(tracking_uri=f"sqlite:///{path}")
    finally:
        event.remove(Engine, "connect", unforced)
