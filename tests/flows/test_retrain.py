"""Retrain, with the real SDKs against simulators: only what is new, once, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL

from deployments.demo import catalogue
from deployments.simulators import serve
from flows.finetune import finetune
from flows.retrain import retrain
from flows.sweep import sweep
from tasks import forgetting
from tasks.backends.contract import Link
from tasks.core.errors import BackendError, CatalogueError, RecipeError, TrainingError
from tasks.core.models import Retrained
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.record import ledger
from tests.kit import paid
from tests.kit.demo import runs

pytestmark = pytest.mark.usefixtures("orchestrator")
PER = 300
PATIENCE = 240.0  # seconds, after which a moment that never came fails the test
PIPES = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
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
    return loader.load("gpt-4o-mini", [f"catalogue.uri={file}", *SMALL, f"name={name}", own(name), *more])


def own(name: str) -> str:
    """A seed of the chain's own: the same link of two chains is made once."""
    return f"seed={sum(name.encode())}"


def jobs(simulators: serve.Simulators) -> list[dict[str, str]]:
    return serve.seen(simulators.state)["jobs"]


def linked(key: str) -> tuple[Link, dict[str, str]]:
    """The link of this key as its run records it, and the tags of the run."""
    (run,) = runs(key)
    assert run.info.status == "FINISHED"
    return Link.model_validate(ledger.read(run.info.run_id, "link.json")), run.data.tags


def trained(*done: Retrained) -> list[int]:
    """Lines of the catalogue that these retrains trained on, link after link."""
    exports = [e for one in done for result in one.results for e in linked(result.key)[0].train]
    return [line for e in exports for line in pq.read_table(e.rows_uri)["line"].to_pylist()]


def started(*words: str) -> subprocess.Popen[str]:
    """`shardtune retrain` in a process of its own."""
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    return subprocess.Popen([sys.executable, "-c", "from flows.cli.main import main; main()", *words], env=env, **PIPES)


def words(file: Path, name: str, *more: str) -> list[str]:
    chosen = (f"catalogue.uri={file}", *SMALL, f"name={name}", own(name), *more)
    return ["retrain", "--recipe", "gpt-4o-mini", "--json", *(word for one in chosen for word in ("--set", one))]


