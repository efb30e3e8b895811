"""Modelfile: how Ollama asks the model: the chat template in Go's language, the system message, where answers stop."""

from __future__ import annotations

import json
import re
from typing import Any

from tasks.backends.local import sampler
from tasks.core.errors import ExportError
from tasks.core.models import StyleName
from tasks.examples.styles import STYLES
from tasks.portable import template
from tasks.portable.weights import Tuned

MARKS = ("\u241fs\u241f", "\u241fu\u241f", "\u241fa\u241f", "\u241fv\u241f")  # system, user, assistant, user again
CONVERSATION = (
    "{{ range $i, $m := .Messages }}"
    '{{ if eq $m.Role "system" }}@before_system@{{ $m.Content }}'
    '{{ else if eq $m.Role "user" }}'
    '{{ if eq $i 0 }}@first@{{ else if and (eq $i 1) (eq (index $.Messages 0).Role "system") }}@after_system@'
    "{{ else }}@asked_again@{{ end }}{{ $m.Content }}"
    "{{ if eq (len (slice $.Messages $i)) 1 }}@last@{{ else }}@answered@{{ end }}"
    "{{ else }}{{ $m.Content }}{{ end }}{{ end }}"
)
QUESTION = (
    "{{ if .System }}@head@{{ .System }}@middle@{{ .Prompt }}@tail@{{ else }}@alone@{{ .Prompt }}@end@{{ end }}"
    "{{ .Response }}"
)
ROLES = ("system", "user", "assistant", "user")


def text(file: str, tuned: Tuned, style: StyleName, stops: list[int], license: str) -> str:
    """The Modelfile of the GGUF file `file` beside it. ExportError where Go's language cannot say the template."""
    system = STYLES[style].system
    marks = [tuned.tokenizer.convert_ids_to_tokens(number) for number in stops]
    closing = sampler.closing(tuned.tokenizer, tuned.kind)
    marks += [closing] if closing else []
    lines = [f"FROM ./{file}", f"TEMPLATE {_quoted(go(tuned))}"]
    lines += [f"SYSTEM {_quoted(system)}"] if system else []
    lines += [f"PARAMETER stop {json.dumps(mark, ensure_ascii=False)}" for mark in marks]
    lines += ["PARAMETER temperature 0", "PARAMETER repeat_penalty 1", f"LICENSE {_quoted(license)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    if '"""' in value:
        raise ExportError(f"a Modelfile cannot hold three quotation marks, as in {value!r}: export it as `merged`")
    return f'"""{value}"""'


def go(tuned: Tuned) -> str:
    """The chat template in the language of Go's text/template, over `.Messages`; `.System` and `.Prompt` where the
    template shows only the last question.
    """
    whole = _between(tuned, MARKS, ROLES)
    first = _between(tuned, MARKS[1:], ROLES[1:])
    if whole is None or first is None:
        return _single(tuned)
    if whole[2:] != first[1:]:
        raise ExportError("the chat template shows a later turn differently after a system message: export `merged`")
    names = ("before_system", "after_system", "answered", "asked_again", "last")
    return _filled(CONVERSATION, dict(zip(names, whole, strict=True)) | {"first": first[0]})


def _single(tuned: Tuned) -> str:
    both, alone = _between(tuned, MARKS[:2], ROLES[:2]), _between(tuned, MARKS[1:2], ROLES[1:2])
    if both is None or alone is None:
        raise ExportError("the chat template does not show a question and its system message: export it as `merged`")
    return _filled(QUESTION, dict(zip(("head", "middle", "tail", "alone", "end"), [*both, *alone], strict=True)))


def _filled(pattern: str, texts: dict[str, str]) -> str:
    """The pattern with texts in place of their names; Go reads what they hold as text."""
    return re.sub(r"@(\w+)@", lambda found: texts[found[1]].replace("{{", '{{ "{{" }}'), pattern)


def _between(tuned: Tuned, marks: tuple[str, ...], roles: tuple[str, ...]) -> list[str] | None:
    """What the template puts before, between and after turns with these contents; None where it drops one."""
    shown: Any = tuned.tokenizer.apply_chat_template(
        [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)],
        chat_template=template.of(tuned.tokenizer, tuned.kind),
        tokenize=False,
        add_generation_prompt=True,
    )
    parts, rest = [], str(shown)
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found:
            return None
        parts.append(before)
    return [*parts, rest]
