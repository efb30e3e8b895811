"""Ollama's template shows what the chat template shows, turn for turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.portable import modelfile, template
from tasks.portable.weights import Tuned
from tests.kit import go
from tests.kit import models as kit

SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FOLDING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
TURNS = [("system", "Say {{ nothing }}."), ("user", "What?"), ("assistant", "A drum."), ("user", "How\nheavy?")]


def tuned(own: str | None) -> Tuned:
    tokenizer = kit.tokenizer(chat=False, pad_is_end=False)
    tokenizer.chat_template = own
    return Tuned("base", Path("adapter"), kit.tune("base"), "chat" if own else "alpaca", tokenizer)


@pytest.mark.parametrize("own", [kit.CHAT, SMOL, FOLDING], ids=["plain", "with a system message of its own", "folding"])
@pytest.mark.parametrize("turns", [TURNS, TURNS[1:], TURNS[:2], TURNS[1:2]], ids=len)
def test_a_conversation_is_shown_as_the_chat_template_shows_it(own, turns):
    model = tuned(own)
    talk = [{"role": role, "content": text} for role, text in turns]
    wanted = model.tokenizer.apply_chat_template(
        talk, chat_template=template.of(model.tokenizer, "chat"), tokenize=False, add_generation_prompt=True
    )
    messages = [{"Role": role, "Content": text} for role, text in turns]
    assert go.rendered(modelfile.go(model), {"Messages": messages}) == wanted


@pytest.mark.parametrize("system", ["", "Be short."])
def test_a_question_is_shown_as_alpaca_shows_it(system):
    model = tuned(None)
    talk = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": "What?"}]
    wanted = model.tokenizer.apply_chat_template(
        talk, chat_template=template.of(model.tokenizer, "alpaca"), tokenize=False, add_generation_prompt=True
    )
    shown = go.rendered(modelfile.go(model), {"System": system, "Prompt": "What?", "Response": ""})
    assert shown == wanted


def test_the_file_says_what_is_asked_and_where_an_answer_stops():
    text = modelfile.text("model-f16.gguf", tuned(SMOL), "sales", [1], "apache-2.0")
    assert text.startswith('FROM ./model-f16.gguf\nTEMPLATE """{{ range')
    assert 'SYSTEM """Act as sales representative"""' in text and 'PARAMETER stop "</s>"' in text
