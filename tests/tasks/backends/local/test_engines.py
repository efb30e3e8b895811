"""Engines: what they need, which layers they adapt, and measuring that leaves 4-bit layers able to learn."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from tasks.backends.local import engines
from tasks.backends.local.models import rendering
from tasks.backends.local.sampler import Sampler
from tasks.core.errors import BackendError, ShardtuneError
from tasks.examples.templates import load_tokenizer
from tests.kit.models import build, tune


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


def test_code_of_a_model_runs_only_where_the_recipe_says_so(tmp_path):
    """A model and a tokenizer that bring Python files: nothing of them runs by default, wherever they are opened."""
    folder, ran = tmp_path / "evil", tmp_path / "ran"
    build(folder, "llama")
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
    code += "from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
    parts = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M", "AutoTokenizer": ["code.T", "code.T"]}
    for name, base_class in {"C": "LlamaConfig", "M": "LlamaForCausalLM", "T": "PreTrainedTokenizerFast"}.items():
        kind = "model_type = 'evil'" if name == "C" else "config_class = C" if name == "M" else "pass"
        code += f"class {name}({base_class}):\n    {kind}\n"
    (folder / "code.py").write_text(code)
    for file in ("config.json", "tokenizer_config.json"):
        told = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(told | {"auto_map": parts, "model_type": "evil"}))
    wanted = tune(str(folder))
    assert not wanted.trust_remote_code
    for opened in (
        lambda: engines.base(str(folder), False, wanted.trust_remote_code),
        lambda: load_tokenizer(rendering(wanted)),
        lambda: Sampler(str(folder), None, wanted),
    ):
        with suppress(ShardtuneError, ValueError):  # refused, or opened without it
            opened()
        assert not ran.exists()
    load_tokenizer(rendering(tune(str(folder), trust_remote_code=True)))
    assert ran.exists()  # it would have run


def test_weights_that_are_pickles_are_not_opened(tmp_path):
    folder = tmp_path / "pickled"
    build(folder, "llama")
    (weights,) = folder.glob("*.safetensors")
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BackendError, match=r"no model\.safetensors \(it has \['pytorch_model\.bin'\]\): save it again"):
        engines.base(str(folder), False, False)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    torch.save({}, adapter / "adapter_model.bin")
    with pytest.raises(BackendError, match=r"adapter_model\.safetensors"):
        engines._continue(None, str(adapter))
    build(tmp_path / "base", "llama")
    with pytest.raises(BackendError, match=r"adapter_model\.safetensors"):
        Sampler(str(tmp_path / "base"), str(adapter), tune(str(tmp_path / "base")))


def test_versions_name_what_decides_the_training():
    assert engines.versions()["torch"] == importlib.metadata.version("torch")
    assert set(engines.versions()) <= set(engines.LIBRARIES)


def test_a_model_without_4_bits_loads_no_package_that_it_does_without_and_one_in_4_bits_still_works(tmp_path):
    path = build(tmp_path / "llama", "llama")
    script = f"""
import sys
from tasks.backends.local import engines
from tasks.recipe.tuning import LocalTune
path = {path!r}
def adapted(bits):
    with engines.lean(LocalTune(base_model=path, load_in_4bit=bits)):
        from peft import LoraConfig, get_peft_model
        model = engines.base(path, bits, False)
        layers = engines.targets(model, "auto")
        return get_peft_model(model, LoraConfig(r=2, target_modules=layers, task_type="CAUSAL_LM"))
adapted(False)
print([name for name in ("sklearn", "scipy", "bitsandbytes", "torch") if name in sys.modules])
print(sorted({{type(m).__name__ for m in adapted(True).modules() if type(m).__name__ == "Linear4bit"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, ["['torch']", "['Linear4bit']"]), done.stderr[-800:]
