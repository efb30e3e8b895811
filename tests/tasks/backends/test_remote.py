"""The contract of every backend, kept by the paid ones through the real SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.simulators.serve import Simulators
from tasks.backends import get_backend
from tasks.backends.contract import Backend, Link
from tasks.core.models import CleanShard
from tests.kit import paid
from tests.kit import rows as shards
from tests.kit.contract import BackendContract
from tests.kit.models import ROWS


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulators]:
    with paid.simulated(monkeypatch) as running:
        yield running


class Remote(BackendContract):
    """The fixtures that both have in common."""

    name: str

    @pytest.fixture
    def backend(self, simulators: Simulators) -> Backend:
        return get_backend(paid.TUNES[self.name])

    @pytest.fixture
    def quick(self, simulators: Simulators, tmp_path: Path) -> Link:
        return paid.linked(tmp_path, paid.TUNES[self.name])

    @pytest.fixture
    def lasting(self, simulators: Simulators, tmp_path: Path) -> Link:
        route = f"{paid.SERVICE[self.name]}.{'jobs.create' if self.name == 'openai' else 'tune'}"
        simulators.state.faults.append({"route": route, "fault": "never_ends", "when": "mode"})
        return paid.linked(tmp_path, paid.TUNES[self.name], seed=8)

    @pytest.fixture
    def shard(self, tmp_path: Path) -> CleanShard:
        return shards.shard(tmp_path / "train", ROWS, "train")


class TestOpenAI(Remote):
    name = "openai"


class TestGemini(Remote):
    name = "gemini"
