"""A GGUF file becomes an ordinary model directory: `python -m tasks.backends.convert FILE.gguf FOLDER`.

transformers reads GGUF but refuses to save what it read, because the config still says "quantised". So the model is
built again from its config, takes the weights over, and is saved in bfloat16 beside its tokenizer.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

TOKENS = ("bos", "eos", "pad", "unk")


def convert(source: Path, target: Path) -> None:
    """Write `target` (config, safetensors in bfloat16, tokenizer) from the GGUF file `source`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    where["trust_remote_code"] = False  # or it would look beside the file for code, and ask
    tokenizer = AutoTokenizer.from_pretrained(**where)
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    restore(tokenizer, config)
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def restore(tokenizer: Any, config: Any) -> None:
    """Give the tokenizer the special tokens that the file names by number: its own loader may mix them up."""
    for name in TOKENS:
        number = getattr(config, f"{name}_token_id", None)
        if isinstance(number, int):
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(number))


def read_once() -> None:
    """Let transformers parse the file once instead of four times, and list the tensors' names once and not per layer.

    More than halves the time; for the rest of this process, which does nothing else.
    """
    import gguf

    for name in ("GGUFReader", "get_tensor_name_map"):
        setattr(gguf, name, cache(getattr(gguf, name)))


if __name__ == "__main__":
    read_once()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
