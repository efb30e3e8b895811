"""A root that an older version made is read: shards, exports, jobs, MLflow runs, registered models.

`old/root-c735e57.tar.xz` was made in the folder /srv/shop by the code of commit c735e57: the recipe demo as a chain of
two shards on a tiny llama (its weights are left out), its last model promoted, and gpt-4o-mini against the simulator.
Pictures, checkpoints, the code in the models and Prefect's own files are left out; MLflow's database is its SQL.
"""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path

import pytest
import yaml

from tasks import resume
from tasks.backends import get_backend
from tasks.backends.contract import Job, Link
from tasks.core import store
from tasks.core.models import Prepared
from tasks.evaluation.candidacy import Candidacy
from tasks.record import aliases, chain, comparisons, ledger, lineage, registry

TOP = Path(__file__).parent.parent
ARCHIVE = Path(__file__).parent / "old" / "root-c735e57.tar.xz"
FIRST, SECOND = "3b9e4fe2fa96eb79590ccb709894fc63", "c54af894e856d1f072daf6c8e04b5744"
PAID = "42bc808e995549e1cab6c803ddbb2419"
DEPLOYMENTS = {
    *(
        "ask",
        "compare",
        "prepare",
        "sweep",
        "retrain-demo",
        "retrain-gpt-4o-mini",
        "finetune-demo",
        "finetune-opt-125m",
    ),
    *("finetune-azure-gpt-4o-mini", "finetune-gemini-describe", "finetune-gemini-with-source", "finetune-gemma-2b"),
    *("finetune-gpt-4o-mini", "finetune-llama-7b", "finetune-mistral-7b", "finetune-opt-1.3b"),
    "finetune-tinyllama-unsloth",
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root, laid where this machine has room for it."""
    place = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    for path in (p for p in place.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if b"/srv/shop" in data and path.parent.name != "adapter":  # whose digest is known
            path.write_bytes(data.replace(b"/srv/shop", str(place).encode()))
    script = place / "root" / "mlflow.sql"
    with sqlite3.connect(place / "root" / "mlflow.db") as database:
        database.executescript(script.read_text())
    return place


@pytest.fixture(autouse=True)
def old(unpacked: Path, own_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder, and the environment that leads to it."""
    monkeypatch.setenv("SHARDTUNE_ROOT", str(unpacked / "root"))
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.mark.parametrize("key", [FIRST, SECOND, PAID])
def test_a_run_and_its_link_are_read_and_the_key_is_the_same(key):
    result = ledger.finished(key)
    assert result is not None and (result.key, result.state) == (key, "succeeded") and result.answers
    link = ledger.load(result.mlflow_run_id, "link.json", Link)
    assert link is not None and link.key == key


@pytest.mark.parametrize("key", [FIRST, PAID])
def test_shards_and_exports_hold_what_their_records_say(key):
    prepared = ledger.load(ledger.run_id(key), "prepared.json", Prepared)
    assert prepared is not None and prepared.shards and prepared.exports
    for shard in prepared.shards:
        store.check(shard.uri, shard.digest)
    for export in prepared.exports:
        store.check(export.uri, export.digest)


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_a_local_job_is_found_and_has_ended(key):
    link = ledger.load(ledger.run_id(key), "link.json", Link)
    assert link is not None
    job = get_backend(link.tune).find(key)
    assert isinstance(job, Job) and get_backend(link.tune).status(job).state == "succeeded"


def test_the_chain_is_what_it_was():
    past = chain.past("demo")
    assert [one.key for one in past.taught] == [FIRST, SECOND] and not past.underway
    assert past.last is not None and past.last.key == SECOND
    assert past.forgetting is not None and len(past.forgetting.scores) == 2
    assert past.forgetting.drops == {} and not resume.unjudged(past.taught[-1].recipe, past)  # its verdict stands


def test_its_comparison_is_read_and_the_gate_counts_from_the_next_candidate():
    found = comparisons.finished("a6385b53ca66de3d03445550e4553d0d")
    assert found is not None and found.candidacy is None and found.verdicts[0].evidence is None
    assert aliases.decisions(["demo/1"])[0].startswith("demo/1 became ")
    assert comparisons.next_candidacy("demo", "demo/1") == Candidacy(champion="demo/1", champions=0, number=1)


def test_the_registered_model_keeps_its_versions_and_its_past():
    target, recipe = registry.target("demo/1")
    assert (target.key, recipe.name) == (SECOND, "demo")
    assert aliases.champion("demo") in (None, "demo/1")
    explained = lineage.explain("demo/1")
    assert [link.key for link in explained.links] == [FIRST, SECOND] and explained.verdicts
    assert lineage.who_trained_on("B010003QFE")


def test_every_deployment_is_still_there():
    file = yaml.safe_load((TOP / "deployments" / "prefect.yaml").read_text())
    assert {one["name"] for one in file["deployments"]} >= DEPLOYMENTS
