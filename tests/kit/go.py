"""Go's text/template, as much of it as a Modelfile of ours uses: text, values, `if`, `eq`, `and`, one `range`."""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


def rendered(template: str, values: dict[str, Any]) -> str:
    """The template filled with these values: `Messages` (each with `Role` and `Content`), `System`, `Prompt`."""
    parts = TOKEN.split(template)  # text and actions in turn
    text, rest = _block(parts, 0, {"": values})
    assert rest == len(parts), "an `end` too many"
    return text


def _block(parts: list[str], at: int, known: dict[str, Any], live: bool = True) -> tuple[str, int]:
    """What is written until an `end` or `else` (whose place is returned) or the end of the template."""
    shown = ""
    while at < len(parts):
        if at % 2 == 0:
            shown += parts[at] if live else ""
            at += 1
            continue
        action = parts[at]
        if action == "end" or action.startswith("else"):
            return shown, at
        if action.startswith("if "):
            text, at = _choice(parts, at, known, live)
        elif action.startswith("range "):
            text, at = _range(parts, at, known, live)
        else:
            text, at = str(_value(action, known)) if live else "", at + 1
        shown += text
    return shown, at


def _choice(parts: list[str], at: int, known: dict[str, Any], live: bool) -> tuple[str, int]:
    shown, open_ = "", live
    while parts[at] != "end":
        condition = parts[at].removeprefix("else").strip().removeprefix("if").strip()
        taken = open_ and (not condition or bool(_value(condition, known)))
        text, at = _block(parts, at + 1, known, taken)
        shown, open_ = shown + text, open_ and not taken
    return shown, at + 1


def _range(parts: list[str], at: int, known: dict[str, Any], live: bool) -> tuple[str, int]:
    number, item, source = re.fullmatch(r"range (\$\w+), (\$\w+) := (\S+)", parts[at]).groups()  # type: ignore[union-attr]
    shown, end = "", _block(parts, at + 1, known, False)[1]
    for n, value in enumerate(_value(source, known) if live else ()):
        shown += _block(parts, at + 1, known | {number: n, item: value})[0]
    return shown, end + 1


def _value(text: str, known: dict[str, Any]) -> Any:
    words = re.findall(r'\((?:[^()]|\([^()]*\))*\)(?:\.\w+)?|"[^"]*"|\S+', text)
    if len(words) == 1:
        return _word(words[0], known)
    name, *rest = words
    given = [_word(word, known) for word in rest]
    functions = {"eq": lambda a, b: a == b, "and": lambda a, b: a and b, "index": lambda a, n: a[n]}
    return (functions | {"len": len, "slice": lambda a, n: a[n:]})[name](*given)  # type: ignore[operator]


def _word(word: str, known: dict[str, Any]) -> Any:
    if word.startswith('"'):
        return word[1:-1]
    if word.isdigit():
        return int(word)
    if word.startswith("("):
        inner, _, field = word.rpartition(")")
        value = _value(inner[1:], known)
        return value[field.removeprefix(".")] if field else value
    name, *fields = word.split(".")
    value = known[""] if name in ("", "$") else known[name]
    for field in fields:
        value = value[field]
    return value
