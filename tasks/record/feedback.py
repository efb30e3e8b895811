"""Feedback: what people think of an answer, as assessments of its trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import AssessmentSource

from tasks.answers.corrections import Correction
from tasks.core import settings
from tasks.core.errors import AnswerError
from tasks.core.models import Frozen
from tasks.record import ledger, traces

if TYPE_CHECKING:
    from mlflow.entities import Trace

HELPFUL, CORRECT, APPROVED = "helpful", "correct_answer", "approved"
PERSON = AssessmentSource(source_type="HUMAN", source_id="page")  # who it was is not kept
SUGGESTED = {"none": "row_missing", "which": "wrong_product"}
MOST = 1_000  # traces that are looked through


class Disliked(Frozen):
    """An answer that somebody found wrong. `cause` is what the person said, else what the answer's state suggests.

    `uid` is the row that the answer, or whoever approved a correction of it, is about.
    """

    trace: str
    at: int  # milliseconds since 1970
    question: str
    model: str
    state: str
    uid: str | None
    answer: str
    cause: str
    correct: str | None
    approved: bool = False  # `correct` may become a training example


def give(answer: str, helpful: bool, reason: str | None, correct: str | None) -> bool:
    """Assess the trace of the answer served by this name; False where there is none."""
    for trace in _found(f"tags.`{traces.ANSWER}` = '{answer}'", 1):
        told = {"reason": reason} if reason else None
        mlflow.log_feedback(trace_id=trace.info.trace_id, name=HELPFUL, value=helpful, source=PERSON, metadata=told)
        if correct:
            mlflow.log_expectation(trace_id=trace.info.trace_id, name=CORRECT, value=correct, source=PERSON)
        return True
    return False


def disliked() -> list[Disliked]:
    """The answers that people found wrong, the newest first; what somebody said last of an answer counts."""
    found = []
    for trace in _found(None, MOST):
        said = [a for a in trace.info.assessments or () if a.name == HELPFUL]
        last = max(said, key=lambda a: a.create_time_ms or 0, default=None)
        if last is None or last.feedback is None or last.feedback.value:
            continue
        right = [a.expectation for a in trace.info.assessments or () if a.name == CORRECT and a.expectation]
        root = trace.data.spans[0]
        gave, state = root.outputs or {}, trace.info.tags.get("shardtune.state", "")
        let_pass = [a for a in trace.info.assessments or () if a.name == APPROVED]
        named = (let_pass[-1].metadata or {}).get("uid") if let_pass else None
        found.append(
            Disliked(
                approved=bool(let_pass),
                trace=trace.info.trace_id,
                at=trace.info.request_time,
                question=(root.inputs or {}).get("question", ""),
                model=trace.info.tags.get("shardtune.model", ""),
                state=state,
                uid=named or (gave.get("source") or {}).get("uid"),
                answer=gave.get("text", ""),
                cause=(last.metadata or {}).get("reason") or SUGGESTED.get(state, "other"),
                correct=str(right[-1].value) if right else None,
            )
        )
    return found


def approve(trace: str, correct: str | None = None, uid: str | None = None) -> Disliked:
    """Let the right answer of a disliked one become a training example; `correct` and `uid` where nobody said them.

    AnswerError where the answer is not among the disliked ones, or its right answer or its row are not known.
    """
    one = next((one for one in disliked() if one.trace == trace), None)
    if one is None:
        raise AnswerError(f"no disliked answer {trace!r} is kept: `shardtune review` lists those that are")
    correct, uid = correct or one.correct, uid or one.uid
    if not correct:
        raise AnswerError(f"nobody said what would be right instead of {trace!r}: give it with --answer")
    if not uid:
        raise AnswerError(f"the answer {trace!r} is about no row: name the right one with --uid")
    if correct != one.correct:
        mlflow.log_expectation(trace_id=trace, name=CORRECT, value=correct, source=PERSON)
    mlflow.log_feedback(trace_id=trace, name=APPROVED, value=True, source=PERSON, metadata={"uid": uid})
    return one.model_copy(update={"correct": correct, "uid": uid, "approved": True})


def corrections() -> list[Correction]:
    """The corrections that were approved, by the name of their trace."""
    made = [one for one in disliked() if one.approved and one.correct and one.uid]
    return [
        Correction(trace=one.trace, question=one.question, uid=str(one.uid), answer=str(one.correct))
        for one in sorted(made, key=lambda one: one.trace)
    ]


def forget(trace: str) -> None:
    """Remove a question with its answer and all that was said of it. AnswerError where there is none."""
    api = ledger.client()
    place = ledger.experiment(api)
    if place is None or not api.delete_traces(place, trace_ids=[trace]):
        raise AnswerError(f"no answer {trace!r} is kept: `shardtune review` lists those that are")


def _found(condition: str | None, most: int) -> Iterator[Trace]:
    """Traces of answers, the newest first."""
    place = ledger.experiment(ledger.client())
    if place is None:
        return
    mlflow.set_tracking_uri(settings.tracking_uri())
    yield from mlflow.search_traces(
        locations=[place],
        filter_string=condition,
        max_results=most,
        order_by=["timestamp_ms DESC"],
        return_type="list",
    )
