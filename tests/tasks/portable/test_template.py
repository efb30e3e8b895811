"""The chat template that is exported renders what the model was tuned on, whatever its base's own template does."""

from __future__ import annotations

import pytest

from tasks.core.models import Message
from tasks.examples.templates import render
from tasks.portable import template
from tests.kit import models as kit

FOLDING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<think>\n{% endif %}"
)
TALK = (Message(role="system", content="Say {{ nothing }} of it."), Message(role="user", content="What's a 5\" drum?"))


@pytest.mark.parametrize("own", [None, kit.CHAT, FOLDING], ids=["alpaca", "chat", "no system, opens a thought"])
def test_it_renders_what_was_tuned_on(own):
    tokenizer = kit.tokenizer(chat=False, pad_is_end=False)
    tokenizer.chat_template = own
    kind = "chat" if own else "alpaca"
    wanted = [str(render(talk, kind, tokenizer)) for talk in (TALK, TALK[1:])]
    tokenizer.chat_template = template.of(tokenizer, kind)
    for talk, prompt in zip((TALK, TALK[1:]), wanted, strict=True):
        turns = [turn.model_dump() for turn in talk]
        assert tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == prompt
