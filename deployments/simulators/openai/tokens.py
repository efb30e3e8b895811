"""Tokens: how the simulator counts what it bills, on its own, with tiktoken.

The vocabulary is the one OpenAI publishes; tiktoken would fetch it, so it is unpacked from a package that carries it.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

# tiktoken's name for the file in its cache: the SHA-1 of the address it would fetch it from.
NAME = "fb374d419588a4632f3f557e76b4b70aebbca790"


@cache
def encoding() -> Any:
    """The o200k_base encoding."""
    import tiktoken

    with tempfile.TemporaryDirectory() as folder:
        packed = files("bpe_openai.data").joinpath("o200k_base.tiktoken.gz").read_bytes()
        (Path(folder) / NAME).write_bytes(gzip.decompress(packed))
        before = os.environ.get("TIKTOKEN_CACHE_DIR")
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        try:
            return tiktoken.get_encoding("o200k_base")
        finally:
            os.environ.pop("TIKTOKEN_CACHE_DIR") if before is None else os.environ.update(TIKTOKEN_CACHE_DIR=before)


def of_text(text: str) -> int:
    return len(encoding().encode_ordinary(text))


def of_examples(examples: list[dict[str, Any]]) -> int:
    """Tokens of chat examples: three a message beside its role and content, and three an example."""
    texts = [text for e in examples for turn in e["messages"] for text in (turn["role"], turn["content"])]
    counted = sum(len(ids) for ids in encoding().encode_ordinary_batch(texts, num_threads=2))
    return counted + 3 * sum(len(e["messages"]) for e in examples) + 3 * len(examples)
