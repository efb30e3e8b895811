"""Plain: text from outside (uids, titles, contents, questions, answers, providers' errors), made safe to display.

A terminal obeys control bytes and a page obeys markup, so neither may come from a catalogue, a model or a provider.
"""

from __future__ import annotations

import re

# Whole sequences first (OSC, DCS and others with their texts, CSI, single escapes), then what is left of them.
_SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c|\Z)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"[^\w\s.,;?()%$'\u2026-]|_")


def terminal(text: str) -> str:
    """`text` without what a terminal would obey: escape sequences, control bytes but line ends and tabs, directions."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n"))
    return _DIRECTIONS.sub("", _CONTROLS.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n")))


def escaped(text: str) -> str:
    """JSON, or the representation of a value, with the same characters written as escapes: it stays what it was."""
    if text.isascii():
        return text
    return _ESCAPED.sub(lambda one: f"\\u{ord(one[0]):04x}", text)


def markdown(text: object) -> str:
    """`text` as one line of Markdown that shows it as it stands: no link, no image, no HTML, no cell of its own.

    Written with entities: after a backslash some pages still make links of bare addresses and HTML of tags.
    """
    line = " ".join(terminal(str(text)).split())
    return _MARKUP.sub(lambda one: f"&#{ord(one[0])};", line)
