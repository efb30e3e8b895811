"""Prefect policy for a link: start its job once, watch it, and write its evidence.

Nothing here that starts a job is cached or retried by Prefect: a retry could pay twice. `tasks.backends.lifecycle`
makes sure that a key has one job, however often `start` is called.
"""

from __future__ import annotations

import logging
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from filelock import Timeout
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from tasks import check, evaluate
from tasks.backends import get_backend, lifecycle
from tasks.backends.contract import ENDED, Answer, Job, JobStatus, Link, Quote
from tasks.core import progress, settings
from tasks.core.errors import BackendError, LimitError, NotServedError, TransientError
from tasks.core.models import Finetuned, Parity, Prepared
from tasks.core.redaction import redacted
from tasks.evaluation import exams
from tasks.evaluation.exams import Exam
from tasks.orchestrator import pages
from tasks.recipe.model import Recipe
from tasks.record import address, evidence, ledger

log = logging.getLogger(__name__)

PAUSE = 20.0  # seconds between two log lines while a job is watched


def exam(recipe: Recipe, link: Link, prepared: Prepared) -> Exam:
    """The fixed questions of this link."""
    wanted = recipe.evaluate
    return evaluate.draw_exam(link.train, link.holdout, prepared.shards, wanted.seen, wanted.unseen, recipe.seed)


def origin(recipe: Recipe, link: Link, prepared: Prepared) -> ledger.ExportOrigin:
    """The shards of this link and their near duplicates in the holdout, for its MLflow run."""
    mine = {e.shard for e in link.train}
    shown = prepared.model_copy(
        update={"shards": tuple(s for s in prepared.shards if s.index in mine), "exports": (*link.train, *link.holdout)}
    )
    return ledger.ExportOrigin(shown, check.apart(mine, prepared, recipe.apart).overlap)


def has_job(link: Link) -> bool:
    """Whether the ledger or the provider has a job of this link, which is then already paid for."""
    return bool(ledger.job_id(link.key)) or lifecycle.known(link.key, get_backend(link.tune)) is not None


@task(cache_policy=NO_CACHE)
def start(
    link: Link,
    recipe: Recipe,
    questions: Exam,
    cost: Quote,
    again: bool,
    wait: bool,
    origin: ledger.ExportOrigin | None = None,
) -> Job | None:
    """Find or start the one job of this link. Where the start is refused, its MLflow run ends FAILED with the reason.

    At a provider's limit this waits up to `tune.wait_hours` and tries again. Without `wait` it returns None instead,
    and a sweep starts the job when the limit is over.
    """
    kept = ledger.MlflowLedger(recipe, questions, cost, origin)
    pages.about(link)
    end = time.monotonic() + 3600 * link.tune.wait_hours
    while True:
        try:
            started = lifecycle.start(link, get_backend(link.tune), kept, again)
        except LimitError as limit:
            if ledger.run_of(link.key):
                evidence.wait(ledger.run_id(link.key), limit.until, str(limit))
            log.warning("%s", limit)
            if not wait:
                return None
            if time.monotonic() > end:
                raise
            time.sleep(max(1.0, (datetime.fromisoformat(limit.until) - datetime.now(UTC)).total_seconds()))
            continue
        except Exception as error:
            # After a timeout or a lost answer the job may exist. Its run stays open, so that a later start or sweep
            # finds the job; a FAILED run would invite a second, paid one.
            clear = not isinstance(error, TransientError) and not getattr(error, "unclear", False)
            if clear and ledger.run_of(link.key) and not ledger.job_id(link.key):
                evidence.fail(ledger.run_id(link.key), "failed", str(error))
            raise
        what = "found and adopted" if started.adopted else "started"
        log.info(
            "job %s of %s %s; seen in %s", started.job.id[:12], link.title, what, _run_page(ledger.run_id(link.key))
        )
        pages.started(started.job)
        return started.job


def busy(key: str) -> bool:
    """Whether another process, here or on another machine, is starting or concluding the job of `key` now."""
    try:
        with lifecycle.locked(key, wait=False):
            return ledger.taken(key)
    except Timeout:
        return True


def find_job(link: Link, job: Job | None) -> Job | None:
    """The recorded job. If a process died between start and record, ask the backend for the job of this key."""
    if job is not None:
        return job
    with lifecycle.locked(link.key):
        job = ledger.MlflowLedger.job(link.key) or lifecycle.known(link.key, get_backend(link.tune))
        if job is not None:
            ledger.MlflowLedger.record(job)
        return job


def pending(link: Link, job: Job | None, cost: Quote, by: str) -> Finetuned:
    """Partial result for a link left running (--no-wait); `by` is the flow that the sweep resumes."""
    ledger.leave(link.key, by)
    pages.outcome("left to the sweep")
    return Finetuned(
        key=link.key,
        state="waiting" if job is None else "running",
        job=job.id if job else "",
        mlflow_run_id=ledger.run_id(link.key),
        model=None,
        heldout_loss={},
        scores={},
        cost=_cost(cost, None),
        steps=0,
        trained=True,
        answers=(),
    )


