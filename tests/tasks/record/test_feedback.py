"""What people think of answers: assessments of their traces, listed with a cause, and forgotten on demand."""

from __future__ import annotations

import time

import pytest

from tasks.answers.reply import Reply, ReplyStep
from tasks.core.errors import AnswerError
from tasks.record import feedback, traces

NAMES = [f"chatcmpl-{n:032x}" for n in range(4)]


def reply(question: str, state: str = "quoted") -> Reply:
    step = ReplyStep(name="retrieve", start=time.time_ns(), end=time.time_ns())
    return Reply(question=question, state=state, text=f"of {question}", style="grounded", model="m", steps=(step,))


def test_what_people_think_is_kept_listed_and_forgotten():
    states = ["quoted", "none", "answered", "which"]
    traces.write([reply(f"q{n}", state) for n, state in enumerate(states)], None, NAMES)
    assert feedback.disliked() == []
    assert feedback.give(NAMES[0], False, "false_claim", "It is red.")
    assert feedback.give(NAMES[1], False, None, None)
    assert feedback.give(NAMES[2], True, None, None)
    assert feedback.give(NAMES[3], False, None, None) and feedback.give(NAMES[3], True, None, None)  # thought better
    assert not feedback.give(f"chatcmpl-{'f' * 32}", True, None, None)
    found = {one.question: one for one in feedback.disliked()}
    assert {q: (one.cause, one.correct, one.state, one.answer) for q, one in found.items()} == {
        "q0": ("false_claim", "It is red.", "quoted", "of q0"),
        "q1": ("row_missing", None, "none", "of q1"),
    }
    feedback.forget(found["q0"].trace)
    assert [one.question for one in feedback.disliked()] == ["q1"]
    with pytest.raises(AnswerError, match="review"):
        feedback.forget(found["q0"].trace)
