"""Tokens: what a local model reads and which of it is learnt. Prompt ids are the same in training and in asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

IGNORED = -100  # the label that the loss passes over


class Encoded(NamedTuple):
    """Token ids, labels (IGNORED where nothing is learnt), and whether the answer lost its end to `max_length`."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool


def encode_prompt(prompt: str, tokenizer: Any) -> list[int]:
    """Ids of a rendered prompt, with the beginning-of-text token exactly once."""
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is None or bos == tokenizer.eos_token_id or ids[:1] == [bos]:
        return ids
    return [bos, *ids] if tokenizer("", add_special_tokens=True)["input_ids"][:1] == [bos] else ids


def encode(
    prompt: str, completion: str, tokenizer: Any, max_length: int, loss_on: Literal["answer", "all"] = "answer"
) -> Encoded:
    """One example. Prompt and completion are tokenised apart, so that the prompt is just what asking sends."""
    head = encode_prompt(prompt, tokenizer)
    tail: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
    ids = [*head, *tail]
    masked = 0 if loss_on == "all" else len(head)
    labels = [*[IGNORED] * masked, *ids[masked:]]
    return Encoded(ids[:max_length], labels[:max_length], len(ids) > max_length)


def lengths(prompts: Sequence[str], completions: Sequence[str], tokenizer: Any) -> list[int]:
    """Tokens of each example, as `encode` would make them, counted in batches."""
    if not prompts:
        return []
    extra = len(encode_prompt(prompts[0], tokenizer)) - len(
        tokenizer(prompts[0], add_special_tokens=False)["input_ids"]
    )
    heads = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    tails = tokenizer(list(completions), add_special_tokens=False)["input_ids"]
    return [extra + len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)]
