"""What people think of answers: assessments of their traces, listed with a cause, and forgotten on demand."""

from __future__ import annotations

import time

import mlflow
import pytest

from tasks.answers.reply import Reply, ReplyStep
from tasks.core.errors import AnswerError
from tasks.record import feedback, ledger, traces

NAMES = [f"chatcmpl-{n:032x}" for n in range(4)]


def reply(question: str, state: str = "quoted") -> Reply:
    step = ReplyStep(name="retrieve", start=time.time_ns(), end=time.time_ns())
    return Reply(question=question, state=state, text=f"of {question}", style="grounded", model="m", steps=(step,))


def test_the_check_says_of_every_answer_what_comparisons_count():
    heavy = reply("How heavy is it?", "quoted").model_copy(
        update={"text": "It has handles.", "problems": ("nothing: x",)}
    )
    traces.write([heavy, reply("What is it?", "answered"), reply("Who?", "none"), reply("Which?", "which")])
    place = ledger.experiment(ledger.client())
    held = mlflow.search_traces(locations=[place], return_type="list")
    told = {
        trace.data.spans[0].inputs["question"]: {a.name: a.feedback.value for a in trace.info.assessments}
        for trace in held
    }
    assert told["How heavy is it?"] == {"answered": False, "declined": False, "to_the_point": False}
    assert told["What is it?"] == {"answered": True, "declined": False, "to_the_point": True}
    assert told["Who?"] == {"answered": False, "declined": True}
    assert told["Which?"] == {"answered": False, "declined": False}
    (why,) = {a.rationale for t in held for a in t.info.assessments if t.data.spans[0].inputs["question"][:3] == "How"}
    assert why == "nothing: x" and feedback.disliked() == []


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
    with pytest.raises(AnswerError, match="--uid"):
        feedback.approve(found["q0"].trace)
    with pytest.raises(AnswerError, match="--answer"):
        feedback.approve(found["q1"].trace)
    feedback.approve(found["q0"].trace, uid="U7")
    feedback.approve(found["q1"].trace, "It is blue.", "U8")
    taught = {one.question: (one.uid, one.answer) for one in feedback.corrections()}
    assert taught == {"q0": ("U7", "It is red."), "q1": ("U8", "It is blue.")}
    feedback.forget(found["q0"].trace)
    assert [one.question for one in feedback.corrections()] == ["q1"]
    assert [one.question for one in feedback.disliked()] == ["q1"]
    with pytest.raises(AnswerError, match="review"):
        feedback.forget(found["q0"].trace)
