"""What a server records: traces written together, and what people think of them right behind."""

from __future__ import annotations

import time

from flows.serve import Traces
from tasks.answers.reply import Reply, ReplyStep
from tasks.record import feedback
from tasks.serving.protocol import Feedback

NAMES = [f"chatcmpl-{n:032x}" for n in range(5)]


def test_an_opinion_finds_the_trace_that_was_asked_for_just_before_it():
    kept = Traces()
    lost = []
    kept.lost = lambda: lost.append(1)
    now = time.time_ns()
    steps = (ReplyStep(name="retrieve", start=now, end=now),)
    for n, name in enumerate(NAMES):
        reply = Reply(question=f"q{n}", state="none", text="t", style="grounded", model="m", steps=steps)
        kept.answered(name, reply, None)
    assert kept.judged(Feedback(id=NAMES[3], helpful=False, reason="poor_wording"))
    kept.waiting.join()
    assert [(one.question, one.cause) for one in feedback.disliked()] == [("q3", "poor_wording")]
    later = Traces()  # after a restart it is found by its tag
    assert later.judged(Feedback(id=NAMES[4], helpful=False)) and lost == []
    assert not later.judged(Feedback(id=f"chatcmpl-{'f' * 32}", helpful=True))
