"""Rules: what may be wrong with one example, whatever its format.

Each format is read into the same turns, (role, text) with the roles system, user and assistant; then every rule looks
at every turn. An error is what a provider refuses or a model would learn wrongly; a warning is for a person to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from tasks.models import Format

SPECIAL = re.compile(
    r"<\|(?:endoftext|endofprompt|im_start|im_end|im_sep|fim_\w+|start|end|message|channel|return|begin_of_text|"
    r"end_of_text|eot_id|start_header_id|end_header_id)\|>|</?(?:start_of_turn|end_of_turn|bos|eos|pad|unk)>|\[/?INST\]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\ufffe\uffff]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
MARKUP = re.compile(
    r"</?(?:p|br|div|span|b|i|ul|li|td|tr|table|a|font|img|h[1-6])\b[^<>]{0,200}>|&(?:#\d+|#x[0-9a-f]+|[a-z]{2,8});",
    re.IGNORECASE,
)
ROLES = {"openai": {"system", "developer", "user", "assistant"}, "gemini": {"user", "model"}}
KEYS = {"openai": {"messages"}, "gemini": {"contents", "systemInstruction", "system_instruction"}}
MESSAGE_KEYS = {"role", "content", "name", "weight"}

Turn = tuple[str, str]


class Problem(NamedTuple):
    """What is wrong with a line."""

    rule: str
    level: Literal["error", "warning"]
    message: str


def error(rule: str, message: str) -> Problem:
    return Problem(rule, "error", message)


def warning(rule: str, message: str) -> Problem:
    return Problem(rule, "warning", message)


def read(value: Any, format: Format) -> tuple[list[Turn], list[Problem]]:
    """The turns of one example and what is wrong with its form; no turns where nothing can be made of it."""
    if not isinstance(value, dict):
        return [], [error("object", f"is {type(value).__name__} and not an object")]
    return {"openai": _openai, "gemini": _gemini}.get(format, _local)(value)


def _openai(value: dict[str, Any]) -> tuple[list[Turn], list[Problem]]:
    problems = _unknown(value, KEYS["openai"] | {"tools", "parallel_tool_calls"})
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        return [], [*problems, error("messages", f"messages is {messages!r}: a list of turns is needed")]
    turns, weights = [], []
    for message in messages:
        if not isinstance(message, dict):
            problems.append(error("message", f"a message is {message!r} and not an object"))
            continue
        extra = set(message) - MESSAGE_KEYS
        if extra:
            problems.append(error("message key", f"a message has unknown keys {sorted(extra)!r}"))
        weight = message.get("weight", 1)
        if weight not in (0, 1) or isinstance(weight, bool):
            problems.append(error("weight", f"weight is {weight!r}: 0 or 1 are allowed"))
        if message.get("role") == "assistant":
            weights.append(weight)
        turns += _turn(message.get("role"), message.get("content"), "openai", problems)
    if weights and not any(weights):
        problems.append(error("weights", "every answer has weight 0: there is nothing to learn"))
    return turns, problems


def _gemini(value: dict[str, Any]) -> tuple[list[Turn], list[Problem]]:
    problems = _unknown(value, KEYS["gemini"] | {"tools", "generationConfig"})
    contents = value.get("contents")
    if not isinstance(contents, list) or not contents:
        return [], [*problems, error("messages", f"contents is {contents!r}: a list of turns is needed")]
    turns: list[Turn] = []
    system = value.get("systemInstruction", value.get("system_instruction"))
    if system is not None:
        turns += [("system", text) for text in _parts(system, problems)]
    for content in contents:
        if not isinstance(content, dict):
            problems.append(error("message", f"a turn is {content!r} and not an object"))
            continue
        if extra := set(content) - {"role", "parts"}:
            problems.append(error("message key", f"a turn has unknown keys {sorted(extra)!r}"))
        for text in _parts(content, problems):
            turns += _turn(content.get("role"), text, "gemini", problems)
    return [("assistant" if role == "model" else role, text) for role, text in turns], problems


def _parts(content: Any, problems: list[Problem]) -> list[str]:
    parts = content.get("parts") if isinstance(content, dict) else None
    texts: list[Any] = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        problems.append(error("content", f"parts is {parts!r}: a list of texts is needed"))
        return []
    return ["".join(texts)]


def _local(value: dict[str, Any]) -> tuple[list[Turn], list[Problem]]:
    problems = _unknown(value, {"prompt", "completion", "literal", "instruction", "input", "output"})
    for name in ("prompt", "completion"):
        if not isinstance(value.get(name), str):
            problems.append(error("content", f"{name} is {value.get(name)!r} and not a text"))
            return [], problems
    return [("user", value["prompt"]), ("assistant", value["completion"])], problems


def _unknown(value: dict[str, Any], known: set[str]) -> list[Problem]:
    extra = set(value) - known
    return [error("key", f"unknown keys {sorted(extra)!r}")] if extra else []


def _turn(role: Any, content: Any, format: str, problems: list[Problem]) -> list[Turn]:
    if role not in ROLES[format]:
        problems.append(error("role", f"role is {role!r}: allowed are {', '.join(sorted(ROLES[format]))}"))
        return []
    if not isinstance(content, str):
        problems.append(error("content", f"the content of {role} is {content!r} and not a text"))
        return []
    return [(role, content)]


def of_turns(turns: list[Turn], format: Format) -> Iterator[Problem]:
    """What is wrong with the conversation itself."""
    roles = [role for role, _ in turns]
    if "user" not in roles:
        yield error("question", "nobody asks: there is no user turn")
    if "assistant" not in roles:
        yield error("answer", "nobody answers: there is no assistant turn")
    elif roles[-1] != "assistant":
        yield error("last turn", f"the last turn is of {roles[-1]}: it must be the answer")
    systems = [n for n, role in enumerate(roles) if role in ("system", "developer")]
    if len(systems) > 1:
        yield error("system", f"there are {len(systems)} system turns: one is allowed")
    elif systems and systems[0] != 0:
        yield error("system", "the system turn is not the first")
    if any(one == two for one, two in pairwise(roles) if one in ("user", "assistant")):
        yield warning("turns", "two turns of the same role follow each other")
    for role, text in turns:
        if not text.strip():
            told = {"assistant": "empty answer", "user": "empty question"}.get(role, "empty system")
            yield error(told, f"the text of {role} is empty")
    # A local prompt is made of special tokens and template texts.
    yield from of_text("\n".join(text for role, text in turns if format in ROLES or role == "assistant"), format)


def of_text(text: str, format: Format) -> Iterator[Problem]:
    """What is wrong with the words."""
    if format in ROLES and (found := SPECIAL.search(text)):
        yield error("special token", f"{found.group()!r} is a token of the model's own language")
    if found := CONTROL.search(text):
        yield error("control character", f"{found.group()!r} is a control character")
    if found := SURROGATE.search(text):
        yield error("surrogate", f"{found.group()!r} is half a character: no UTF-8 can hold it")
    if format in ROLES and (found := MARKUP.search(text)):
        yield warning("markup", f"{found.group()[:40]!r} is left over from a web page")
    if found := _unsafe().search(text):
        yield warning("safety", f"{found.group()!r} may be refused by the provider's safety check")


@cache
def limits() -> dict[str, dict[str, Any]]:
    """What each provider takes, from limits.yaml."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "limits.yaml").read_text())
    return found


@cache
def _unsafe() -> re.Pattern[str]:
    words = sorted({word for many in limits()["unsafe"].values() for word in many}, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
