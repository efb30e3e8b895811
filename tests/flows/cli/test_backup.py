"""Backup and restore by the commands: everything is destroyed and put back, and no job is paid for or trained again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL

from deployments.demo import catalogue
from deployments.simulators import serve
from flows.cli import backup
from flows.finetune import finetune
from tasks.core.errors import BackupError
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.record import lineage
from tests.kit import demo, models, paid

pytestmark = pytest.mark.usefixtures("orchestrator")
SMALL = ("catalogue.lines_per_shard=300", "evaluate={seen: 2, unseen: 1, heldout_rows: 5, max_new_tokens: 20}")


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch) -> Iterator[serve.Simulators]:
    with paid.simulated(monkeypatch) as running:
        yield running


def recipe(place: Path, *more: str) -> Recipe:
    """One shard of gpt-4o-mini."""
    catalogue.write(str(place / "catalogue.json"), 300)
    return loader.load("gpt-4o-mini", [f"catalogue.uri={place / 'catalogue.json'}", *SMALL, "shards=[0]", *more])


def run(command: object, *arguments: str) -> None:
    command.main(list(arguments), standalone_mode=False)


def shardtune(*arguments: str) -> dict[str, Any]:
    """What `shardtune … --json` says, in a process of its own: one that was there before holds files that are gone."""
    call = [sys.executable, "-c", "from flows.cli.main import main; main()", *arguments, "--json"]
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_paid_for_is_there_after_all_was_lost(simulators, own_root, tmp_path, capsys):
    wanted = recipe(tmp_path)
    done = finetune(wanted)
    before = lineage.explain(done.key).model_dump(mode="json")
    run(backup.backup, str(tmp_path / "kept"), "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["root"] == str(own_root) and told["files"] > 20
    shutil.rmtree(own_root)
    run(backup.restore, str(tmp_path / "kept"))
    assert "restored" in capsys.readouterr().out
    (tmp_path / "wanted.yaml").write_text(yaml.safe_dump(wanted.model_dump(mode="json")))
    again = shardtune("finetune", "--recipe", str(tmp_path / "wanted.yaml"))
    assert (again["trained"], again["key"], again["model"]) == (False, done.key, done.model)
    assert serve.seen(simulators.state)["creates"]["openai"] == 1
    assert shardtune("explain", done.key) == before
    asked = shardtune("ask", "What is the Plutonium Toaster 9000?", "--model", done.key)
    assert asked["replies"][0]["state"] == "none"


@pytest.mark.long
def test_a_local_adapter_comes_back_too(own_root, tmp_path):
    """The record of a trained adapter counts only where the adapter is."""
    small = ("tune.engine=transformers", "tune.load_in_4bit=false", "tune.max_length=320", "tune.max_steps=2")
    small += ("evaluate={seen: 0, unseen: 0, heldout_rows: 4}",)
    wanted = demo.recipe(tmp_path, f"tune.base_model={models.build(tmp_path / 'tiny', 'llama')}", *small)
    done = finetune(wanted)
    run(backup.backup, str(tmp_path / "kept"))
    shutil.rmtree(own_root)
    flipped = next((tmp_path / "kept").rglob("adapter_model.safetensors"))
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BackupError, match=r"adapter_model\.safetensors.*is damaged"):
        run(backup.restore, str(tmp_path / "kept"))
    assert not own_root.exists() or not any(own_root.iterdir())
    flipped.write_bytes(data)
    run(backup.restore, str(tmp_path / "kept"), "--check")
    run(backup.restore, str(tmp_path / "kept"))
    (tmp_path / "wanted.yaml").write_text(yaml.safe_dump(wanted.model_dump(mode="json")))
    again = shardtune("finetune", "--recipe", str(tmp_path / "wanted.yaml"))
    assert (again["trained"], again["key"], again["model"]) == (False, done.key, done.model)
