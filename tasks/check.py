"""Prefect policy for the checks before money is spent: lint, account, quote, budget. Uploads nothing."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Sequence

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

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
from tasks.recipe.model import Apart
from tasks.recipe.tuning import OpenAITune, Tune

log = logging.getLogger(__name__)

VERSION = 2  # of the lint rules; raise it to invalidate cached findings
NAMED = 10  # findings named in an error


CACHED = results.cached(results.LAYOUT, VERSION)
lint_export = task(name="lint", **CACHED)(lint.of_export)
find_overlap = task(name="overlap", **CACHED)(overlap.between)


def counted(exports: Sequence[Export], tune: Tune, fix: bool) -> tuple[Export, ...]:
    """The exports with tokens counted by the tokenizer of `tune`'s provider; `fix` leaves out bad examples."""
    counted_exports = []
    for export in exports:
        linted = lint_export(export, tune.base_model, fix)
        if _gone([linted.export]):
            linted = lint_export.with_options(refresh_cache=True)(export, tune.base_model, fix)
        counted_exports.append(linted.export)
    return tuple(counted_exports)


def _gone(exports: Sequence[Export]) -> bool:
    """Whether a file that a cached result names is missing or has changed."""
    files = [file for e in exports for file in ((e.uri, e.digest), (e.rows_uri, e.rows_digest))]
    return not all(store.same(uri, digest) if digest else store.exists(uri) for uri, digest in files)


def apart(shards: Collection[int], prepared: Prepared, distance: Apart) -> KeptApart:
    """Find training rows of these shards that nearly repeat a held-out row of any shard; drop them where told to."""
    train, holdout = (
        tuple(e for e in prepared.exports if e.split == split and e.examples) for split in ("train", "holdout")
    )
    exports = (tuple(e for e in train if e.shard in shards), holdout, prepared.shards)
    rule = (distance.threshold, distance.then == "drop")
    overlap = find_overlap(*exports, *rule)
    if _gone(overlap.train):
        overlap = find_overlap.with_options(refresh_cache=True)(*exports, *rule)
    return overlap


def findings(link: Link) -> list[Finding]:
    """Everything that would block or warn about this link: its exports line by line, its account, its base model."""
    listed: list[Finding] = []
    for export in (*link.train, *link.holdout):
        listed += lint_export(export, link.tune.base_model, False).findings
    listed += lint.of_link(link.train, link.holdout, link.heldout_rows)
    return [*listed, *get_backend(link.tune).check(link)]


@task(name="check", cache_policy=NO_CACHE)
def passes(link: Link, questions: Exam) -> None:
    """Log the link's warnings. Raises BackendError with its errors, before anything is uploaded.

    Raises ParityError where the exam would use other prompts than the exports hold.
    """
    exams.same_prompts(questions, link.tune)
    every = findings(link)
    errors = [_describe(f) for f in every if f.level == "error"]
    warnings = [f for f in every if f.level == "warning"]
    for rule, many in Counter(f.rule for f in warnings).items():
        first = next(f for f in warnings if f.rule == rule)
        log.warning("%s%s", _describe(first), f" (and {many - 1} more of this kind)" if many > 1 else "")
    if errors:
        more = f"; and {len(errors) - NAMED} more, see `shardtune check`" if len(errors) > NAMED else ""
        raise BackendError("; ".join(errors[:NAMED]) + more)


def _describe(finding: Finding) -> str:
    return (f"line {finding.line}: " if finding.line else "") + finding.message


@task(name="quote", cache_policy=NO_CACHE)
def quote(link: Link) -> Quote:
    """The price of the link, including the answers to its exam."""
    cost = get_backend(link.tune).quote(link)
    log.info("%s examples, %s tokens, %s (%s)", cost.examples, cost.tokens or "unknown", _usd(cost), cost.basis)
    return cost


def affordable(link: Link, cost: Quote, budget: float | None, spent: float) -> None:
    """Raise BackendError where the link may pass the budget, or its cost is unknown. Nothing is uploaded before."""
    if budget is None:
        return
    shards = ", ".join(str(e.shard) for e in link.train)
    if cost.usd_high is None:
        raise BackendError(
            f"cannot guarantee budget_usd = {budget!r}: the price of the link on shards {shards} is unknown "
            f"({cost.basis}); remove the budget or choose a model with a known price"
        )
    if math.isinf(spent):
        raise BackendError(
            f"cannot guarantee budget_usd = {budget!r} for the link on shards {shards}: the cost of an earlier link is "
            "unknown; remove the budget"
        )
    if spent + cost.usd_high > budget:
        raise BackendError(
            f"the link on shards {shards} may cost ${cost.usd_high:.2f} and ${spent:.2f} is spent already: more than "
            f"budget_usd = {budget!r}; nothing was uploaded; raise the budget, or use fewer rows or epochs"
        )