@task(cache_policy=NO_CACHE)
def watch(job: Job, link: Link) -> JobStatus:
    """Poll the job until it ends. Steps and losses go to MLflow and to the progress artifact as they come."""
    shown = create_progress_artifact(0.0, key="finetune-progress", description=f"steps of {link.name}")
    bar = UUID(str(shown))
    status = lifecycle.watch(
        job,
        link,
        get_backend(link.tune),
        _recorder(job.key, bar),
        deadline=3600 * link.tune.wait_hours,
        on_look=Diary(job, link),
    )
    update_progress_artifact(bar, 100.0)
    return status


class Diary:
    """Log lines for a person who watches the flow run: state, step, loss, time left, and where to look.

    It writes one at the first and the last poll, and one every `PAUSE` seconds between, even if nothing changed.
    """

    def __init__(self, job: Job, link: Link) -> None:
        self.about = f"shard{'s' * (' ' in link.shards)} {link.shards}"
        where = job.url if job.url and job.url.startswith("http") else socket.gethostname()
        self.place = f"{link.backend}, {where}"
        self.run = _run_page(ledger.run_id(job.key))
        self.due, self.first = 0.0, (0.0, 0)

    def __call__(self, status: JobStatus) -> None:
        now = time.monotonic()
        if now < self.due and status.state not in ENDED:
            return
        if not self.first[1] and status.step:
            self.first = (now, status.step)
        self.due = now + PAUSE
        parts = [f"{self.about}: {status.state}"]
        parts += [status.detail] if status.detail not in ("", status.state) else []
        parts += [f"step {status.step} of {status.steps}" if status.steps else f"step {status.step}"] * bool(
            status.step
        )
        parts += [f"loss {status.points[-1].loss:.3f}"] if status.points else []
        left = self._left(status, now)
        parts += [f"about {timedelta(seconds=round(left))} left"] if left else []
        log.info("%s", ", ".join([*parts, f"at {self.place}, {self.run}"]))

    def _left(self, status: JobStatus, now: float) -> float | None:
        """Seconds until the last step: the trainer's estimate, or one from the speed so far."""
        if (eta := status.facts.get("eta_seconds")) is not None or not status.steps:
            return eta
        began, first = self.first
        return (now - began) / (status.step - first) * (status.steps - status.step) if status.step > first > 0 else None


def _run_page(run_id: str) -> str:
    """The page of the run, or its id where MLflow is a file without a server."""
    return address.page(run_id) or f"MLflow run {run_id}"


def _recorder(key: str, bar: UUID) -> Callable[[JobStatus], None]:
    """A callback that records each new status in MLflow, in the progress artifact and for the terminal's bar."""
    run_id = ledger.run_id(key)

    def record(status: JobStatus) -> None:
        evidence.progress(run_id, status)
        if status.steps:
            update_progress_artifact(bar, 100.0 * status.step / status.steps)
            progress.report("fine-tune", status.step, status.steps, _detail(status))

    return record


def _detail(status: JobStatus) -> str:
    loss = f"loss {status.points[-1].loss:.3f}" if status.points else status.detail
    left = status.facts.get("eta_seconds")
    return f"step {status.step}/{status.steps} {loss}" + (f", {left:.0f} s left" if left else "")


def conclude(link: Link, recipe: Recipe, questions: Exam, status: JobStatus, cost: Quote) -> Finetuned:
    """Write the evidence of an ended job to its MLflow run, once per key; a later caller gets the recorded result.

    Raises BackendError where the job did not succeed, and any error of the evidence itself. The run is FAILED with the
    reason by then, except after a TransientError: then it stays open, and the next start or sweep tries again.
    """
    with lifecycle.locked(link.key):
        if (done := ledger.finished(link.key)) is not None:
            return done
        run_id = ledger.run_id(link.key)
        if status.state != "succeeded" or status.model is None:
            reason = status.error or status.detail or "no reason given"
            evidence.fail(run_id, status.state, reason, lost(status, cost))
            raise BackendError(f"job of {link.name!r} ended as {status.state}: {reason}")
        try:
            result = _proved(run_id, link, recipe, questions, status, cost)
            if before := ledger.spent(link.key):
                result = result.model_copy(update={"cost": _with(result.cost, before)})
            result = result.model_copy(update={"parity": _parity(run_id, link, result.model)})
            evidence.finish(run_id, link, status, cost, result)
        except Exception as error:
            if not isinstance(error, TransientError):
                evidence.fail(run_id, "failed", f"the job succeeded, its evidence did not: {error}")
            raise
        return result


def lost(status: JobStatus, cost: Quote) -> float:
    """US dollars that a job without a result may have cost: its bill, else the upper end of its quote.

    0 only where the provider proves it: it billed no token, or its events of the failed job show no training step.
    """
    billed = status.facts.get("billed_usd")
    if billed is not None:
        return float(billed)
    unbilled = status.state == "failed" and status.detail != "vanished" and bool(status.events)
    if status.billed_tokens == 0 or (unbilled and not status.step):
        return 0.0
    return max(0.0, cost.usd_high - cost.answers_usd) if cost.usd_high else 0.0