def until(moment: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_folder_that_grows_is_learned_once_in_order_whatever_else_has_changed(tmp_path, lines, simulators):
    folder = tmp_path / "folder"
    folder.mkdir()
    written(folder / "part-9.json", lines[:PER])
    first = retrain(recipe(folder, "grows"))
    assert (first.new, first.waiting, len(jobs(simulators))) == ((0,), None, 1)
    nothing = retrain(recipe(folder, "grows"))
    assert (nothing.new, nothing.results, nothing.last.key, len(jobs(simulators))) == ((), (), first.last.key, 1)
    assert nothing.detail == "nothing new: chain 'grows' has learned shard 0" and nothing.detail[1:] in artifact()

    other = [
        b'{"uid": "F%d", "title": "Table %d", "content": "La table en ch\\u00eane p\\u00e8se %d kilos."}\n' % (n, n, n)
        for n in range(PER)
    ]
    written(folder / "part-10.json", other)
    with pytest.raises(CatalogueError, match=r"shards \[1\] .* drift from those before them: .*max_drift = 0.2"):
        retrain(recipe(folder, "grows", "catalogue.max_drift=0.2"))
    assert len(jobs(simulators)) == 1, "before anything is spent"

    written(folder / "part-10.json", lines[PER : 2 * PER + 90])  # and the hyperparameters are others
    second = retrain(recipe(folder, "grows", "tune.epochs=2", "catalogue.max_drift=0.2"))
    assert (second.new, second.waiting.shard, second.waiting.lines) == ((1,), 2, 90)
    assert second.waiting.until in second.detail
    link, tags = linked(second.last.key)
    assert (tags["shardtune.parent"], link.tune.epochs, len(jobs(simulators))) == (first.last.key, 2, 2)
    assert jobs(simulators)[1]["model"] == first.last.model != second.last.model
    assert retrain(recipe(folder, "grows")).new == () and len(jobs(simulators)) == 2
    newest = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (named,) = httpx.post(f"{PREFECT_API_URL.value()}/flow_runs/filter", json=newest).json()
    assert "shard 2 waiting" in named["name"]  # not "nothing new", while 90 lines wait

    third = retrain(recipe(folder, "grows", "max_wait_hours=0"))
    assert (third.new, third.waiting) == ((2,), None)
    written(folder / "part-11.json", lines[2 * PER + 90 : 3 * PER + 90])
    last = retrain(recipe(folder, "grows"))
    assert (last.new, last.waiting, len(jobs(simulators))) == ((3,), None, 4)
    seen = trained(first, second, third, last)
    assert seen == sorted(set(seen)) and seen[-1] > 3 * PER
    shards = [
        ledger.read(r.mlflow_run_id, "prepared.json")["shards"] for d in (first, second, third, last) for r in d.results
    ]
    assert [s["lines"] for (s,) in shards] == [PER, PER, 90, PER]
    assert ledger.read(last.last.mlflow_run_id, "recipe.json")["catalogue"]["cuts"] == [PER, PER, 90]

    written(folder / "part-1.json", lines[5 * PER :])  # a file that is read before those learned
    with pytest.raises(CatalogueError, match=r"shard 0 of .*lines 1 to 300 are others.*nothing was trained"):
        retrain(recipe(folder, "grows"))
    assert len(jobs(simulators)) == 4


def test_a_link_that_another_chain_has_made_is_served_and_counts(file, simulators):
    first = retrain(recipe(file, "made", "shards=[0]"))
    twin = retrain(recipe(file, "twin", own("made")))
    assert ([r.trained for r in twin.results], twin.new, len(jobs(simulators))) == ([False, True], (0, 1), 2)
    assert twin.results[0].key == first.last.key and linked(twin.last.key)[1]["shardtune.parent"] == first.last.key
    assert retrain(recipe(file, "twin", own("made"))).new == () and len(jobs(simulators)) == 2


def artifact() -> str:
    """What the last retrain shows in the Prefect UI."""
    asked = {"artifacts": {"key": {"any_": ["retrain"]}}, "sort": "UPDATED_DESC", "limit": 1, "offset": 0}
    return str(httpx.post(f"{PREFECT_API_URL.value()}/artifacts/filter", json=asked).json()[0]["data"])


def test_what_the_budget_does_not_hold_waits_for_the_next_retrain(file, simulators):
    with pytest.raises(BackendError, match=r"may cost \$.*budget_usd"):
        retrain(recipe(file, "budget", "budget_usd=0.0001"))
    assert not jobs(simulators) and not simulators.state.files
    whole = retrain(recipe(file, "budget", "budget_usd=0.08"))
    assert (whole.new, len(jobs(simulators))) == ((0,), 1), whole
    assert "shard 1 left for the next retrain: budget_usd = 0.08 is spent" in whole.detail
    assert retrain(recipe(file, "budget", "budget_usd=0.08")).new == (1,)
    with pytest.raises(RecipeError, match="start a new chain under another `name`"):
        retrain(recipe(file, "budget", "tune.base_model=gpt-4.1-mini-2025-04-14"))
    assert len(jobs(simulators)) == 2


def test_without_waiting_sweeps_go_on_with_the_chain(file, simulators):
    begun = retrain(recipe(file, "swept"), wait=False)
    assert ([r.state for r in begun.results], begun.new) == (["running"], (0,)) and "sweep" in begun.detail
    for _ in range(100):
        sweep()
        if not ledger.unfinished():
            break
    done = retrain(recipe(file, "swept"))
    assert (done.new, len(jobs(simulators)), linked(done.last.key)[0].train[0].shard) == ((), 2, 1)


SCORES = {(0, 0): 20.0, (1, 0): 10.0, (1, 1): 30.0, (2, 0): 19.0, (2, 1): 12.0, (2, 2): 25.0}


def test_a_link_that_forgot_too_much_is_not_gone_on_from_nor_tried_again(file, lines, simulators, monkeypatch):
    monkeypatch.setattr(
        forgetting, "_score", lambda r, p, asked, taught: (SCORES[asked[0].train[0].shard, taught.train[0].shard],) * 20
    )

    def wanted(then: str, bound: float = 5.0) -> Recipe:
        return recipe(file, "forgets", f"forgetting={{questions: 1, bound: {bound}, then: {then}}}")

    for _ in range(2):
        with pytest.raises(TrainingError, match=r"forgets shard 0 by 10\.0 chrF points"):
            retrain(wanted("stop"))
    assert len(jobs(simulators)) == 2
    held = retrain(wanted("branch"))
    assert (held.new, linked(held.last.key)[0].train[0].shard) == ((), 0)
    written(file, lines[: 3 * PER])
    done = retrain(wanted("branch"))
    assert (done.new, len(jobs(simulators))) == ((2,), 3)
    assert linked(done.last.key)[1]["shardtune.parent"] == held.last.key
    matrix = ledger.read(done.last.mlflow_run_id, "forgetting.json")
    assert (matrix["kept"], matrix["shards"]) == ([True, False, True], [0, 1, 2])
    assert matrix["scores"] == [[20.0], [10.0, 30.0], [19.0, 12.0, 25.0]]
    assert retrain(wanted("branch")).last.key == done.last.key


def test_a_single_link_becomes_a_chain_and_what_it_forgets_is_measured(file, simulators, monkeypatch):
    monkeypatch.setattr(
        forgetting, "_score", lambda r, p, asked, taught: (SCORES[asked[0].train[0].shard, taught.train[0].shard],) * 20
    )
    more = ("chain=false", "forgetting={questions: 1, bound: 50, then: stop}")
    first = finetune(recipe(file, "single", "shards=[0]", *more))
    done = retrain(recipe(file, "single", *more))
    assert (done.new, linked(done.last.key)[1]["shardtune.parent"]) == ((1,), first.key)
    assert ledger.read(done.last.mlflow_run_id, "forgetting.json")["scores"] == [[20.0], [10.0, 30.0]]


def test_killed_in_the_middle_the_link_is_gone_on_with_even_by_another_recipe(file, lines, simulators):
    written(file, lines[:200])  # less than a shard, which grows meanwhile
    process = started(*words(file, "killed"))
    until(lambda: jobs(simulators), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (key,) = ledger.unfinished()
    written(file, lines[:250])
    done = retrain(recipe(file, "killed", "tune.epochs=3", "seed=5"))
    assert ([r.key for r in done.results], done.new, len(jobs(simulators))) == ([key], (0,), 1)
    assert (done.waiting.shard, done.waiting.lines, linked(key)[0].tune.epochs) == (1, 50, 1)
    assert not ledger.unfinished() and not paid.left_behind(simulators)


def test_of_two_retrains_at_once_one_does_the_work_and_the_other_says_so(file, lines, simulators):
    written(file, lines[:PER])
    both = [started(*words(file, "twice")) for _ in range(2)]
    told = [process.communicate(timeout=PATIENCE) for process in both]
    found = [json.loads(out) for out, _ in told]
    assert [process.returncode for process in both] == [0, 0], told
    assert sorted(len(one["results"]) for one in found) == [0, 1] and len(jobs(simulators)) == 1
    (idle,) = [one for one in found if not one["results"]]
    assert "is working on chain 'twice'" in idle["detail"] or idle["detail"].startswith("nothing new")
