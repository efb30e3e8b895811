"""The memory estimate follows the recipe and the shape of the model; its weights are those the model really has."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, OPTConfig

from tasks.backends.local import memory
from tasks.recipe.tuning import LocalTune, Lora

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
        ({"r": 64}, {"adapter", "optimizer"}),
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
    assert memory.Shape.of(shape | {"model_type": kind}).heads == heads


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
