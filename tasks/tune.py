"""Prefect policy for a link: made, checked, quoted, started once, watched, and concluded with its evidence.

Nothing that starts a job is cached or retried here: `tasks.backends.lifecycle` sees to it that there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from prefect import task
from prefect.artifacts import create_link_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from tasks import evaluate, progress, settings
from tasks.answers import asking
from tasks.answers.asking import Exam
from tasks.backends import get_backend, lifecycle
from tasks.backends.contract import Answer, Job, Link, Quote, Status
from tasks.errors import BackendError, RecipeError
from tasks.examples.templates import Rendering
from tasks.models import Finetuned, Prepared
from tasks.recipe import LocalTune, Recipe
from tasks.record import evidence, ledger

log = logging.getLogger(__name__)


def of(recipe: Recipe) -> LocalTune:
    """The recipe's tuning; RecipeError where it has none."""
    if recipe.tune is None:
        raise RecipeError(f"recipe {recipe.name!r} has no 'tune': name a base model in tune.base_model")
    return recipe.tune


@task(name="open base model", cache_policy=NO_CACHE)
def rendering(recipe: Recipe) -> Rendering | None:
    """How this base model is prompted."""
    return get_backend(of(recipe).kind).rendering(of(recipe))


def exporting(recipe: Recipe) -> Recipe:
    """The recipe, its exports made in the format that its backend reads."""
    wanted = get_backend(of(recipe).kind).format(of(recipe))
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"formats": (wanted,)})})


def link(recipe: Recipe, prepared: Prepared) -> Link:
    """The link that this recipe asks for, on what was prepared."""
    tune = of(recipe)
    wanted = {s.index for s in prepared.shards} if recipe.shards is None else set(recipe.shards)
    missing = wanted - {s.index for s in prepared.shards}
    if missing:
        raise RecipeError(
            f"shards = {sorted(missing)!r} are not there: the catalogue has {len(prepared.shards)} shards"
        )
    mine = [e for e in prepared.exports if e.shard in wanted and e.examples]
    train = tuple(e for e in mine if e.split == "train")
    holdout = tuple(e for e in mine if e.split == "holdout")
    if not train or not holdout:
        raise RecipeError(
            f"split.holdout_share = {recipe.split.holdout_share!r} leaves {sum(e.examples for e in train)} training "
            f"and {sum(e.examples for e in holdout)} holdout examples: both are needed"
        )
    return Link(
        name=recipe.name,
        backend=tune.kind,
        base_model=tune.base_model,
        base_digest=get_backend(tune.kind).base_digest(tune),
        train=train,
        holdout=holdout,
        heldout_rows=recipe.evaluate.heldout_rows,
        tune=tune,
        style=recipe.export.style,
        seed=recipe.seed,
    )


@task(cache_policy=NO_CACHE)
def check(link: Link) -> None:
    """Stop before the start where something speaks against it; warn of the rest."""
    findings = get_backend(link.backend).check(link)
    for finding in findings:
        log.warning("%s: %s", finding.rule, finding.message)
    errors = [f.message for f in findings if f.level == "error"]
    if errors:
        raise BackendError("; ".join(errors))


@task(cache_policy=NO_CACHE)
def quote(link: Link) -> Quote:
    """What the link will cost."""
    told = get_backend(link.backend).quote(link)
    usd = "unknown" if told.usd_high is None else f"${told.usd_high:.2f}"
    log.info("%s examples, %s tokens, %s (%s)", told.examples, told.tokens or "unknown", usd, told.basis)
    return told


def exam(recipe: Recipe, link: Link, prepared: Prepared) -> Exam:
    """The fixed questions of this link."""
    wanted = recipe.evaluate
    return evaluate.draw_exam(link.train, link.holdout, prepared.shards, wanted.seen, wanted.unseen, recipe.seed)


@task(cache_policy=NO_CACHE)
def start(link: Link, recipe: Recipe, questions: Exam, again: bool) -> Job:
    """The one job of this link, found or started. Where none came about, the run ends FAILED with the reason."""
    try:
        kept = ledger.MlflowLedger(recipe, questions)
        started = lifecycle.start(link, get_backend(link.backend), kept, again)
    except Exception as error:
        if not ledger.job_id(link.key):
            evidence.fail(ledger.run_id(link.key), "failed", str(error))
        raise
    log.info("job %s %s", started.job.id[:12], "found and taken up" if started.adopted else "started")
    return started.job


