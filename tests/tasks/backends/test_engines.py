"""Engines: what they need, which layers they adapt, and measuring that leaves 4-bit layers able to learn."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import pytest

from tasks.backends import engines
from tasks.errors import BackendError
from tests.tasks.backends.models import build


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory):
    return engines.base(build(tmp_path_factory.mktemp("engines") / "llama", "llama"), False, False)


def test_a_missing_package_names_its_extra(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "unsloth" else there(name))
    (finding,) = engines.findings("unsloth", load_in_4bit=True)
    assert finding.level == "error" and "shardtune[unsloth]" in finding.message
    assert engines.findings("transformers", load_in_4bit=True) == []


@pytest.mark.parametrize(("version", "works"), [("2026.10.7", False), ("2026.10.9", True), ("2026.11.1", True)])
def test_unsloth_without_a_gpu_must_be_new_enough(monkeypatch, version, works):
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert (engines.findings("unsloth", load_in_4bit=False) == []) is works


def test_auto_adapts_every_linear_layer_but_the_head(llama):
    wanted = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert engines.targets(llama, "auto") == wanted
    assert engines.targets(llama, ("v_proj", "q_proj")) == ["q_proj", "v_proj"]
    with pytest.raises(BackendError, match=r"'nope'.*'q_proj'"):
        engines.targets(llama, ("nope", "q_proj"))


def test_evaluating_is_undone_and_spares_4_bit_layers(llama):
    class Linear4bit(type(llama.lm_head)):
        """Named as bitsandbytes' layer is."""

    llama.train()
    llama.model.layers[0].eval()
    llama.four = Linear4bit(2, 2)
    before = [m.training for m in llama.modules()]
    with engines.evaluating(llama):
        assert not llama.training and llama.four.training
    assert [m.training for m in llama.modules()] == before


def test_versions_name_what_decides_the_training():
    assert engines.versions()["torch"] == importlib.metadata.version("torch")
    assert set(engines.versions()) <= set(engines.LIBRARIES)
