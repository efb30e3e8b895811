"""Prepare on a Dask cluster with all state in object storage: the same bytes as on one machine, whoever dies."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from distributed import Client

from flows.prepare import prepare
from tasks import store
from tasks.errors import RunnerError
from tasks.models import Prepared
from tasks.recipe import Recipe
from tests.benchmarks import catalogue
from tests.flows.cluster import Cluster, running
from tests.tasks.catalogue.bucket import serving

pytestmark = pytest.mark.usefixtures("orchestrator")

LINES, PER = 4_000, 100
PATIENCE = 120.0  # seconds, after which a moment that never came fails the test


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDTUNE_WORKERS", "1")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(monkeypatch) as uri:
        yield uri


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Forty shards with every kind of bad line, duplicates over all shards, and a last line that is cut short."""
    path = tmp_path / "catalogue.json"
    catalogue.write(str(path), LINES, faults=True)
    path.write_bytes(path.read_bytes().replace(catalogue.bad_lines()[-1], b""))  # the one of 50 MB
    return path


def recipe(uri: object) -> Recipe:
    formats = {"formats": ["openai", "gemini"]}
    return Recipe.model_validate({"catalogue": {"uri": str(uri), "lines_per_shard": PER}, "export": formats})


def digests(prepared: Prepared) -> dict[str, object]:
    """All that was made, by its bytes; where it lies is left out."""
    shards = [
        (s.digest, s.source, s.kept, s.dropped, s.quarantine_uri and store.file_digest(s.quarantine_uri))
        for s in prepared.shards
    ]
    exports = [(e.shard, e.format, e.split, e.digest, e.tokens, store.file_digest(e.rows_uri)) for e in prepared.exports]
    told = prepared.model_dump(mode="json", include={"lines", "kept", "dropped", "quarantined", "cut", "made"})
    return told | {"shards": shards, "exports": exports}


def on(cluster: Cluster, bucket: str, source: object, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Prepare on the cluster, with the root in the bucket."""
    monkeypatch.setenv("SHARDTUNE_ROOT", f"{bucket}/root")
    monkeypatch.setenv("SHARDTUNE_DASK", cluster.address)
    return prepare(recipe(source))


def test_it_works(source, tmp_path, bucket, monkeypatch):
    alone = digests(prepare(recipe(source)))
    with fsspec.open(f"{bucket}/catalogue.json", "wb") as out:
        out.write(source.read_bytes())
    with running(tmp_path / "cluster", "one", "two") as cluster:
        t = time.time()
        made = on(cluster, bucket, f"{bucket}/catalogue.json", monkeypatch)
        print("took", time.time() - t)
        t = time.time()
        assert on(cluster, bucket, f"{bucket}/catalogue.json", monkeypatch).made == 0
        print("again", time.time() - t)
        print(cluster.log("one")[-3000:])
    assert digests(made) == alone
