"""Template: a chat template whose rendering is the prompt that a model was tuned on, for programs that know only Jinja.

shardtune puts more around a conversation than a base's own template may say: Alpaca where there is none, a system turn
that is put before the question, a thought that is closed.
"""

from __future__ import annotations

import json
from typing import Any

from tasks.core.errors import ExportError
from tasks.core.models import Message
from tasks.examples.templates import ALPACA_INPUT, ALPACA_PLAIN, Kind, render, shape

FOLDED = (
    "{%- if messages[0]['role'] == 'system' and messages | length > 1 -%}{%- set messages = [{'role': 'user', "
    "'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}] + messages[2:] -%}{%- endif -%}"
)


def of(tokenizer: Any, kind: Kind) -> str:
    """The chat template. ExportError where it does not render as `tasks.examples.templates.render` does."""
    made = _alpaca() if kind == "alpaca" else _own(tokenizer)
    before = tokenizer.chat_template
    for talk in _talks():
        wanted = str(render(talk, kind, tokenizer))
        try:
            tokenizer.chat_template = made
            turns = [turn.model_dump() for turn in talk]
            got = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        finally:
            tokenizer.chat_template = before
        if got != wanted:
            raise ExportError(
                f"the chat template of {tokenizer.name_or_path!r} cannot be carried over: it renders {got!r} where the "
                f"model was tuned on {wanted!r}; export it as `adapter`"
            )
    return made


def _talks() -> list[tuple[Message, ...]]:
    """What is asked of a tuned model: a question, with a system turn or without."""
    asked = Message(role="user", content='[A1] Red drum\nIt holds 5 "long" screws.\n\nWhat\'s the {{ red }} drum?')
    return [(asked,), (Message(role="system", content="Answer from the rows."), asked)]


def _own(tokenizer: Any) -> str:
    found, template = shape("chat", tokenizer), str(tokenizer.chat_template)
    if not found.system:
        template = f"{FOLDED}{template}"
    if found.closes:
        template += "{%- if add_generation_prompt %}{{ " + json.dumps(found.closes) + " }}{% endif %}"
    return template


def _alpaca() -> str:
    def filled(pattern: str, **named: str) -> str:
        """An expression of Jinja: the pattern with what stands for its names."""
        for name in named:
            pattern = pattern.replace(f"{{{name}}}", f"\0{name}\0")
        parts = [named.get(part) or json.dumps(part, ensure_ascii=False) for part in pattern.split("\0") if part]
        return f"{{{{ {' + '.join(parts)} }}}}"

    asked, system = "messages[-1]['content']", "messages[0]['content']"
    first = filled(ALPACA_INPUT, instruction=system, input=asked)
    return (
        "{%- if messages[0]['role'] == 'system' -%}" + first + "{%- else -%}"
        f"{filled(ALPACA_PLAIN, instruction=asked)}{{%- endif -%}}"
    )
