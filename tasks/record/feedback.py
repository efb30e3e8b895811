"""Feedback: what people think of an answer, as assessments of its trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import AssessmentSource

from tasks.core import settings
from tasks.core.errors import AnswerError
from tasks.core.models import Frozen
from tasks.record import ledger, traces

if TYPE_CHECKING:
    from mlflow.entities import Trace

HELPFUL, CORRECT = "helpful", "correct_answer"
PERSON = AssessmentSource(source_type="HUMAN", source_id="page")  # who it was is not kept
SUGGESTED = {"none": "row_missing", "which": "wrong_product"}
MOST = 1_000  # traces that are looked through


class Disliked(Frozen):
    """An answer that somebody found wrong. `cause` is what the person said, else what the answer's state suggests."""

    trace: str
    at: int  # milliseconds since 1970
    question: str
    model: str
    state: str
    uid: str | None
    answer: str
    cause: str
    correct: str | None


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
        found.append(
            Disliked(
                trace=trace.info.trace_id,
                at=trace.info.request_time,
                question=(root.inputs or {}).get("question", ""),
                model=trace.info.tags.get("shardtune.model", ""),
                state=state,
                uid=(gave.get("source") or {}).get("uid"),
                answer=gave.get("text", ""),
                cause=(last.metadata or {}).get("reason") or SUGGESTED.get(state, "other"),
                correct=str(right[-1].value) if right else None,
            )
        )
    return found


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
