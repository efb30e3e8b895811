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

from tasks.core.models import Format

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
ROLES = {
    "openai": {"system", "developer", "user", "assistant", "tool", "function"},
    "gemini": {"user", "model", "function"},
}
KEYS = {
    "openai": {"messages", "tools", "parallel_tool_calls", "functions", "function_call"},
    "gemini": {"contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "generationConfig"},
}
MESSAGE_KEYS = {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal"}
RESULTS = ("tool", "function")  # roles of what a called function gave back
# Files of other ways of training, by keys that only they have: what such a line is, and what to do with it.
OTHERS: tuple[tuple[set[str], str], ...] = (
    ({"preferred_output", "non_preferred_output"}, "a preference (DPO) example of OpenAI"),
    ({"chosen", "rejected"}, "a preference (DPO) example"),
    ({"conversations"}, "a ShareGPT conversation"),
    ({"instruction", "output"}, "an Alpaca example"),
    ({"prompt", "completion"}, "a prompt and completion pair"),
    ({"text_input", "output"}, "an example of the old Gemini API"),
    ({"input_text", "output_text"}, "an example of the old Vertex text models"),
    ({"contents"}, "a Gemini example"),
    ({"messages"}, "an OpenAI example"),
    ({"text"}, "a plain text"),
)
ADVICE = {
    "openai": "write each line as {'messages': [{'role': 'user', ...}, {'role': 'assistant', ...}]}",
    "gemini": "write each line as {'contents': [{'role': 'user', 'parts': [...]}, {'role': 'model', 'parts': [...]}]}",
}
ANSWERS = {  # what of another format becomes the answer of such a line
    "preference": "with the preferred answer as the assistant's; shardtune does not train on preferences",
    "ShareGPT": "human becomes user, gpt becomes assistant",
    "Alpaca": "instruction and input become the user's turn, output the assistant's",
}

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
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [], [error("object", f"is a list of {len(value)} examples: write each of them on a line of its own")]
    if not isinstance(value, dict):
        return [], [error("object", f"is {type(value).__name__} and not an object")]
    return {"openai": _openai, "gemini": _gemini}.get(format, _local)(value)


def _other(value: dict[str, Any], format: Format) -> Problem | None:
    """The problem of a line that belongs to another way of training; None where its own keys are there."""
    own = {"openai": "messages", "gemini": "contents"}.get(format)
    if own is None or own in value:
        return None
    for keys, name in OTHERS:
        if keys <= set(value):
            more = next((f", {told}" for word, told in ANSWERS.items() if word in name), "")
            return error("format", f"is {name} and not one of {format}: {ADVICE[format]}{more}")
    return None


def _openai(value: dict[str, Any]) -> tuple[list[Turn], list[Problem]]:
    if other := _other(value, "openai"):
        return [], [other]
    problems = _unknown(value, KEYS["openai"])
    if not isinstance(value.get("parallel_tool_calls", False), bool):
        problems.append(error("parallel_tool_calls", f"is {value['parallel_tool_calls']!r}: true or false is needed"))
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        return [], [*problems, error("messages", f"messages is {messages!r}: a list of turns is needed")]
    offered = _offered(value, problems)
    turns: list[Turn] = []
    weights: list[Any] = []
    called: set[Any] = set()
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
        calls = _calls(message, offered, called, problems)
        turns += _turn(message.get("role"), _said(message, calls, problems), "openai", problems)
    if weights and not any(weights):
        problems.append(error("weights", "every answer has weight 0: there is nothing to learn"))
    return turns, problems


def _offered(value: dict[str, Any], problems: list[Problem]) -> set[str] | None:
    """Names of the functions that the model may call; None where the example lists none."""
    functions = list(value.get("functions") or [])
    for tool in value.get("tools") or []:
        if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            problems.append(error("tools", f"a tool is {tool!r}: {{'type': 'function', 'function': ...}} is needed"))
        else:
            functions.append(tool["function"])
    if not functions:
        return None
    for function in functions:
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            problems.append(error("tools", f"a function is {function!r}: it needs a name"))
    return {f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)}


def _calls(message: dict[str, Any], offered: set[str] | None, called: set[Any], problems: list[Problem]) -> list[str]:
    """The calls of one message as texts. Their ids go into `called`, where the results look for them."""
    calls = message.get("tool_calls") or []
    made = [message["function_call"]] if message.get("function_call") else []
    if not isinstance(calls, list):
        problems.append(error("tool_calls", f"tool_calls is {calls!r}: a list is needed"))
        calls = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("id"), str) or call.get("type") != "function":
            problems.append(error("tool_calls", f"a call is {call!r}: id, type 'function' and function are needed"))
            continue
        called.add(call["id"])
        made.append(call.get("function"))
    if made and message.get("role") != "assistant":
        problems.append(error("tool_calls", f"{message.get('role')!r} calls a function: only the assistant may"))
    texts = []
    for function in made:
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not isinstance(function.get("arguments"), str):
            problems.append(
                error("tool_calls", f"a function is {function!r}: name and arguments, two texts, are needed")
            )
            continue
        if offered is None or name not in offered:
            problems.append(warning("tools", f"the function {name!r} that is called is not among the tools"))
        texts.append(f"{name}({function['arguments']})")
    if message.get("role") == "tool":
        if not isinstance(wanted := message.get("tool_call_id"), str):
            problems.append(error("tool_call_id", f"tool_call_id is {wanted!r}: the id of a call is needed"))
        elif wanted not in called:
            problems.append(error("tool_call_id", f"tool_call_id {wanted!r} is of no call before it"))
    if message.get("role") == "function" and not isinstance(message.get("name"), str):
        problems.append(error("name", f"name is {message.get('name')!r}: the name of a function is needed"))
    return texts


