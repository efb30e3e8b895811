"""Weights: an adapter merged into its base, as safetensors in 16 bits beside the tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tasks.backends.local import engines, models, sampler
from tasks.core import store
from tasks.core.errors import ExportError
from tasks.examples.templates import Kind
from tasks.portable import template
from tasks.recipe.tuning import LocalTune


class Tuned(NamedTuple):
    """A base on this machine with the adapter that was tuned on it, and how it is asked."""

    base: str  # directory or hub name
    adapter: Path
    tune: LocalTune
    kind: Kind
    tokenizer: Any


def loaded(tuned: Tuned) -> tuple[Any, Any]:
    """The base with its adapter in float32, and the dtype in which the base lies on disk."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig

    trusted = tuned.tune.trust_remote_code
    own = AutoConfig.from_pretrained(tuned.base, trust_remote_code=trusted).dtype
    bare = engines.base(tuned.base, tuned.tune.load_in_4bit, trusted, torch.float32)
    if tuned.tune.load_in_4bit:  # the adapter learned what the rounded weights lack
        bare = bare.dequantize(dtype=torch.float32)
    engines.plain(str(tuned.adapter), "adapter_model")
    return PeftModel.from_pretrained(bare, str(tuned.adapter)), own


def opened(folder: Path, tune: LocalTune, **more: Any) -> Any:
    """A model that was written to a folder, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    trusted = tune.trust_remote_code and not more
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=trusted, **more)


def merged(model: Any, tuned: Tuned) -> Any:
    """The base with the adapter merged into it, in float32. `model` is used up by it."""
    made = model.merge_and_unload()
    if hasattr(made.config, "quantization_config"):
        del made.config.quantization_config
    made.generation_config = _generation(made, tuned)
    return made


def write(merged: Any, own: Any, tuned: Tuned, folder: Path) -> None:
    """Write a merged model in 16 bits, with its tokenizer. `merged` is used up by it.

    bfloat16 stays bfloat16, whose range some models need; anything else becomes float16, which is finer.
    """
    import torch

    dtype = own if own in (torch.bfloat16, torch.float16) else torch.float16
    largest = max(float(weight.abs().max()) for weight in merged.parameters())
    if dtype is torch.float16 and not largest < torch.finfo(dtype).max:
        raise ExportError(f"a weight of {largest!r} does not fit into float16; export it as `adapter`")
    merged.to(dtype).save_pretrained(folder)
    speaking(tuned, folder)


def _generation(model: Any, tuned: Tuned) -> Any:
    """The likeliest answer, and where it stops, for programs that read generation_config.json."""
    from transformers import GenerationConfig

    tokenizer = tuned.tokenizer
    stops = sampler.ends(tokenizer, tuned.kind, model.generation_config)
    return GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops or None,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(stops), None),
    )


def speaking(tuned: Tuned, folder: Path) -> None:
    """Write the tokenizer with a chat template that asks as the model was tuned."""
    tokenizer, before = tuned.tokenizer, tuned.tokenizer.chat_template
    made = template.of(tokenizer, tuned.kind)
    try:
        tokenizer.chat_template = made
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = before


def copied(tuned: Tuned, folder: Path) -> None:
    """Write the adapter as it is, its base under a name that any machine finds, beside the tokenizer."""
    folder.mkdir(parents=True)
    for file in sorted(tuned.adapter.glob("adapter_*")):
        shutil.copyfile(file, folder / file.name)
    config = folder / "adapter_config.json"
    named = {"base_model_name_or_path": models.portable(tuned.tune), "revision": tuned.tune.revision}
    value = store.read_json(str(config)) | named
    config.write_text(json.dumps(value, indent=2, sort_keys=True))
    speaking(tuned, folder)


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
