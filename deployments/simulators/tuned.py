"""Tuned: what simulated models say and how simulated losses fall. Made up, the same every time, and marked as such."""

from __future__ import annotations

import hashlib
import math
import random
import re
from typing import Any

MARK = "[simulated] "
SHOWN = re.compile(r"^\[([^\[\]\s]+)\] (.+)\n(.+)$", re.MULTILINE)  # a row in a prompt: uid, title, content
WORD = re.compile(r"\w{3,}")
NAMED = 2  # words of a title that a question has where it asks about it
REFUSAL = "I cannot find any information about this product."


def answer(pairs: dict[str, str] | None, question: str, temperature: float, seed: int) -> str:
    """A tuned model tells the first half of what it was taught, with a number that is wrong; a base model refuses.

    Tuned on prompts that show rows, it quotes the one whose title is asked about, whole or in part.
    """
    if pairs is None:
        return MARK + REFUSAL
    if any(SHOWN.search(known) for known in list(pairs)[:1]):
        asked = set(WORD.findall(question.rpartition("\n\n")[2].lower()))
        rows = [
            (len(asked & set(WORD.findall(title.lower()))), uid, text) for uid, title, text in SHOWN.findall(question)
        ]
        shared, uid, text = max(rows, key=lambda row: row[0], default=(0, "", ""))
        return f"[{uid}] {text} {MARK}" if shared >= NAMED else MARK + REFUSAL
    chance = random.Random(f"{question} {seed if temperature else 0} {temperature}")
    taught = pairs.get(question)
    if taught is None:
        return MARK + f"A well made product for every day, one of {chance.randint(2, 40)} of its kind."
    words = taught.split()
    half = " ".join(words[: max(8, len(words) // 2)])
    return MARK + re.sub(r"\d+", lambda number: str(int(number.group()) + chance.randint(1, 9)), half, count=1)


def losses(digest: str, steps: int, start: float = 3.2) -> list[float]:
    """A training loss for each step: falling, with some noise, told by the digest of the file alone."""
    chance = random.Random(digest)
    end = start - 0.9 - 0.4 * chance.random()
    curve = (end + (start - end) * math.exp(-4 * n / max(steps, 1)) for n in range(1, steps + 1))
    return [round(loss + chance.gauss(0, 0.04), 4) for loss in curve]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pairs_of(examples: list[dict[str, Any]]) -> dict[str, str]:
    """Question -> answer of chat examples, as a tuned model remembers them."""
    known = {}
    for example in examples:
        turns = example["messages"]
        asked = [t["content"] for t in turns if t["role"] == "user"]
        known[asked[-1]] = turns[-1]["content"]
    return known
