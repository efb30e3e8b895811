"""Retrain, with the real SDKs against simulators: only what is new, once, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.simulators import serve
from flows.retrain import retrain
from tasks import recipes
from tasks.recipe import Recipe
from tests.benchmarks import catalogue
from tests.flows.demo import runs
from tests.tasks.backends import paid

pytestmark = pytest.mark.usefixtures("orchestrator")
PER = 300
SMALL = (
    f"catalogue.lines_per_shard={PER}",
    "split.holdout_share=0.3",
    "shards=null",
    "forgetting=null",
    "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 20}",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retrain")


@pytest.fixture(scope="module")
def lines(shop: Path) -> list[bytes]:
    """Lines of a catalogue of six shards."""
    catalogue.write(str(shop / "all.json"), 6 * PER)
    return (shop / "all.json").read_bytes().splitlines(keepends=True)


@pytest.fixture(autouse=True)
def shared(shop: Path, monkeypatch: pytest.MonkeyPatch, own_root: Path) -> None:
    """One root for the tests of this module, a chain each."""
    monkeypatch.setenv("SHARDTUNE_ROOT", str(shop / "root"))


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch, shared: None) -> Iterator[serve.Simulators]:
    with paid.simulated(monkeypatch) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, lines: list[bytes]) -> Path:
    """A catalogue of two shards."""
    return written(tmp_path / "catalogue.json", lines[: 2 * PER])


def written(path: Path, data: list[bytes]) -> Path:
    path.write_bytes(b"".join(data))
    return path


def recipe(file: Path, name: str, *more: str) -> Recipe:
    return recipes.load("gpt-4o-mini", [f"catalogue.uri={file}", *SMALL, f"name={name}", *more])


def jobs(simulators: serve.Simulators) -> list[dict[str, str]]:
    return serve.seen(simulators.state)["jobs"]


def taught(simulators: serve.Simulators) -> list[str]:
    """The titles and answers that were trained on, in all jobs together."""
    return [pair for job in simulators.state.jobs.values() for pair in job["_pairs"]]


def test_an_appended_shard_is_one_link_from_the_last_model(file, lines, simulators):
    first = retrain(recipe(file, "appended"))
    assert (first.new, len(first.results), len(jobs(simulators))) == ((0, 1), 2, 2)
    written(file, lines[: 3 * PER])
    done = retrain(recipe(file, "appended"))
    assert (done.chain, done.new, done.waiting, len(jobs(simulators))) == ("appended", (2,), None, 3)
    assert jobs(simulators)[2]["model"] == first.last.model != done.last.model
    assert "learned shard 2" in done.detail
    (run,) = runs(done.last.key)
    assert run.data.tags["shardtune.parent"] == first.last.key
    again = retrain(recipe(file, "appended"))
    assert (again.new, again.results, again.last.key, len(jobs(simulators))) == ((), (), done.last.key, 3)
    assert again.detail.startswith("nothing new")