def _with(cost: dict[str, int | float | str | None], before: float) -> dict[str, int | float | str | None]:
    """The cost of a link, including its failed and cancelled jobs."""
    usd = cost["usd"]
    return cost | {"usd": usd + before if isinstance(usd, int | float) else None, "usd_before": before}


def _parity(run_id: str, link: Link, model: str | None) -> Parity | None:
    """Compare the adapter downloaded from MLflow with the model in training; logs a warning where they differ."""
    kept = evidence.keep(run_id, link, model)
    with tempfile.TemporaryDirectory(prefix="shardtune-") as folder:
        adapter = evidence.fetched(kept, folder) if kept else None
        parity = get_backend(link.tune).parity(link, adapter) if adapter else None
    if parity and not parity.holds:
        log.warning("%s", parity.summary)
    return parity


def _proved(run_id: str, link: Link, recipe: Recipe, questions: Exam, status: JobStatus, cost: Quote) -> Finetuned:
    """Ask the base (or parent) model and the tuned model the same questions, and score the answers."""
    arms: dict[str, Sequence[Answer]] = {}
    if link.parent_key and not link.parent_model:
        raise BackendError(f"the link before ({link.parent_key[:8]}) names no model to ask: run the same command again")
    before = (link.parent_model, link.parent_digest) if link.parent_key else (None, link.base_digest)
    for name, (model, digest) in (("before", before), ("after", (status.model, status.model_digest))):
        progress.report("answers", len(arms), 4, name)
        drawn = evaluate.decodings(recipe.evaluate, recipe.seed)
        try:
            answers = evaluate.ask(link.endpoint, model, digest, link.tune, questions, drawn)
        except NotServedError as error:
            if name == "after" or model is not None:
                raise
            log.warning("no answers from before training: %s", error)
            continue
        arms |= dict(zip((name, f"{name}_t0"), answers, strict=True))
    progress.report("answers", 4, 4)
    rows = exams.table(questions, arms)
    return Finetuned(
        key=link.key,
        state=status.state,
        job=ledger.job_id(link.key),
        mlflow_run_id=run_id,
        model=status.model,
        heldout_loss={"before": status.heldout_before, "after": status.heldout_after},
        scores=exams.scores(rows, arms),
        cost=_cost(cost, status),
        steps=status.step,
        trained=True,
        answers=rows,
        decodings={name: _drawn(answers) for name, answers in arms.items()},
        model_digest=status.model_digest,
        continue_from=status.continue_from,
        simulated=status.facts.get("simulator"),
        notes=_notes(link, status),
    )


def _notes(link: Link, status: JobStatus) -> tuple[str, ...]:
    """A sentence about training examples that were longer than `tune.max_length`; none where there were none."""
    many, limit = status.facts.get("truncated"), getattr(link.tune, "max_length", None)
    if not many or limit is None:
        return ()
    then = {"drop": "left out", "cut": "cut, their end kept", "split": "split at the ends of sentences"}
    outcome = then.get(link.too_long or "", "cut, and lost their end")
    return (f"{many} training examples are longer than {limit} tokens (tune.max_length) and were {outcome}",)


def _drawn(answers: Sequence[Answer]) -> dict[str, Any]:
    """Decoding and model versions of one arm's answers. A provider may switch its model version between two answers."""
    versions = sorted({answer.model_version for answer in answers})
    ends = Counter(answer.finish for answer in answers if answer.finish)
    finishes = {"finish": dict(ends)} if ends else {}
    return {"model_versions": versions, **(answers[0].decoding.model_dump() if answers else {}), **finishes}


def _cost(cost: Quote, status: JobStatus | None) -> dict[str, int | float | str | None]:
    """The quote of a link and `usd`, the amount that budgets are charged; `usd_is` says what that amount is.

    It is the bill plus the quoted price of the answers, or without a bill the upper end of the quote: never too low.
    """
    facts = status.facts if status else {}
    billed, estimated = facts.get("billed_usd"), facts.get("estimated_usd")
    if billed is not None:
        usd, basis = billed + cost.answers_usd, "billed, plus at most the quoted price of the answers"
    else:
        known = [] if estimated is None else [estimated + cost.answers_usd]
        known += [] if cost.usd_high is None else [cost.usd_high]
        usd, basis = max(known, default=None), "the upper end of the quote, until a bill is known"
    quoted = {"usd_low": cost.usd_low, "usd_high": cost.usd_high, "tokens": cost.tokens, "basis": cost.basis}
    return {"usd": usd, "usd_is": basis, **quoted, "billed_tokens": status.billed_tokens if status else None}


def show(result: Finetuned) -> None:
    """Show the answers and a link to the MLflow run in the Prefect UI."""
    place = address.page(result.mlflow_run_id)
    evaluate.show(result, place or f"run `{result.mlflow_run_id}` in {redacted(settings.tracking_uri())}")
    pages.recorded(result.mlflow_run_id)
    before, after = (result.heldout_loss.get(when) for when in ("before", "after"))
    loss = "done" if before is None or after is None else f"held-out loss {before:.3f} to {after:.3f}"
    pages.outcome(loss if result.trained else f"{loss}, served from its record")
