"""Prefect policy for what comes before money is spent: lint, account, quote, budget. Nothing is uploaded here."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from pydantic_core import to_jsonable_python

from tasks.backends import get_backend
from tasks.backends.contract import Link, Quote
from tasks.core import plain, store
from tasks.core.errors import BackendError
from tasks.core.models import Checked, Export, Finding, Finetuned, Prepared
from tasks.core.quotes import Priced, Quoted
from tasks.evaluation import exams
from tasks.evaluation.exams import Exam
from tasks.examples import lint, overlap
from tasks.examples.overlap import KeptApart
from tasks.orchestrator import results
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import OpenAITune, Tune

log = logging.getLogger(__name__)

VERSION = 2  # of the rules: bump it, and no cached finding is served again
TOLD = 10  # findings named in an error


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    values = to_jsonable_python(parameters)
    return store.digest_of([context.task.name, results.LAYOUT, VERSION, values])


CACHED: dict[str, Any] = {"cache_key_fn": _key, **results.KEPT}
lint_export = task(name="lint", **CACHED)(lint.of_export)
find_overlap = task(name="overlap", **CACHED)(overlap.between)


def counted(exports: Sequence[Export], tune: Tune, fix: bool) -> tuple[Export, ...]:
    """The exports with their tokens counted as the provider of `tune` counts; with `fix`, without bad examples."""
    found = []
    for export in exports:
        linted = lint_export(export, tune.base_model, fix)
        if _gone([linted.export]):
            linted = lint_export.with_options(refresh_cache=True)(export, tune.base_model, fix)
        found.append(linted.export)
    return tuple(found)


def _gone(exports: Sequence[Export]) -> bool:
    """Whether a file that a cached result names is no longer there as it was."""
    files = [file for e in exports for file in ((e.uri, e.digest), (e.rows_uri, e.rows_digest))]
    return not all(store.same(uri, digest) if digest else store.exists(uri) for uri, digest in files)


def apart(shards: Collection[int], recipe: Recipe, prepared: Prepared) -> KeptApart:
    """The training exports of these shards beside the whole holdout: what is nearly the same, by recipe left out."""
    train, held = (
        tuple(e for e in prepared.exports if e.split == split and e.examples) for split in ("train", "holdout")
    )
    asked = (tuple(e for e in train if e.shard in shards), held, prepared.shards)
    wanted = (recipe.apart.threshold, recipe.apart.then == "drop")
    made = find_overlap(*asked, *wanted)
    if _gone(made.train):
        made = find_overlap.with_options(refresh_cache=True)(*asked, *wanted)
    return made


def findings(link: Link, recipe: Recipe) -> list[Finding]:
    """All that speaks against the link: its exports line by line, their overlap, then its account and base model."""
    found: list[Finding] = []
    for export in (*link.train, *link.holdout):
        found += lint_export(export, link.tune.base_model, False).findings
    found += lint.of_link(link.train, link.holdout, link.heldout_rows)
    return [*found, *get_backend(link.tune).check(link)]


@task(name="check", cache_policy=NO_CACHE)
def passes(link: Link, recipe: Recipe, questions: Exam) -> None:
    """Stop before the start where something speaks against it, also questions that would be asked by other prompts than
    the exports hold; warn of the rest."""
    exams.same_prompts(questions, link.tune)
    found = findings(link, recipe)
    errors = [_told(f) for f in found if f.level == "error"]
    warnings = [f for f in found if f.level == "warning"]
    for rule, many in Counter(f.rule for f in warnings).items():
        first = next(f for f in warnings if f.rule == rule)
        log.warning("%s%s", _told(first), f" (and {many - 1} more of this kind)" if many > 1 else "")
    if errors:
        more = f"; and {len(errors) - TOLD} more, see `shardtune check`" if len(errors) > TOLD else ""
        raise BackendError("; ".join(errors[:TOLD]) + more)


def _told(finding: Finding) -> str:
    return (f"line {finding.line}: " if finding.line else "") + finding.message


@task(name="quote", cache_policy=NO_CACHE)
def quote(link: Link, recipe: Recipe) -> Quote:
    """What the link will cost, the answers to its questions included."""
    told = get_backend(link.tune).quote(link)
    log.info("%s examples, %s tokens, %s (%s)", told.examples, told.tokens or "unknown", _usd(told), told.basis)
    return told


def affordable(link: Link, cost: Quote, recipe: Recipe, spent: float) -> None:
    """Stop before the first byte is uploaded where the link may pass the budget, or nobody knows whether it does."""
    if recipe.budget_usd is None:
        return
    shards = ", ".join(str(e.shard) for e in link.train)
    if cost.usd_high is None:
        raise BackendError(
            f"the price of the link on shards {shards} is unknown ({cost.basis}), and budget_usd = "
            f"{recipe.budget_usd!r} is a promise: take the budget out, or choose a model whose price is known"
        )
    if math.isinf(spent):
        raise BackendError(
            f"the cost of an earlier link is unknown, so budget_usd = {recipe.budget_usd!r} cannot be promised for the "
            f"link on shards {shards}: take the budget out"
        )
    if spent + cost.usd_high > recipe.budget_usd:
        raise BackendError(
            f"the link on shards {shards} may cost ${cost.usd_high:.2f} and ${spent:.2f} are spent: more than "
            f"budget_usd = {recipe.budget_usd!r}; nothing was uploaded; raise the budget, or take fewer rows or epochs"
        )


def usd(result: Finetuned) -> float:
    """What a link has cost, as far as anybody knows."""
    known = result.cost.get("usd")
    return float(known) if isinstance(known, int | float) else 0.0


def spent(result: Finetuned) -> float:
    """What a budget must be charged for a link: its cost; infinity where nobody knows it."""
    known = result.cost.get("usd")
    return float(known) if isinstance(known, int | float) else math.inf


def _usd(priced: Quote | Priced | Quoted) -> str:
    low, high = priced.usd_low, priced.usd_high
    if high is None:
        return "price unknown" if low is None else f"${low:.2f} or more"
    return f"${high:.2f}" if low is None or f"{low:.2f}" == f"{high:.2f}" else f"${low:.2f} to ${high:.2f}"


def summed(found: Sequence[Sequence[Finding]], chain: Sequence[Link]) -> Checked:
    """What was found on all links, each finding once."""
    every = list(dict.fromkeys(f for one in found for f in one))
    counts = Counter(f.rule for f in every)
    return Checked(
        links=len(chain),
        examples=sum(e.examples for link in chain for e in link.train),
        errors=sum(f.level == "error" for f in every),
        warnings=sum(f.level == "warning" for f in every),
        counts=dict(counts),
        findings=tuple(every),
    )


def of_files(files: Sequence[str], recipe: Recipe) -> Checked:
    """What the recipe's provider (OpenAI, where it has none) would say of these files, line by line.

    With `export.fix` the lines without errors are written to a file beside each of them.
    """
    tune = recipe.tune or OpenAITune(base_model="gpt-4o-mini-2024-07-18")
    found = [lint.of_file(file, get_backend(tune).format(tune), tune.base_model) for file in files]
    made = []
    if recipe.export.fix:
        pairs = zip(files, (findings for findings, _ in found), strict=True)
        made = [lint.fixed(file, mine) for file, mine in pairs if any(f.level == "error" and f.line for f in mine)]
    more = {"examples": sum(lines for _, lines in found), "quarantined": sum(bad for _, bad in made)}
    return summed([one for one, _ in found], ()).model_copy(update=more | {"fixed": tuple(uri for uri, _ in made)})


def priced(link: Link, cost: Quote, done: Finetuned | None) -> Priced:
    """The quote of one link as a line of the chain's."""
    fields = ("examples", "tokens", "tokens_high", "usd_low", "usd_high", "basis")
    spent = {"usd_low": usd(done), "usd_high": usd(done)} if done else {}
    told = {name: getattr(cost, name) for name in fields} | spent
    return Priced(key=link.key, shards=tuple(e.shard for e in link.train), done=done is not None, **told)


