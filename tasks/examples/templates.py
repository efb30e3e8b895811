"""Templates: a conversation becomes the very text a local model reads, the same at export, training and asking."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from tasks import reach
from tasks.errors import ExportError, MissingExtraError
from tasks.models import Frozen, Message

ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
ALPACA_PLAIN = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
Kind = Literal["chat", "alpaca"]


class Rendering(Frozen):
    """How conversations are rendered for one base model: template, its tokenizer (directory or hub name), limit."""

    template: Kind
    tokenizer: str
    max_length: int
    trust_remote_code: bool = False


def load_tokenizer(rendering: Rendering) -> Any:
    """The tokenizer of `rendering`; MissingExtraError without transformers, RecipeError where it may not be opened."""
    reach.model("tokenizer", rendering.tokenizer)
    if rendering.trust_remote_code:
        reach.code(rendering.tokenizer)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "local") from error
    return AutoTokenizer.from_pretrained(rendering.tokenizer, trust_remote_code=rendering.trust_remote_code)


def render(messages: Sequence[Message], template: Kind, tokenizer: Any) -> str:
    """The prompt: everything up to where the answer begins. A template that refuses a system turn gets it folded in."""
    if template == "alpaca":
        return _alpaca(messages)
    turns = [m.model_dump() for m in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:
        # Templates refuse through jinja's own exception types; a system turn is what they refuse.
        if turns[0]["role"] != "system":
            raise ExportError(f"the chat template of {tokenizer.name_or_path!r} refuses {turns!r}: {error}") from error
        first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        return str(tokenizer.apply_chat_template([first, *turns[2:]], tokenize=False, add_generation_prompt=True))


def _alpaca(messages: Sequence[Message]) -> str:
    asked = messages[-1].content
    if messages[0].role == "system":
        return ALPACA_INPUT.format(instruction=messages[0].content, input=asked)
    return ALPACA_PLAIN.format(instruction=asked)


def ending(template: Kind, tokenizer: Any) -> str:
    """What closes an answer, up to and including the end token; the model must learn to say it."""
    end = str(tokenizer.eos_token or "")
    if template == "alpaca":
        return end
    mark = "\u241fanswer\u241f"
    asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": mark}]
    tail = str(tokenizer.apply_chat_template(asked, tokenize=False)).partition(mark)[2].rstrip()
    return tail or end


def prompt_hash(prompt: str) -> str:
    """32 hex digits that tell one rendered prompt from another."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:32]
