"""Scoring: the check of answers as a scorer for `mlflow.genai.evaluate`, for answers of any model."""

from __future__ import annotations

from typing import Any

from mlflow.entities import AssessmentSource, Feedback
from mlflow.genai.scorers import Scorer, scorer

from tasks.answers.index import Index
from tasks.answers.verify import Case, verify


def holds(index: Index) -> Scorer:
    """A scorer whose inputs have `question` and, where it is known, `uid`; the output is the answer.

    Its value is whether the answer holds; its rationale names every claim that is not in the row's own words, and why.
    """

    @scorer(name="holds")
    def checked(inputs: dict[str, Any], outputs: Any) -> Feedback:
        case = Case(question=str(inputs["question"]), answer=str(outputs), uid=inputs.get("uid"))
        (found,) = verify([case], index)
        told = "; ".join(f"{c.verdict}: {c.text} ({c.reason})" for c in found.claims if c.reason)
        source = AssessmentSource("CODE", "shardtune")
        return Feedback(
            value=found.holds, rationale=told or found.state, source=source, metadata={"uid": found.uid or ""}
        )

    return checked
