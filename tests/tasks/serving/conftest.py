"""A client of a server with a catalogue of 21 products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tasks.answers.reply import Target
from tests.kit import serving as kit


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.indexed(tmp_path_factory.mktemp("serving"))


@pytest.fixture
def speaker() -> kit.Speaker:
    return kit.Speaker()


@pytest.fixture
def target() -> Target:
    return kit.champion()


@pytest.fixture
def serving(folder: Path, speaker: kit.Speaker, target: Target) -> Callable[..., TestClient]:
    """A client of a server with these limits."""

    def client(**limits: Any) -> TestClient:
        app = kit.application(folder, speaker, target, **limits)
        return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)

    return client
