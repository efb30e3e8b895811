"""What tests of the catalogue share: a bucket on loopback, work done in this process, no limit on an example's time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.kit.bucket import serving

settings.register_profile("shardtune", deadline=None)
settings.load_profile("shardtune")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`s3://shop`, empty."""
    with serving(monkeypatch) as uri:
        yield uri


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is done in this process, unless a test asks for more."""
    monkeypatch.setenv("SHARDTUNE_WORKERS", "1")
