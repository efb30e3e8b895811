"""Prepare on a Dask cluster with all state in object storage: the same bytes as on one machine, whoever dies."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from distributed import Client
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.demo import catalogue
from flows.prepare import prepare, under
from tasks.core import settings, store
from tasks.core.errors import MissingExtraError, RunnerError
from tasks.core.models import Prepared
from tasks.examples.templates import Rendering
from tasks.orchestrator import runner
from tasks.recipe.model import Recipe
from tests.kit.bucket import serving
from tests.kit.cluster import Cluster, running

pytestmark = pytest.mark.usefixtures("orchestrator")

LINES, PER = 1_600, 100
PATIENCE = 120.0  # seconds, after which a moment that never came fails the test


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket for the whole module; each test has a root of its own in it."""
    with pytest.MonkeyPatch.context() as patch, serving(patch) as uri:
        yield uri


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen shards with every kind of bad line, duplicates over all shards, and a last line that is cut short."""
    path = tmp_path_factory.mktemp("source") / "catalogue.json"
    catalogue.write(str(path), LINES, faults=True)
    path.write_bytes(path.read_bytes().replace(catalogue.bad_lines()[-1], b""))  # the one of 50 MB
    return path


@pytest.fixture(scope="module")
def alone(source: Path, orchestrator: None) -> dict[str, object]:
    """What this machine makes by itself, on its disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_WORKERS", "1")
        return digests(flow(name="prepare")(under)(str(source.parent / "root"), recipe(source)))


@pytest.fixture(scope="module")
def workers(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, started when they are asked for; the last test kills one."""
    with running(tmp_path_factory.mktemp("cluster"), "one", "two") as cluster:
        yield cluster


@pytest.fixture
def cluster(workers: Cluster, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """This process has its root in the bucket, and sends its data tasks to the workers."""
    monkeypatch.setenv("SHARDTUNE_ROOT", f"{bucket}/{tmp_path.name}")
    monkeypatch.setenv("SHARDTUNE_DASK", workers.address)
    return workers


def recipe(uri: object) -> Recipe:
    return Recipe.model_validate({"catalogue": {"uri": str(uri), "lines_per_shard": PER}})


def digests(prepared: Prepared) -> dict[str, object]:
    """All that was made, by its bytes; where it lies is left out."""
    shards = [
        (s.digest, s.source, s.kept, s.dropped, s.quarantine_uri and store.file_digest(s.quarantine_uri))
        for s in prepared.shards
    ]
    exports = [
        (e.shard, e.format, e.split, e.digest, e.tokens, store.file_digest(e.rows_uri)) for e in prepared.exports
    ]
    told = prepared.model_dump(mode="json", include={"lines", "kept", "dropped", "quarantined", "cut"})
    return told | {"shards": shards, "exports": exports}


def enter() -> None:
    """Open the runner, and do nothing with it."""
    with runner.opened():
        pass


def until(moment: Callable[[], object]) -> None:
    """Wait for the moment."""
    end = time.monotonic() + PATIENCE
    while not moment():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_workers_make_the_same_bytes_as_one_machine(alone, source, cluster, bucket):
    with fsspec.open(f"{bucket}/catalogue.json", "wb") as out:
        out.write(source.read_bytes())
    made = prepare(recipe(f"{bucket}/catalogue.json"))
    assert digests(made) == alone
    named = [s.uri for s in made.shards] + [e.uri for e in made.exports]
    assert all(uri.startswith(f"{settings.root()}/") for uri in named)
    for name in ("one", "two"):
        assert "Finished in state Completed()" in cluster.log(name)
        left = {path.relative_to(cluster.home(name)) for path in cluster.home(name).rglob("*") if path.is_file()}
        assert not [path for path in left if path.parts[0] != "tmp"], left  # where Dask keeps its own
    again = prepare(recipe(f"{bucket}/catalogue.json"))
    assert digests(again) == alone
    assert (made.made, again.made) == (len(made.shards), 0)


def test_the_place_must_be_one_that_workers_reach(source, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_DASK", "tcp://127.0.0.1:1")
    with pytest.raises(RunnerError, match=r"needs a root that every worker reaches, .* SHARDTUNE_ROOT is '/.*s3://"):
        prepare(recipe(source))
    monkeypatch.setenv("SHARDTUNE_ROOT", "s3://shop/root")
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(RunnerError, match="set PREFECT_API_URL"):
        enter()


def test_a_missing_extra_is_named(bucket, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_DASK", "tcp://127.0.0.1:1")
    monkeypatch.setenv("SHARDTUNE_ROOT", f"{bucket}/root")
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(
        MissingExtraError, match=r"'prefect-dask' is not installed: run `pip install 'shardtune\[dask\]'`"
    ):
        enter()


def test_nobody_waits_for_a_scheduler_or_workers_that_are_not_there(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ROOT", f"{bucket}/root")
    monkeypatch.setattr(runner, "PATIENCE", 1)
    with running(tmp_path / "cluster") as empty:
        for address in (empty.address, "tcp://127.0.0.1:1"):
            monkeypatch.setenv("SHARDTUNE_DASK", address)
            with pytest.raises(RunnerError, match=rf"{address}.*start one with shardtune installed, `dask worker"):
                enter()


def test_a_worker_that_would_make_other_bytes_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(runner, "_version", lambda name: "0")
    with pytest.raises(RunnerError, match=r"would make other bytes .*pyarrow.* there, 0 here.*install the same"):
        enter()


def test_a_tokenizer_that_lies_on_this_machine_keeps_exports_here(tmp_path):
    def told(tokenizer: str) -> bool:
        cluster = runner.Cluster(None)
        return runner.near(cluster, Rendering(template="chat", tokenizer=tokenizer, max_length=64)) is cluster

    assert (told("somebody/model"), told(str(tmp_path)), runner.near(cluster := runner.Cluster(None), None)) == (
        True, False, cluster,
    )  # fmt: skip


def test_a_worker_killed_in_the_middle_costs_no_line_and_no_byte(alone, source, cluster):
    made: list[Prepared] = []
    flow = threading.Thread(target=lambda: made.append(prepare(recipe(source))))
    with Client(cluster.address, set_as_default=False) as client:
        flow.start()
        done = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        until(lambda: [name for name in done.find(f"{settings.root()}/catalogue/clean") if name.endswith(".json")])
        victim = cluster.worker("one")
        victim.send_signal(signal.SIGSTOP)  # it can finish nothing more: what it holds now is lost with it
        (address,) = [
            at for at, told in client.scheduler_info(n_workers=-1)["workers"].items() if told["name"] == "one"
        ]
        until(lambda: client.processing([address])[address])
        assert not made
        victim.kill()
        flow.join(PATIENCE)
    (whole,) = made
    assert digests(whole) == alone
    assert whole.lines == whole.kept + sum(whole.dropped.values()) + whole.quarantined
