"""Work for the pool's tests: a worker process finds it by name."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pyarrow as pa

from tasks.examples.templates import Rendering, load_tokenizer


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise LookupError(f"no {number!r} here")
    return number


def die_once(folder: str, number: int) -> int:
    """Killed as by the kernel, the first time; the second time it lives."""
    mark = Path(folder) / str(number)
    if number % 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def loaded(*names: str) -> tuple[int, list[str]]:
    """This process, and which of these modules it has imported after some work."""
    pa.array(["a column"])
    return os.getpid(), sorted(name for name in names if sys.modules.get(name))


def opens_tokenizer(folder: str, own_code: bool) -> tuple[list[int], bool]:
    """What a tokenizer makes of a text, and whether torch may be imported after that."""
    rendering = Rendering(template="alpaca", tokenizer=folder, max_length=64, trust_remote_code=own_code)
    ids = load_tokenizer(rendering)("A red drum of 12 screws.")["input_ids"]
    return ids, importlib.util.find_spec("torch") is not None
