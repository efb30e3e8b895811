"""Templates: a conversation becomes the very text a local model reads, the same at export, training and asking."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from tasks.core import imports
from tasks.core.errors import ExportError, MissingExtraError
from tasks.core.models import Finding, Frozen, Message
from tasks.examples import tokens
from tasks.examples.tokens import Text, joined
from tasks.recipe import allowed

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
MARK = "\u241fanswer\u241f"
# A prompt that ends inside a thought, as the models of different makers open one.
THOUGHT = re.compile(r"([<\[\u25c1])((?:\w+:)?(?:think|thinking|thought|reason|reasoning))([>\]\u25b7])\s*\Z")
SHORTEST = 3  # characters of an end that is no control token: a mere full stop also stands within answers


class Rendering(Frozen):
    """How conversations are rendered for one base model: template, its tokenizer (directory or hub name), limit."""

    template: Kind
    tokenizer: str
    max_length: int
    trust_remote_code: bool = False


def load_tokenizer(rendering: Rendering) -> Any:
    """The tokenizer of `rendering`; MissingExtraError without transformers, RecipeError where it may not be opened."""
    allowed.model("tokenizer", rendering.tokenizer)
    if rendering.trust_remote_code:
        allowed.code(rendering.tokenizer)
        imports.show("torch")  # which workers of prepare do without; this code may want it
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "local") from error
    return AutoTokenizer.from_pretrained(rendering.tokenizer, trust_remote_code=rendering.trust_remote_code)


class TemplateShape(NamedTuple):
    """What a chat template puts around an answer, and what it makes of a system turn."""

    closes: str  # put behind a prompt that opens a thought, so that the answer does not stand inside it
    opening: str  # blanks between prompt and answer
    ending: str  # what ends the answer: the model must learn to say it
    system: bool  # whether a system turn is shown; one that is refused or dropped goes before the question


def shape(template: Kind, tokenizer: Any) -> TemplateShape:
    """Asked of the template itself, by conversations that are easily told from it."""
    if template == "alpaca":
        return TemplateShape("", "", str(tokenizer.eos_token or ""), True)
    return _shape(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _shape(tokenizer: Any, template: str) -> TemplateShape:
    asked = [{"role": "user", "content": "q"}]
    try:
        prompt = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
        whole = str(tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": MARK}], tokenize=False))
    except Exception as error:  # jinja's own exception types
        raise ExportError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a question and its answer ({error}): "
            "set tune.template = alpaca"
        ) from error
    between = whole.partition(MARK)[0].removeprefix(prompt) if whole.startswith(prompt) else ""
    closes, thought = "", THOUGHT.search(prompt)
    if thought:
        left, name, right = thought.groups()
        close = f"{left}/{name}{right}"
        closes = between if close in between else f"\n{close}\n\n"
    ending = whole.partition(MARK)[2].rstrip()
    if not (tokens.reader(tokenizer).spells(ending) or len("".join(ending.split())) >= SHORTEST):
        ending += str(tokenizer.eos_token or "")
    return TemplateShape(closes, between if between.isspace() else "", ending, _shows_system(tokenizer))


def _shows_system(tokenizer: Any) -> bool:
    turns = [{"role": "system", "content": MARK}, {"role": "user", "content": "q"}]
    try:
        return MARK in str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception:
        # Templates refuse through jinja's own exception types; a system turn is what they refuse.
        return False


def render(messages: Sequence[Message], template: Kind, tokenizer: Any) -> Text:
    """The prompt: everything up to where the answer begins. A system turn that the template does not show is folded
    into the question. What the messages spell of control tokens is marked as literal."""
    reader, hidden = tokens.reader(tokenizer), list[str]()
    # The template is given numbers for what spells a control token: it can neither act on it nor cut it.
    masked = [m.model_copy(update={"content": reader.hide(m.content, hidden)}) for m in messages]
    if template == "alpaca":
        return reader.shown(_alpaca(masked), hidden)
    found = shape(template, tokenizer)
    if masked[0].role == "system" and not found.system:
        first = Message(role="user", content=f"{masked[0].content}\n\n{masked[1].content}")
        masked = [first, *masked[2:]]
    turns = [m.model_dump() for m in masked]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:
        raise ExportError(
            f"the chat template of {tokenizer.name_or_path!r} refuses {turns!r} ({error}): set tune.template = alpaca"
        ) from error
    return reader.shown(text + found.closes, hidden)


def _alpaca(messages: Sequence[Message]) -> str:
    asked = messages[-1].content
    if messages[0].role == "system":
        return ALPACA_INPUT.format(instruction=messages[0].content, input=asked)
    return ALPACA_PLAIN.format(instruction=asked)


def ending(template: Kind, tokenizer: Any) -> str:
    """What closes an answer: the template's own end, or the tokenizer's end token where it has none."""
    return shape(template, tokenizer).ending


def completion(said: str, template: Kind, tokenizer: Any) -> Text:
    """What follows a prompt when the model says `said`; what that spells of control tokens is marked as literal."""
    found = shape(template, tokenizer)
    return joined(found.opening, tokens.reader(tokenizer).text(said), found.ending)


def findings(template: Kind, tokenizer: Any, system: bool) -> list[Finding]:
    """What speaks against the template, or must be known of it. `system`: whether conversations have such a turn."""
    found, told = shape(template, tokenizer), list[Finding]()
    name = tokenizer.name_or_path
    if not found.ending:
        message = (
            f"the tokenizer of {name!r} has no end token and its template no end: no answer would ever stop; "
            "set eos_token in its tokenizer_config.json, or take another base model"
        )
        told.append(Finding(rule="end token", level="error", message=message))
    if found.closes:
        message = (
            f"the chat template of {name!r} opens a thought before the answer: it is closed there, so the model is "
            "trained and asked without thinking"
        )
        told.append(Finding(rule="thought", level="warning", message=message))
    if system and not found.system:
        message = f"the chat template of {name!r} shows no system turn: its text is put before the question"
        told.append(Finding(rule="system turn", level="warning", message=message))
    return told


def prompt_hash(prompt: str) -> str:
    """32 hex digits that tell one rendered prompt from another."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:32]
