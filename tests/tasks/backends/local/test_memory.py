"""The memory estimate follows the recipe and the shape of the model, and is what real training takes, within 15%."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, OPTConfig

from tasks.backends.local import engines, jobs, memory
from tasks.recipe.tuning import LocalTune, Lora
from tests.kit import models

SMOLLM2 = LlamaConfig(
    num_hidden_layers=30,
    hidden_size=576,
    intermediate_size=1_536,
    num_attention_heads=9,
    num_key_value_heads=3,
    vocab_size=49_152,
    tie_word_embeddings=True,
)
# Shapes of the architectures that the estimate must know.
TINYLLAMA = LlamaConfig(
    num_hidden_layers=22,
    hidden_size=2_048,
    intermediate_size=5_632,
    num_attention_heads=32,
    num_key_value_heads=4,
    vocab_size=32_000,
)
MISTRAL = MistralConfig()
GEMMA = GemmaConfig(  # whose heads are wider than hidden_size / num_attention_heads
    num_hidden_layers=28,
    hidden_size=3_072,
    intermediate_size=24_576,
    num_attention_heads=16,
    num_key_value_heads=16,
    head_dim=256,
    vocab_size=256_000,
)
OPT = OPTConfig(
    num_hidden_layers=24,
    hidden_size=2_048,
    ffn_dim=8_192,
    num_attention_heads=32,
    word_embed_proj_dim=2_048,
    vocab_size=50_272,
)


def tune(r: int = 16, **changes: Any) -> LocalTune:
    values = {"base_model": "b", "load_in_4bit": False, "batch_size": 4, "lora": Lora(r=r, alpha=16)}
    return LocalTune(**(values | changes))


def parts(config: Any = SMOLLM2, width: int = 256, size: int = 2, **changes: Any) -> dict[str, int]:
    return memory.estimate(json.loads(config.to_json_string()), tune(**changes), width, size)


@pytest.mark.parametrize("config", [SMOLLM2, TINYLLAMA, MISTRAL, GEMMA, OPT], ids=lambda c: c.model_type)
def test_the_weights_are_those_of_the_model(config):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    real = sum(p.numel() for p in model.parameters())
    assert abs(parts(config, size=2)["weights"] / 2 / real - 1) < 0.02
    assert parts(config, size=4)["weights"] == pytest.approx(2 * parts(config, size=2)["weights"], rel=1e-6)


@pytest.mark.parametrize("config", [SMOLLM2, GEMMA, OPT], ids=lambda c: c.model_type)
def test_the_adapter_is_the_one_peft_makes(config):
    from peft import LoraConfig, get_peft_model

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"), low_cpu_mem_usage=True)
    real = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    made = parts(config, r=16)
    assert made["adapter"] == made["optimizer"] == real * 8  # weights and gradients; two moments


def test_the_parts_add_up_to_the_total():
    made = parts()
    assert set(made) == {"runtime", "weights", "adapter", "optimizer", "activations", "slack", "total"}
    assert made["total"] == sum(value for name, value in made.items() if name != "total")
    assert all(value > 0 and isinstance(value, int) for value in made.values())


@pytest.mark.parametrize(
    ("more", "grown"),
    [
        ({"batch_size": 8}, {"activations", "slack"}),
        ({"width": 512}, {"activations", "slack"}),
        ({"r": 64}, {"adapter", "optimizer", "activations", "slack"}),
        ({"size": 4}, {"weights", "activations", "slack"}),
    ],
)
def test_the_estimate_grows_with_batch_length_rank_and_precision(more, grown):
    small, large = parts(), parts(**more)
    assert {name for name in small if large[name] > small[name]} == grown | {"total"}
    assert all(large[name] >= small[name] for name in small)


@pytest.mark.parametrize(
    ("less", "shrunk"),
    [({"load_in_4bit": True}, {"weights"}), ({"gradient_checkpointing": True}, {"activations", "slack"})],
)
def test_4bit_and_checkpointing_take_less(less, shrunk):
    plain, lean = parts(TINYLLAMA), parts(TINYLLAMA, **less)
    assert {name for name in plain if lean[name] < plain[name]} == shrunk | {"total"}
    assert all(lean[name] < 0.5 * plain[name] for name in shrunk)


def test_a_head_of_its_own_counts_and_a_tied_one_does_not():
    shape = SMOLLM2.to_dict()
    tied = memory.estimate(shape, tune(), 256, 2)
    apart = memory.estimate(shape | {"tie_word_embeddings": False}, tune(), 256, 2)
    assert apart["weights"] - tied["weights"] == 49_152 * 576 * 2


@pytest.mark.parametrize(("kind", "heads"), [("llama", 1), ("gemma", 0), ("opt", 0)])
def test_a_config_that_says_nothing_of_its_head_means_the_default_of_its_kind(kind, heads):
    shape = {name: value for name, value in SMOLLM2.to_dict().items() if name != "tie_word_embeddings"}
    assert memory.ModelShape.of(shape | {"model_type": kind}).heads == heads


@pytest.mark.parametrize("config", [{}, {"model_type": "t5", "d_model": 512, "num_heads": 8}])
def test_a_config_of_an_unknown_kind_is_a_key_error(config):
    with pytest.raises(KeyError):
        memory.estimate(config, tune(), 256, 2)


def test_what_is_free_and_what_was_taken_are_measured():
    before = memory.peak()
    held = bytearray(64 << 20)
    held[::4_096] = b"x" * len(held[::4_096])
    assert memory.peak() >= before and memory.peak() > len(held)
    assert 0 < memory.available(gpu=False) < 1 << 50


SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 4_000}
GATED = SMALL | {"intermediate_size": 768, "num_key_value_heads": 2}
# By kind, with shapes of their own: a wide head of attention, narrow and wide inner layers, few and many keys.
SHAPES = {
    "llama": LlamaConfig(**GATED),
    "tied": LlamaConfig(**GATED | {"tie_word_embeddings": True, "vocab_size": 12_000}),
    "mistral": MistralConfig(**GATED | {"intermediate_size": 1_024, "num_key_value_heads": 1}, sliding_window=None),
    "gemma": GemmaConfig(**GATED, head_dim=128),
    "opt": OPTConfig(**SMALL, word_embed_proj_dim=256, ffn_dim=1_024),
    "opt narrow": OPTConfig(**SMALL, word_embed_proj_dim=128, ffn_dim=256, do_layer_norm_before=False),
    "opt deep": OPTConfig(**SMALL | {"num_hidden_layers": 8}, word_embed_proj_dim=256, ffn_dim=1_024, dropout=0.0),
}
LARGE = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 8_000}


def full(place: Path, shape: Any, **changes: Any) -> jobs.Folder:
    """A job whose every batch is full of the longest examples, with a label on every token."""
    shape.update({"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2})
    base = place / "base"
    AutoModelForCausalLM.from_config(shape, dtype=torch.float32).save_pretrained(base)
    models.tokenizer(True, False).save_pretrained(base)
    rows = [(f"Drum {n}", "A drum of red screws made for the sea and no more. " * 100) for n in range(12)]
    quick = {"max_length": 128, "max_steps": 2, "checkpoint_steps": 9, "loss_on": "all", "lora": Lora(r=16, alpha=16)}
    link = models.linked(place, models.tune(str(base), **(quick | changes)), rows)
    folder = jobs.Folder.of(link.key)
    folder.path.mkdir(parents=True)
    folder.write("link.json", link.model_dump(mode="json"))
    return folder


def counted(monkeypatch: pytest.MonkeyPatch, folder: jobs.Folder) -> int:
    """The most bytes of tensors that the second step of a job held at once, beside what was there before it.

    Counted from every allocation that torch makes, and not seen in the process: there the runtime outweighs a small
    model, and how full the heap is depends on the machine.
    """
    from tasks.backends.local.training import feed, trainer

    tops: list[int] = []
    step = feed.Feed.training_step

    def watched(*args: Any, **options: Any) -> Any:
        if not tops:  # the first step makes the gradients, which stay
            tops.append(0)
            return step(*args, **options)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
            loss = step(*args, **options)
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = top = 0
        for event in sorted(events, key=lambda e: e.start_ns()):
            held += event.nbytes()
            top = max(top, held)
        tops.append(top)
        return loss

    monkeypatch.setattr(feed.Feed, "training_step", watched)
    trainer.run(folder)
    return int(tops[1])


@pytest.mark.whole
@pytest.mark.parametrize(
    ("kind", "changes", "precise"),
    [(kind, {}, False) for kind in SHAPES]
    + [("llama", {}, True), ("opt", {}, True)]
    + [(kind, {"gradient_checkpointing": True}, False) for kind in ("llama", "opt deep")]
    + [(kind, {"lora": Lora(r=16, alpha=16, dropout=0.1)}, False) for kind in ("mistral", "opt")],
)
def test_the_activations_are_those_of_real_training(kind, changes, precise, tmp_path, monkeypatch):
    if precise:
        monkeypatch.setattr(engines, "precision", lambda: torch.float32)
    folder = full(tmp_path, SHAPES[kind], **changes)
    real = counted(monkeypatch, folder)
    size = 4 if "32" in str(engines.precision()) else 2
    made = memory.estimate(json.loads(SHAPES[kind].to_json_string()), folder.link.tune, 128, size)
    assert made["activations"] == pytest.approx(real, rel=0.15)


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (LlamaConfig(**LARGE, intermediate_size=1_408, num_key_value_heads=4), {"max_length": 256}),
        (OPTConfig(**LARGE, word_embed_proj_dim=512, ffn_dim=2_048), {"batch_size": 8, "max_length": 512}),
        (
            OPTConfig(**LARGE, word_embed_proj_dim=512, ffn_dim=2_048),
            {"batch_size": 8, "max_length": 512, "gradient_checkpointing": True},
        ),
    ],
    ids=["llama", "opt", "opt made again"],
)
def test_the_whole_estimate_is_the_peak_of_a_trainers_process(shape, changes, tmp_path):
    folder = full(tmp_path, shape, **changes)
    trainer = [sys.executable, "-m", "tasks.backends.local.training.trainer", str(folder.path / "link.json")]
    # One thread: each further one keeps a heap of its own.
    subprocess.run(trainer, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    facts = folder.status.facts
    if facts["device"] != "cpu":
        pytest.skip("the peak of a GPU is another one")
    assert facts["memory_estimate_bytes"] == pytest.approx(facts["peak_memory_bytes"], rel=0.15)
