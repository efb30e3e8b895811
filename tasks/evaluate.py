"""Prefect policy for asking questions: answers of one model to the same questions are asked for once."""

from __future__ import annotations

from typing import Any

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic_core import to_jsonable_python

from tasks.answers.reply import Target
from tasks.backends.contract import Decoding
from tasks.core import plain, store
from tasks.core.models import ExamAnswers, Finetuned
from tasks.evaluation import exams
from tasks.orchestrator import results
from tasks.recipe.model import Evaluation

VERSION, LOCAL = 2, 1  # LOCAL: of what a model on this machine makes of a prompt
# What of a recipe's `tune` decides how an un-tuned base answers; the rest is about training.
PROMPTING = ("kind", "base_model", "revision", "template", "load_in_4bit", "trust_remote_code")


def _decides(values: dict[str, Any]) -> list[Any]:
    """The parameters that decide an answer: not where the model lies, and not how it was trained."""
    values["tune"] = {name: values["tune"][name] for name in PROMPTING if name in values["tune"]}
    values.pop("model")  # where it lies does not matter, its digest does
    local = [LOCAL] if values["tune"]["kind"] == "local" else []
    return [values, *local]


def asked_as(target: Target, drawn: Decoding) -> str:
    """32 hex digits of all that decides how a model answers a prompt; where its files lie does not matter."""
    held = to_jsonable_python(target.tune)
    prompting = {name: held[name] for name in PROMPTING if name in held}
    who = [target.endpoint, target.digest or target.model, prompting, drawn.model_dump(mode="json")]
    return store.digest_of([VERSION, who, LOCAL if target.tune.kind == "local" else None])


def _name() -> str:
    asked = runtime.task_run.parameters
    drawn = " and ".join(str(decoding.temperature) for decoding in asked["decodings"])
    return f"ask the {'tuned model' if asked['model'] else 'base'}, temperature {drawn}"


ask = task(name="ask", task_run_name=_name, **results.cached(results.LAYOUT, VERSION, decides=_decides))(exams.ask)
answers = task(name="answers", task_run_name=_name, cache_policy=NO_CACHE)(exams.answers)  # see respond.generate
draw_exam = task(name="draw questions")(exams.exam)


def decodings(wanted: Evaluation, seed: int) -> tuple[Decoding, Decoding]:
    """How answers are drawn: at the recipe's temperature, and at temperature 0."""
    common: dict[str, Any] = {
        "max_new_tokens": wanted.max_new_tokens,
        "repetition_penalty": wanted.repetition_penalty,
        "seed": seed,
    }
    return Decoding(temperature=wanted.temperature, **common), Decoding(temperature=0.0, **common)


def show(result: Finetuned, link: str) -> None:
    """A table of answers and a link to the MLflow run, in the Prefect UI."""
    before, after = result.heldout_loss.get("before"), result.heldout_loss.get("after")
    lines = [
        f"Held-out loss {_number(before)} → **{_number(after)}** nats per answer token.",
        "",
        f"MLflow run: {link}",
    ]
    lines += ["", "| | question | before | after | after, temperature 0 | original |", "|---|---|---|---|---|---|"]
    lines += [_row(row) for row in result.answers]
    create_markdown_artifact("\n".join(lines), key="answers", description="the same questions before and after")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _row(row: ExamAnswers) -> str:
    texts = (row.group, row.question, row.before, row.after, row.after_t0, row.content)
    return f"| {' | '.join(cell(text) for text in texts)} |"


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return plain.markdown(text[:400])
