"""A real MLflow store for each test: the empty database is made once and copied, since making it takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def store(empty: Path, own_root: Path) -> None:
    """MLflow keeps its state under the test's own root."""
    own_root.mkdir()
    shutil.copy(empty, own_root / "mlflow.db")