def usd(result: Finetuned) -> float:
    """US dollars that a link has cost; 0 where its cost is unknown. For display: a budget uses `spent`."""
    known = result.cost.get("usd")
    return float(known) if isinstance(known, int | float) else 0.0


def spent(result: Finetuned) -> float:
    """US dollars that a budget is charged for a link: its cost, or infinity where that is unknown."""
    known = result.cost.get("usd")
    return float(known) if isinstance(known, int | float) else math.inf


def _usd(priced: Quote | Priced | Quoted) -> str:
    low, high = priced.usd_low, priced.usd_high
    if high is None:
        return "price unknown" if low is None else f"${low:.2f} or more"
    return f"${high:.2f}" if low is None or f"{low:.2f}" == f"{high:.2f}" else f"${low:.2f} to ${high:.2f}"


def summed(per_link: Sequence[Sequence[Finding]], chain: Sequence[Link]) -> Checked:
    """The findings of all links, without repeats."""
    every = list(dict.fromkeys(f for findings in per_link for f in findings))
    counts = Counter(f.rule for f in every)
    return Checked(
        links=len(chain),
        examples=sum(e.examples for link in chain for e in link.train),
        errors=sum(f.level == "error" for f in every),
        warnings=sum(f.level == "warning" for f in every),
        counts=dict(counts),
        findings=tuple(every),
    )


def of_files(files: Sequence[str], tune: Tune | None, fix: bool) -> Checked:
    """Lint these files line by line for the provider of `tune`; for OpenAI without one.

    `fix` writes the lines without errors to a new file beside each of them.
    """
    tune = tune or OpenAITune(base_model="gpt-4o-mini-2024-07-18")
    linted = [lint.of_file(file, get_backend(tune).format(tune), tune.base_model) for file in files]
    repaired = []
    if fix:
        pairs = zip(files, (findings for findings, _ in linted), strict=True)
        repaired = [lint.fixed(file, mine) for file, mine in pairs if any(f.level == "error" and f.line for f in mine)]
    more = {"examples": sum(lines for _, lines in linted), "quarantined": sum(bad for _, bad in repaired)}
    files_fixed = tuple(uri for uri, _ in repaired)
    return summed([findings for findings, _ in linted], ()).model_copy(update=more | {"fixed": files_fixed})


def priced(link: Link, cost: Quote, done: Finetuned | None) -> Priced:
    """One link's line in the quote of its chain; a link that is done costs what it cost."""
    fields = ("examples", "tokens", "tokens_high", "usd_low", "usd_high", "basis")
    spent = {"usd_low": usd(done), "usd_high": usd(done)} if done else {}
    values = {name: getattr(cost, name) for name in fields} | spent
    return Priced(key=link.key, shards=tuple(e.shard for e in link.train), done=done is not None, **values)


def total(links: Sequence[Priced], budget: float | None) -> Quoted:
    """The quote of the whole chain, compared with its budget."""
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
    create_markdown_artifact("\n".join(lines), key="findings", description="errors and warnings of the recipe")


def show_quote(quoted: Quoted) -> None:
    """A table of the links and the sum, in the Prefect UI."""
    lines = ["| shards | examples | tokens | price | basis |", "|---|---:|---:|---:|---|"]
    for link in quoted.links:
        shards = ", ".join(map(str, link.shards))
        lines.append(f"| {shards} | {link.examples:,} | {link.tokens or 'unknown'} | {_usd(link)} | {link.basis} |")
    lines += ["", f"Total {_usd(quoted)}; budget: {quoted.budget_usd}."]
    create_markdown_artifact("\n".join(lines), key="quote", description="what the recipe will cost")


def show_rehearsal(results: Sequence[Finetuned]) -> None:
    """A table of the rehearsed links, in the Prefect UI."""
    lines = ["**Simulated: no provider was asked, no number here is real.**", ""]
    lines += ["| model | state | steps | quoted tokens | billed tokens |", "|---|---|---:|---:|---:|"]
    for r in results:
        lines.append(f"| {r.model} | {r.state} | {r.steps} | {r.cost.get('tokens')} | {r.cost.get('billed_tokens')} |")
    create_markdown_artifact("\n".join(lines), key="rehearsal", description="each recipe, run against simulators")
