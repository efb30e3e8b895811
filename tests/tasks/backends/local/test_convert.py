"""A GGUF file becomes a directory with the same weights and the special tokens that the file names."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.backends.local import models as base
from tasks.backends.local.convert import convert, examine, read_once, restore
from tasks.core.errors import BackendError
from tests.kit import models

WIDTH, INNER, HEADS = 32, 64, 2
SPECIAL = ["<unk>", "<s>", "</s>", "<fill>"]
CHAT = "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"


def tensors() -> dict[str, np.ndarray]:
    """Weights by their GGUF names."""
    draw = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(tokens()), WIDTH),
        "output": (len(tokens()), WIDTH),
        **{f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{name}": (INNER, WIDTH) for name in ("gate", "up")},
        "blk.0.ffn_down": (WIDTH, INNER),
        **dict.fromkeys(("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"), (WIDTH,)),
    }
    return {f"{name}.weight": draw.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def tokens() -> list[str]:
    return [*SPECIAL, *"abcdefghijklmnopqrstuvwxyzĠ", "th", "the"]


def written(place: Path, pad: int) -> Path:
    """A small Llama as a GGUF file, with a byte-level tokenizer."""
    out = gguf.GGUFWriter(str(place), "llama")
    out.add_block_count(1)
    out.add_context_length(64)
    out.add_embedding_length(WIDTH)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_vocab_size(len(tokens()))
    out.add_tokenizer_model("gpt2")
    out.add_token_list(tokens())
    out.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens()) - len(SPECIAL)))
    out.add_token_merges(["t h", "th e"])
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_pad_token_id(pad)
    out.add_chat_template(CHAT)
    for name, values in tensors().items():
        out.add_tensor(name, values)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return place


@pytest.fixture(scope="module", params=[2, 3], ids=["pad-is-end", "pad-of-its-own"])
def converted(request, tmp_path_factory):
    """The directory, and the id of its pad token."""
    folder = tmp_path_factory.mktemp("converted")
    convert(written(folder / "small.gguf", request.param), folder / "model")
    return folder / "model", request.param


def test_the_weights_are_those_of_the_file_in_bfloat16(converted):
    model = AutoModelForCausalLM.from_pretrained(converted[0])
    assert model.dtype == torch.bfloat16 and not hasattr(model.config, "quantization_config")
    held, given = model.state_dict(), tensors()
    for theirs, ours in (
        ("model.embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("model.norm", "output_norm"),
        ("model.layers.0.self_attn.v_proj", "blk.0.attn_v"),
        ("model.layers.0.self_attn.o_proj", "blk.0.attn_output"),
        ("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate"),
        ("model.layers.0.mlp.down_proj", "blk.0.ffn_down"),
    ):
        wanted = torch.from_numpy(given[f"{ours}.weight"]).to(torch.bfloat16)
        assert torch.equal(held[f"{theirs}.weight"], wanted), theirs


def test_the_special_tokens_are_those_the_file_names(converted):
    place, pad = converted
    tokenizer, config = AutoTokenizer.from_pretrained(place), AutoModelForCausalLM.from_pretrained(place).config
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
    assert tokenizer.pad_token == SPECIAL[pad]
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, pad)
    assert tokenizer.chat_template == CHAT
    assert tokenizer.convert_ids_to_tokens(tokenizer("the cat")["input_ids"])[-5:] == ["the", "Ġ", "c", "a", "t"]


def test_reading_once_changes_nothing(converted, tmp_path, monkeypatch):
    for name in ("GGUFReader", "get_tensor_name_map"):
        monkeypatch.setattr(gguf, name, getattr(gguf, name))  # put back at the end
    place, pad = converted
    source = written(tmp_path / "small.gguf", pad)
    read_once()
    convert(source, tmp_path / "model")
    assert gguf.GGUFReader.cache_info().misses == 1
    files = sorted(p.name for p in place.iterdir())
    assert files == sorted(p.name for p in (tmp_path / "model").iterdir())
    assert all((place / name).read_bytes() == (tmp_path / "model" / name).read_bytes() for name in files)


def test_mixed_up_special_tokens_are_put_right_and_unnamed_ones_stay():
    tokenizer = models.tokenizer(chat=False, pad_is_end=False)
    named = models.config("llama", {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": None})
    restore(tokenizer, named)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("</s>", "<s>", "<pad>")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 0)


def header(*fields: bytes, tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(fields)) + b"".join(fields)


def field(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


HOSTILE = {
    "array of 2^40 bytes": header(field("x", 9, struct.pack("<IQ", 0, 2**40))),
    "array of 2^40 texts": header(field("x", 9, struct.pack("<IQ", 8, 2**40))),
    "arrays in arrays": header(field("x", 9, struct.pack("<IQ", 9, 1) * 2_000)),
    "text of 2^63 letters": header(field("x", 8, struct.pack("<Q", 2**63))),
    "2^40 fields": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40),
    "2^40 tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0),
    "2^60 weights": header(tensors=1) + struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 2**30, 2**30, 0, 0),
    "2^40 layers": header(field("llama.block_count", 10, struct.pack("<Q", 2**40))),
    "2^40 hidden": header(field("llama.embedding_length", 10, struct.pack("<Q", 2**40))),
    "unknown type": header(field("x", 77, b"")),
    "version 9": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    "cut": header(field("x", 4, b"\0")),
    "no GGUF": b"PK\x03\x04",
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_header_that_asks_for_more_than_the_file_holds_is_refused_before_it_is_parsed(kind, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(HOSTILE[kind] + bytes(1_000) * (kind not in ("cut", "no GGUF", "empty")))
    with pytest.raises(BackendError, match="no sound GGUF") as refused:
        base.resolve(models.tune(str(file)), str(tmp_path))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").glob("*/*"))


def test_a_sound_file_passes(tmp_path):
    examine(written(tmp_path / "small.gguf", 2))