def total(links: Sequence[Priced], budget: float | None) -> Quoted:
    """The whole chain beside its budget."""
    low = [link.usd_low for link in links]
    high = [link.usd_high for link in links]
    most = None if None in high else sum(usd or 0.0 for usd in high)
    return Quoted(
        links=tuple(links),
        usd_low=None if None in low else sum(usd or 0.0 for usd in low),
        usd_high=most,
        budget_usd=budget,
        fits=None if budget is None else most is not None and most <= budget,
    )


def show_findings(checked: Checked) -> None:
    """A table of findings, in the Prefect UI."""
    lines = [f"{checked.errors} errors, {checked.warnings} warnings in {checked.examples:,} examples.", ""]
    lines += ["| level | line | uid | rule | what |", "|---|---|---|---|---|"]
    for f in checked.findings[:200]:
        cells = (f.level, f.line or "", f.uid or "", f.rule, f.message)
        lines.append(f"| {' | '.join(map(plain.markdown, cells))} |")
    create_markdown_artifact("\n".join(lines), key="findings", description="what speaks against the recipe")


def show_quote(quoted: Quoted) -> None:
    """A table of the links and the sum, in the Prefect UI."""
    lines = ["| shards | examples | tokens | price | basis |", "|---|---:|---:|---:|---|"]
    for link in quoted.links:
        shards = ", ".join(map(str, link.shards))
        lines.append(f"| {shards} | {link.examples:,} | {link.tokens or 'unknown'} | {_usd(link)} | {link.basis} |")
    lines += ["", f"In all {_usd(quoted)}; budget: {quoted.budget_usd}."]
    create_markdown_artifact("\n".join(lines), key="quote", description="what the recipe will cost")


def show_rehearsal(results: Sequence[Finetuned]) -> None:
    """A table of what was rehearsed, in the Prefect UI."""
    lines = ["**Simulated: no provider was asked, no number here is real.**", ""]
    lines += ["| model | state | steps | quoted tokens | billed tokens |", "|---|---|---:|---:|---:|"]
    for r in results:
        lines.append(f"| {r.model} | {r.state} | {r.steps} | {r.cost.get('tokens')} | {r.cost.get('billed_tokens')} |")
    create_markdown_artifact("\n".join(lines), key="rehearsal", description="every recipe against simulators")