def found(link: Link, job: Job | None) -> Job | None:
    """The recorded job, or the one the backend has under this key where a death came between start and record."""
    if job is not None:
        return job
    with lifecycle.locked(link.key):
        job = ledger.MlflowLedger.job(link.key) or get_backend(link.backend).find(link.key)
        if job is not None:
            ledger.MlflowLedger.record(job)
        return job


@task(cache_policy=NO_CACHE)
def watch(job: Job, link: Link) -> Status:
    """Look at the job until it ends; steps and losses go to MLflow and to the progress artifact as they come."""
    shown = create_progress_artifact(0.0, key="finetune-progress", description=f"steps of {link.name}")
    status = lifecycle.watch(job, link, get_backend(link.backend), _telling(job.key, shown))
    update_progress_artifact(_id(shown), 100.0)
    return status


def _telling(key: str, shown: object) -> Callable[[Status], None]:
    """What is told of every change, and to whom."""
    run_id = ledger.run_id(key)

    def told(status: Status) -> None:
        evidence.progress(run_id, status)
        if status.steps:
            update_progress_artifact(_id(shown), 100.0 * status.step / status.steps)
            progress.report("fine-tune", status.step, status.steps, _detail(status))

    return told


def _id(shown: object) -> UUID:
    return shown if isinstance(shown, UUID) else UUID(str(shown))


def _detail(status: Status) -> str:
    loss = f"loss {status.points[-1].loss:.3f}" if status.points else status.detail
    left = status.facts.get("eta_seconds")
    return f"step {status.step}/{status.steps} {loss}" + (f", {left:.0f} s left" if left else "")


def conclude(link: Link, recipe: Recipe, questions: Exam, status: Status, cost: Quote) -> Finetuned:
    """What an ended job proves, put into its MLflow run once, whoever comes first.

    Raises BackendError where the job did not succeed, and whatever stood in the way of the evidence; the run has ended
    with the reason by then.
    """
    with lifecycle.locked(link.key):
        done = ledger.finished(link.key)
        if done is not None:
            return done
        run_id = ledger.run_id(link.key)
        if status.state != "succeeded":
            reason = status.error or status.detail or "no reason given"
            evidence.fail(run_id, status.state, reason)
            raise BackendError(f"job of {link.name!r} ended {status.state}: {reason}")
        try:
            result = _proved(run_id, link, recipe, questions, status, cost)
            evidence.finish(run_id, link, status, cost, result)
        except Exception as error:
            evidence.fail(run_id, "failed", f"the job succeeded, its evidence did not: {error}")
            raise
        return result


def _proved(run_id: str, link: Link, recipe: Recipe, questions: Exam, status: Status, cost: Quote) -> Finetuned:
    """The same questions to the base and to the tuned model, and what the answers are worth."""
    arms: dict[str, Sequence[Answer]] = {}
    for name, model, digest in (("before", None, link.base_digest), ("after", status.model, status.model_digest)):
        for suffix, decoding in zip(("", "_t0"), evaluate.decodings(recipe.evaluate, recipe.seed), strict=True):
            progress.report("answers", len(arms), 4, f"{name}, temperature {decoding.temperature}")
            arms[name + suffix] = evaluate.ask(link.backend, model, digest, link.tune, questions, decoding)
    progress.report("answers", 4, 4)
    rows = asking.table(questions, arms)
    return Finetuned(
        key=link.key,
        state=status.state,
        job=ledger.job_id(link.key),
        mlflow_run_id=run_id,
        model=status.model,
        heldout_loss={"before": status.heldout_before, "after": status.heldout_after},
        scores=asking.scores(rows),
        cost={"usd": cost.usd_high, "basis": cost.basis},
        steps=status.step,
        trained=True,
        answers=rows,
    )


def show(result: Finetuned) -> None:
    """Answers and a link to the MLflow run, in the Prefect UI."""
    address = ledger.address(result.mlflow_run_id)
    evaluate.show(result, address or f"run `{result.mlflow_run_id}` in {settings.tracking_uri()}")
    if address:
        create_link_artifact(address, key="mlflow-run", link_text="the run in MLflow", description="loss and answers")
