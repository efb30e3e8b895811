"""A GGUF file becomes an ordinary model directory: `python -m tasks.backends.local.convert FILE.gguf FOLDER`.

transformers reads GGUF but refuses to save what it read, because the config still says "quantised". So the model is
built again from its config, takes the weights over, and is saved in bfloat16 beside its tokenizer.
"""

from __future__ import annotations

import math
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.errors import BackendError

TOKENS = ("bos", "eos", "pad", "unk")
LENGTHS = ("block_count", "embedding_length", "feed_forward_length", "vocab_size")  # that memory is taken for


def examine(source: Path) -> None:
    """Raise BackendError where the header of a GGUF file asks for more than the file holds. Parses nothing."""
    with source.open("rb") as stream:
        try:
            _Header(stream, source.stat().st_size).walk()
        except (ValueError, struct.error) as error:
            reason = str(error) if isinstance(error, ValueError) else "it ends in its header"
            raise BackendError(f"base model {str(source)!r} is no sound GGUF file: {reason}; fetch it again") from error


WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
WHOLE = {4: "I", 5: "i", 10: "Q", 11: "q"}  # types of whole numbers that may be large
TEXT, LIST, DEEPEST = 8, 9, 3


class _Header:
    """Walks through the header of a GGUF file, and believes no number that the file cannot hold."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size

    def walk(self) -> None:
        if self.stream.read(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self.number("I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version!r}, and 2 and 3 are known")
        tensors, fields = self.many("tensors", self.number("Q"), 24), self.many("fields", self.number("Q"), 12)
        wanted: dict[str, int] = {}
        for _ in range(fields):
            name, kind = self.text(), self.number("I")
            value = self.value(kind, 0)
            if value is not None and name.rpartition(".")[2] in LENGTHS:
                wanted[name] = value
        longest = 0
        for _ in range(tensors):
            self.text()
            sides = [self.number("Q") for _ in range(self.many("dimensions", self.number("I"), 8, most=8))]
            # Less than a bit a weight is no format of GGUF.
            self.many("weights in a tensor", math.prod(sides), 1 / 8)
            longest = max(longest, *sides, 0)
            self.stream.seek(12, 1)
        for name, value in wanted.items():
            if value > (tensors if name.endswith("block_count") else longest):
                raise ValueError(f"{name} is {value!r}, and no tensor is that large")

    def number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self.stream.read(struct.calcsize(kind)))[0])

    def many(self, what: str, count: int, width: float, most: int | None = None) -> int:
        """The count, where so many things of `width` bytes at least still fit into the file."""
        if count * width > self.size - self.stream.tell() or (most is not None and count > most):
            raise ValueError(f"it names {count!r} {what}, which it has no room for")
        return count

    def text(self) -> str:
        return self.stream.read(self.many("letters", self.number("Q"), 1)).decode(errors="replace")

    def value(self, kind: int, deep: int) -> int | None:
        """Pass over a value; returned where it is a whole number."""
        if kind == TEXT:
            self.text()
        elif kind == LIST and deep < DEEPEST:
            inner = self.number("I")
            count = self.many("values in a list", self.number("Q"), WIDTHS.get(inner, 8))
            if inner in WIDTHS:
                self.stream.seek(count * WIDTHS[inner], 1)
            else:
                for _ in range(count):
                    self.value(inner, deep + 1)
        elif kind in WHOLE:
            return self.number(WHOLE[kind])
        elif kind in WIDTHS:
            self.stream.seek(WIDTHS[kind], 1)
        else:
            raise ValueError(f"a value is of type {kind!r}, which GGUF does not know")
        return None


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
