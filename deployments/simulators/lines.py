"""Lines: training files as the providers read them, with the reason where they fail the job."""

from __future__ import annotations

import codecs
import json
from typing import Any

LEAST = 10  # examples that OpenAI asks for


def openai(data: bytes) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
    """The examples, or why the provider fails the job."""
    examples = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            example = json.loads(line)
            roles = [turn["role"] for turn in example["messages"]]
            good = all(isinstance(turn["content"], str) and turn["content"] for turn in example["messages"])
        except (ValueError, KeyError, TypeError):
            return [], ("invalid_training_file", f"Invalid file format. Line {number} is not valid.")
        if not good or roles[-1:] != ["assistant"]:
            return [], ("invalid_training_file", f"Invalid file format. Line {number}: last message must be assistant.")
        examples.append(example)
    if len(examples) < LEAST:
        message = f"Training file has {len(examples)} example(s), but must have at least {LEAST} examples"
        return [], ("invalid_n_examples", message)
    return examples, None


def gemini(data: bytes | None) -> tuple[list[tuple[str, str]], str | None]:
    """Question and answer of each example, or why the service fails the job."""
    if data is None:
        return [], "The training dataset cannot be read from Cloud Storage"
    examples = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            turns = json.loads(line)["contents"]
            texts = ["".join(part["text"] for part in turn["parts"]) for turn in turns]
            roles = [turn["role"] for turn in turns]
        except (ValueError, KeyError, TypeError):
            return [], f"Invalid dataset: line {number}"
        if set(roles) - {"user", "model"} or roles[-1:] != ["model"] or not all(texts):
            return [], f"Invalid dataset: line {number}: roles {roles}"
        examples.append((texts[-2], texts[-1]))
    return examples, None if examples else "The training dataset is empty"
