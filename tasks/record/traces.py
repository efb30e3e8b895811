"""Traces: every reply as an MLflow trace: retrieve, prompt, generate, check, with their times and what they gave."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import mlflow
from mlflow.entities import AssessmentSource, Document, Feedback, SpanType
from mlflow.tracing.trace_manager import InMemoryTraceManager

from tasks.answers import relevance
from tasks.answers.reply import Reply, ReplyStep
from tasks.core import settings
from tasks.record import ledger

# It says in a person's terminal that it writes; that it could not is a warning.
logging.getLogger("mlflow.tracing.export.async_export_queue").setLevel(logging.WARNING)

KINDS = {
    "retrieve": SpanType.RETRIEVER,
    "prompt": SpanType.PARSER,
    "generate": SpanType.CHAT_MODEL,
    "check": SpanType.EVALUATOR,
}


CHECK = AssessmentSource(source_type="CODE", source_id="shardtune check")
ANSWER = "shardtune.answer"  # tag: the name of an answer that was served


def write(replies: Sequence[Reply], run_id: str | None = None, answers: Sequence[str] = ()) -> None:
    """One trace a reply, under the run of the model that gave it; `answers` are the names they were served by."""
    api = ledger.client()
    place = ledger.experiment(api) or ledger.made(api)
    mlflow.set_tracking_uri(settings.tracking_uri())
    for number, reply in enumerate(replies):
        named = {ANSWER: answers[number]} if answers else {}
        _trace(reply, place, {"mlflow.sourceRun": run_id} if run_id else {}, named)
    mlflow.flush_trace_async_logging()


def _trace(reply: Reply, place: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
    root = mlflow.start_span_no_context(
        "ask",
        SpanType.CHAIN,
        inputs={"question": reply.question},
        tags={"shardtune.state": reply.state, "shardtune.model": reply.model, "shardtune.style": reply.style, **tags},
        metadata=metadata,
        experiment_id=place,
        start_time_ns=reply.steps[0].start,
    )
    for step in reply.steps:
        given, gave, told = _told(step, reply)
        span = mlflow.start_span_no_context(
            step.name, KINDS[step.name], root, inputs=given, attributes=told, start_time_ns=step.start
        )
        span.end(outputs=gave, end_time_ns=step.end)
    _assess(root.trace_id, reply)
    result = reply.model_dump(
        mode="json", include={"state", "text", "source", "quotes", "which", "problems"}, exclude_defaults=True
    )
    root.end(outputs=result, end_time_ns=reply.steps[-1].end)


def _assess(trace_id: str, reply: Reply) -> None:
    """Say of a trace what the check thinks of the answer, in the words that comparisons count by.

    Put into the trace before it is written: `mlflow.log_feedback` would write three times more to the database.
    """
    said: dict[str, bool] = {"answered": reply.state == "answered", "declined": reply.state == "none"}
    if reply.state in ("answered", "quoted"):
        said["to_the_point"] = relevance.relevant(
            reply.question, " ".join([reply.text, *(q.text for q in reply.quotes)])
        )
    why = "; ".join(reply.problems) or None
    with InMemoryTraceManager.get_instance().get_trace(trace_id) as trace:
        if trace is not None:
            trace.info.assessments += [
                Feedback(name=name, value=value, source=CHECK, trace_id=trace_id, rationale=why)
                for name, value in said.items()
            ]


def _told(step: ReplyStep, reply: Reply) -> tuple[Any, Any, dict[str, Any]]:
    """What a step was given, what it gave, and what else is known of it."""
    turns = [m.model_dump() for m in reply.messages]
    if step.name == "retrieve":
        rows = [
            Document(f"{s.title}\n{s.quote}", {"doc_uri": s.url, "line": s.line, "shard": s.shard}, s.uid)
            for s in reply.near
        ]
        return {"question": reply.question}, rows, {}
    if step.name == "prompt":
        return {"style": reply.style, "rows": [s.uid for s in reply.near]}, turns, {"hash": reply.prompt_hash}
    if step.name == "generate":
        total = reply.prompt_tokens + reply.answer_tokens
        used = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.answer_tokens, "total_tokens": total}
        drawn = reply.decoding.model_dump() if reply.decoding else {}
        told = {"mlflow.chat.tokenUsage": used, "model_version": reply.model_version, "decoding": drawn}
        return {"messages": turns}, reply.said, told
    return {"answer": reply.said}, {"state": reply.state, "problems": list(reply.problems)}, {}