def _said(message: dict[str, Any], calls: list[str], problems: list[Problem]) -> Any:
    """The text of a message: its content or its parts, and what an assistant says without: calls or a refusal."""
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list) and content:
        texts = [_part(part, message.get("role"), problems) for part in content]
        content = "".join(text for text in texts if text)
        if not content and any(text is None for text in texts):
            content = "[image]"
    if message.get("role") != "assistant":
        return content
    if refusal is not None and not isinstance(refusal, str):
        problems.append(error("refusal", f"refusal is {refusal!r} and not a text"))
    instead = [*calls, *([refusal] if isinstance(refusal, str) else [])]
    called = message.get("tool_calls") or message.get("function_call")
    if (instead or called) and content in (None, ""):
        return "\n".join(instead) or "[call]"
    return "\n".join([content, *instead]) if isinstance(content, str) else content


def _part(part: Any, role: Any, problems: list[Problem]) -> str | None:
    """The text of one part of a content; None for an image."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("text", "refusal") and isinstance(part.get(kind), str):
        if kind == "refusal" and role != "assistant":
            problems.append(error("content", f"{role!r} refuses: only the assistant may"))
        return str(part[kind])
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        url = part["image_url"].get("url")
        if role != "user":
            problems.append(error("image", f"{role!r} shows an image: only the user may"))
        if not isinstance(url, str) or not url.startswith(("https://", "http://", "data:image/")):
            problems.append(
                error("image", f"the URL of an image is {str(url)[:60]!r}: https:// or data:image/ is needed")
            )
        return None
    problems.append(error("content", f"a part is {str(part)[:120]}: a text, an image_url or a refusal is needed"))
    return ""


def _gemini(value: dict[str, Any]) -> tuple[list[Turn], list[Problem]]:
    if other := _other(value, "gemini"):
        return [], [other]
    problems = _unknown(value, KEYS["gemini"])
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
    """The text of a turn's parts as one; files, calls and their results stand in it by their names."""
    parts = content.get("parts") if isinstance(content, dict) else None
    texts = [_gemini_part(part) for part in parts] if isinstance(parts, list) else []
    if not texts or None in texts:
        wanted = "a list of texts, files, function calls or their results is needed"
        problems.append(error("content", f"parts is {str(parts)[:200]}: {wanted}"))
        return []
    return ["".join(text for text in texts if text)]


def _gemini_part(part: Any) -> str | None:
    """The text of one part; None where it is none that a training file may hold."""
    if not isinstance(part, dict):
        return None
    if isinstance(part.get("text"), str):
        return str(part["text"])
    for name in ("inlineData", "inline_data", "fileData", "file_data"):
        if isinstance(part.get(name), dict):
            return "[file]"
    for name in ("functionCall", "function_call", "functionResponse", "function_response"):
        if isinstance(part.get(name), dict) and isinstance(part[name].get("name"), str):
            return f"{part[name]['name']}({part[name].get('args', part[name].get('response'))})"
    return None


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
        if not text.strip() and role not in RESULTS:
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
