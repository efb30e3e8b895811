"""Backup and restore by the commands: everything is destroyed and put back, and no job is paid for or trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.simulators import serve
from flows import keep
from flows.ask import ask
from flows.finetune import finetune
from tasks import recipes
from tasks.errors import BackupError
from tasks.recipe import Recipe
from tasks.record import ledger, lineage
from tests.benchmarks import catalogue
from tests.flows import demo
from tests.tasks.backends import paid

pytestmark = pytest.mark.usefixtures("orchestrator")
SMALL = ("catalogue.lines_per_shard=300", "evaluate={seen: 2, unseen: 1, heldout_rows: 5, max_new_tokens: 20}")


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch) -> Iterator[serve.Simulators]:
    with paid.simulated(monkeypatch) as running:
        yield running


def recipe(place: Path, *more: str) -> Recipe:
    """One shard of gpt-4o-mini."""
    catalogue.write(str(place / "catalogue.json"), 300)
    return recipes.load("gpt-4o-mini", [f"catalogue.uri={place / 'catalogue.json'}", *SMALL, "shards=[0]", *more])


def run(command: object, *arguments: str) -> None:
    command.main(list(arguments), standalone_mode=False)


def test_what_was_paid_for_is_there_after_all_was_lost(simulators, own_root, tmp_path, capsys):
    wanted = recipe(tmp_path, "promote=true")
    done = finetune(wanted)
    paid_for = serve.seen(simulators.state)["creates"]["openai"]
    before = lineage.explain(done.key)
    run(keep.backup, str(tmp_path / "kept"), "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["root"] == str(own_root) and told["files"] > 20
    shutil.rmtree(own_root)
    run(keep.restore, str(tmp_path / "kept"))
    assert "restored" in capsys.readouterr().out
    again = finetune(wanted)
    assert (again.trained, again.key, again.model) == (False, done.key, done.model)
    assert serve.seen(simulators.state)["creates"]["openai"] == paid_for == 1
    assert lineage.explain(done.key) == before
    assert ask(("What is the Plutonium Toaster 9000?",), done.key).replies[0].state == "abstained"


def test_a_local_adapter_comes_back_too(own_root, place, tmp_path, capsys):
    """The record of a trained adapter counts only where the adapter is."""
    wanted = demo.recipe(place, "seed=7", "tune.max_steps=2", "tune.engine=transformers")
    done = finetune(wanted)
    run(keep.backup, str(tmp_path / "kept"))
    shutil.rmtree(own_root)
    flipped = next((tmp_path / "kept").rglob("adapter_model.safetensors"))
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BackupError, match=r"adapter_model\.safetensors.*not as it was written"):
        run(keep.restore, str(tmp_path / "kept"))
    assert not own_root.exists() or not any(own_root.iterdir())
    flipped.write_bytes(data)
    run(keep.restore, str(tmp_path / "kept"), "--check")
    run(keep.restore, str(tmp_path / "kept"))
    again = finetune(wanted)
    assert (again.trained, again.key) == (False, done.key)
    assert ledger.client().get_run(again.mlflow_run_id).info.status == "FINISHED"
