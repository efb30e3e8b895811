"""GGUF: a model in memory as a file for llama.cpp and Ollama, by the `gguf` library, in f16 or q8_0.

Names, order and hyperparameters are those of llama.cpp's own converter. What it could not be shown to read is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tasks.backends.local import sampler
from tasks.core.errors import ExportError
from tasks.examples.tokens import reader
from tasks.portable import template
from tasks.portable.weights import Tuned

# By the class of the model: the architecture of llama.cpp, and whether it wants the halves of q and k interleaved.
ARCHITECTURES = {
    "LlamaForCausalLM": ("llama", True),
    "MistralForCausalLM": ("llama", True),
    "Qwen2ForCausalLM": ("qwen2", False),
    "Qwen3ForCausalLM": ("qwen3", False),
}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES, SPLIT = {"add_prefix_space": False, "type": "ByteLevel"}, {"behavior": "Isolated", "invert": False}
# What llama.cpp calls a way of cutting text before its pieces are joined.
CUTS = {
    "gpt-2": [BYTES | {"use_regex": True}],
    "smollm": [{"type": "Digits", "individual_digits": True}, BYTES | {"use_regex": True}],
    "llama-bpe": [SPLIT | {"type": "Split", "pattern": {"Regex": LLAMA3}}, BYTES | {"use_regex": False}],
    "qwen2": [
        SPLIT | {"type": "Split", "pattern": {"Regex": LLAMA3.replace("{1,3}", "")}},
        BYTES | {"use_regex": False},
    ],
}
BESIDE = "; export it as `merged` and convert that with llama.cpp's convert_hf_to_gguf.py"
LAYER = re.compile(r"model\.layers\.(\d+)\.self_attn\.([qk])_proj\.(weight|bias)")


def examine(config: Any, tokenizer: Any) -> None:
    """ExportError where no GGUF file can be written of such a model: its architecture or tokenizer, by name."""
    name = (config.architectures or [type(config).__name__])[0]
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ExportError(f"gguf: the architecture {name!r} is not written here, only {known}{BESIDE}")
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    if kind != "default":
        raise ExportError(f"gguf: positions of kind {kind!r} are not written here, only 'default'{BESIDE}")
    _cut(tokenizer)
    head = reader(tokenizer).head
    if head not in ([], [tokenizer.bos_token_id]):
        raise ExportError(f"gguf: the tokenizer begins a text with {head!r}, which no field of GGUF says{BESIDE}")


def _cut(tokenizer: Any) -> str:
    """What llama.cpp calls the way in which this tokenizer cuts text."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        raise ExportError(f"gguf: the tokenizer {type(tokenizer).__name__!r} is Python code{BESIDE}")
    raw = json.loads(inner.to_str())
    normal = raw["normalizer"] or {}
    kind, cuts = raw["model"]["type"], raw["pre_tokenizer"] or {}
    steps = cuts.get("pretokenizers", [cuts])
    plain = [{k: v for k, v in step.items() if k != "trim_offsets"} for step in steps]
    name = next((name for name, wanted in CUTS.items() if plain == wanted), None)
    unchanged = not normal.get("normalizers", normal) or (normal == {"type": "NFC"} and name == "qwen2")
    if kind != "BPE" or name is None or not unchanged:
        told = [kind, *(step.get("type") for step in steps), normal.get("type")]
        raise ExportError(
            f"gguf: a tokenizer of {told!r} is not written here, only byte-level BPE of {', '.join(CUTS)}{BESIDE}"
        )
    return name


def write(model: Any, tuned: Tuned, path: Path, quantized: bool, name: str, license: str) -> None:
    """Write a merged model to `path`: matrices in float16, or in blocks of 8 bits; all else in float32."""
    from gguf import GGUFWriter, LlamaFileType

    arch, _ = ARCHITECTURES[model.config.architectures[0]]
    writer = GGUFWriter(path, arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_license(license)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0 if quantized else LlamaFileType.MOSTLY_F16)
    _shape(writer, model.config)
    _vocabulary(writer, model, tuned)
    for tensor, values, kind in _tensors(model, quantized):
        writer.add_tensor(tensor, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shape(writer: Any, config: Any) -> None:
    longest = config.max_position_embeddings
    window = getattr(config, "sliding_window", None)
    heads = config.num_attention_heads
    wide = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(min(longest, window) if window else longest)  # the file has no window
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(wide)
    writer.add_value_length(wide)
    writer.add_rope_dimension_count(wide)
    writer.add_rope_freq_base(float((config.rope_parameters or {}).get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _vocabulary(writer: Any, model: Any, tuned: Tuned) -> None:
    from gguf import TokenType

    tokenizer = tuned.tokenizer
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    known = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {one["id"]: one["special"] for one in raw["added_tokens"]}
    controls = set(reader(tokenizer).controls.values())
    tokens, kinds = [], []
    for number in range(model.config.vocab_size):
        tokens.append(known.get(number, f"[PAD{number}]"))
        own = TokenType.CONTROL if number in controls else TokenType.USER_DEFINED
        kinds.append(TokenType.UNUSED if number not in known else own if number in added else TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_cut(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in raw["model"]["merges"]])
    stops = sampler.ends(tokenizer, tuned.kind, model.generation_config)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if stops:
        writer.add_eos_token_id(stops[0])
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(bool(reader(tokenizer).head))
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template.of(tokenizer, tuned.kind))


def _tensors(model: Any, quantized: bool) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Name, values and kind of each tensor, as llama.cpp has them."""
    import gguf

    config = model.config
    arch, interleaved = ARCHITECTURES[config.architectures[0]]
    key = next(number for number, text in gguf.MODEL_ARCH_NAMES.items() if text == arch)
    names = gguf.get_tensor_name_map(key, config.num_hidden_layers)
    for own, weight in model.state_dict().items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ExportError(f"gguf: a tensor {own!r} has no name in llama.cpp's {arch!r}{BESIDE}")
        values = weight.float().numpy()
        if interleaved and (found := LAYER.fullmatch(own)):
            heads = config.num_attention_heads if found[2] == "q" else config.num_key_value_heads
            values = _interleaved(values, heads)
        kind = _kind(values, quantized)
        yield name, gguf.quants.quantize(values, kind), kind


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k in the order in which llama.cpp turns them: pairs side by side, not the halves of a head."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _kind(values: np.ndarray, quantized: bool) -> Any:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if values.ndim < 2:
        return GGMLQuantizationType.F32
    block = GGML_QUANT_SIZES[GGMLQuantizationType.Q8_0][0]
    return GGMLQuantizationType.Q8_0 if quantized and values.shape[-1] % block == 0 else GGMLQuantizationType.F16
