"""Resident: a model that stays in the process of a chat or a server, and says nothing but its answers."""

from __future__ import annotations

from transformers.utils import logging

from tasks.backends.contract import Decoding
from tasks.backends.local.resident import resident
from tasks.backends.local.sampler import Sampler
from tasks.core.models import Message
from tests.kit.models import build, tune

TALK = [Message(role="user", content="What is the Drum?")]


def test_a_resident_model_answers_as_in_a_process_of_its_own_and_says_nothing_else(tmp_path, capfd):
    path = build(tmp_path / "llama", "llama")
    logging.enable_progress_bar()
    logging.set_verbosity_warning()
    capfd.readouterr()
    answers = resident(tune(path), None)([TALK], Decoding(max_new_tokens=8))
    assert capfd.readouterr() == ("", "")
    assert [a.text for a in answers] == [
        a.text for a in Sampler(path, None, tune(path), "v1").answer([TALK], Decoding(max_new_tokens=8))
    ]
