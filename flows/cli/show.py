"""Show: results for a person at a terminal, and a progress bar where there is one."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tasks.core import plain, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from tasks.answers.reply import Replied, Reply
    from tasks.answers.verify import Case, Verified
    from tasks.core.models import CatalogueReport, Checked, Finetuned, Prepared, Rehearsed
    from tasks.core.quotes import Priced, Quoted
    from tasks.evaluation.comparison import Compared


def bars() -> None:
    """Draw progress on a terminal's standard error; in a pipe draw nothing."""
    if not sys.stderr.isatty():
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    # Names and titles come from outside: they are no markup of rich's.
    names, details = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[detail]}"))
    columns = (names, BarColumn(), details, TimeElapsedColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    known: dict[str, TaskID] = {}

    def listener(what: str, done: float, total: float, detail: str) -> None:
        what, detail = plain.terminal(what), plain.terminal(detail)
        if what not in known:
            known[what] = drawn.add_task(what, total=total, detail=detail)
            drawn.start()
        drawn.update(known[what], completed=done, total=total, detail=detail)
        if all(task.finished for task in drawn.tasks):
            drawn.stop()

    progress.listen(listener)


def echo(text: str = "") -> None:
    """Print a line. Most hold text of a catalogue, a model or a provider, and a terminal obeys control bytes."""
    click.echo(plain.terminal(text))


def prepared(result: Prepared) -> None:
    """What became of every line, as a short table."""
    from tasks.core import settings

    rows = [("lines read", result.lines), ("kept", result.kept)]
    rows += [(f"dropped: {rule}", count) for rule, count in result.dropped.items()]
    rows += [("quarantined", result.quarantined)]
    rows += [(f"quarantined: {rule}", count) for rule, count in result.reasons.items()]
    rows += [(f"mended: {rule}", count) for rule, count in result.mended.items()]
    for what, count in rows:
        echo(f"{what:32}{count:>12,}")
    for uri in [s.quarantine_uri for s in result.shards if s.quarantine_uri][:3]:
        echo(f"quarantined lines: {uri}")
    if result.left:
        more = f" and {len(result.left) - 5} more" if len(result.left) > 5 else ""
        echo(f"not read (tests, labels, other splits or formats, by their names): {', '.join(result.left[:5])}{more}")
    if result.cut:
        echo("the last line of the catalogue is incomplete")
    served = "all served from caches" if not result.made else f"{result.made} worked on in this run"
    echo(f"{len(result.shards)} shards ({served}), {len(result.exports)} exports under {settings.root()}")


def reported(result: CatalogueReport) -> None:
    """Where the page is, and what it says first."""
    left = sum(result.dropped.values()) + sum(result.quarantined.values())
    echo(f"{result.lines:,} lines read, {result.kept:,} kept, {left:,} left out")
    if result.drift:
        echo(f"drift of the last shards: {result.drift}")
    echo(f"{result.page} has rows before and after, and what is left out; open it in a browser")


def checked(result: Checked) -> None:
    """Every finding on a line, and how many there are."""
    for finding in result.findings:
        places = (
            finding.file,
            f"line {finding.line}" if finding.line else "",
            f"({finding.uid})" if finding.uid else "",
        )
        where = "".join(f" {place}" for place in places if place)
        echo(f"{finding.level}{where}: {finding.rule}: {finding.message}")
    quarantined = f", {result.quarantined} examples in quarantine" if result.quarantined else ""
    counts = f"{result.errors} errors, {result.warnings} warnings{quarantined}"
    echo(f"{result.examples:,} examples in {result.links} links: {counts}")
    for uri in result.fixed:
        echo(f"examples without errors: {uri}")


def quoted(result: Quoted) -> None:
    """A line for each link, and the total against the budget."""
    for link in result.links:
        shards = ", ".join(str(shard) for shard in link.shards)
        tokens = "unknown" if link.tokens is None else f"{link.tokens:,}"
        many = "" if link.tokens_high in (None, link.tokens) else f" to {link.tokens_high:,}"
        done = "  (done already)" if link.done else ""
        echo(f"shards {shards}: {link.examples:,} examples, {tokens}{many} tokens, {_usd(link)}{done}")
        echo(f"  {link.basis}")
    over = (
        ""
        if result.budget_usd is None
        else f", {'within' if result.fits else 'over'} the budget of ${result.budget_usd:.2f}"
    )
    echo(f"total {_usd(result)}{over}")


def _usd(priced: Priced | Quoted) -> str:
    """A price as a range; "price unknown" where there is none."""
    low, high = priced.usd_low, priced.usd_high
    if high is None:
        return "price unknown" if low is None else f"${low:.2f} or more"
    return f"${high:.2f}" if low is None or f"{low:.2f}" == f"{high:.2f}" else f"${low:.2f} to ${high:.2f}"


def finetuned(result: Finetuned) -> None:
    """The numbers, the same questions before and after, and where to look further."""
    if result.state != "succeeded":
        echo(
            f"job    {result.key}, {result.state}; finish it later with `shardtune sweep` or by re-running this command"
        )
        return
    answers(result)
    if result.simulated:
        echo(f"SIMULATED by {result.simulated}: no provider was called, and no number here is real")
    before, after = (_number(result.heldout_loss.get(when)) for when in ("before", "after"))
    echo(f"held-out loss  {before} -> {after} nats per answer token, the same rows before and after")
    echo(f"{'':28}{'before':>10}{'after':>10}{'before, t=0':>14}{'after, t=0':>12}")
    for group, arms in result.scores.items():
        for name in dict.fromkeys(name for values in arms.values() for name in values):
            cells = [_number(arms.get(arm, {}).get(name)) for arm in ("before", "after", "before_t0", "after_t0")]
            echo(f"{group + ': ' + name:28}{cells[0]:>10}{cells[1]:>10}{cells[2]:>14}{cells[3]:>12}")
    for note in result.notes:
        echo(note)
    if result.promotion:
        echo(f"{result.promotion.version} is {result.promotion.alias}: {result.promotion.reason}")
    if not result.trained:
        echo("this job was already done: everything is served from its record, nothing was trained")
    echo(f"job    {result.key}, {result.steps} steps, {result.state}\nmodel  {result.model}")
    _pages(result.mlflow_run_id)


def _pages(run_id: str) -> None:
    """Where a browser finds the run and its flow run; where no server runs, the command that starts them."""
    from tasks.core import settings
    from tasks.record import address

    page = address.page(run_id)
    if page is None:
        root = f"{settings.ROOT_VARIABLE}={settings.root()} " if os.environ.get(settings.ROOT_VARIABLE) else ""
        echo(f"MLflow run {run_id}; to see it and its flow run in a browser, start their servers:")
        echo(f"  {root}{_bin('shardtune')} up")
        return
    echo(f"MLflow   {page}")
    if flow := address.flow_run(run_id):
        echo(f"Prefect  {flow}")


def rehearsed(result: Rehearsed) -> None:
    """A line for each recipe."""
    echo("SIMULATED: no provider was called, no money was spent, no provider number here is real")
    for one in result.results:
        quoted, billed = one.cost.get("tokens"), one.cost.get("billed_tokens")
        echo(f"{one.state:10} {one.steps:>6} steps  tokens quoted {quoted}, billed {billed}  {one.model}")
        echo(f"{'':10} MLflow run {one.mlflow_run_id}")


def answers(result: Finetuned) -> None:
    """Every question with its answers beside the original content, each shortened to two lines."""
    for row in result.answers:
        echo(f"{row.group}: {row.question.rpartition(chr(10) * 2)[2]}")  # without the rows that its prompt lists
        texts = (("original", row.content), ("before", row.before), ("after", row.after), ("after, t=0", row.after_t0))
        for name, text in texts:
            echo(_under(name, " ".join(text.split()) or "(nothing)", 2))
        echo()


def replied(result: Replied) -> None:
    """Every question with its answer and its source."""
    for one in result.replies:
        echo(one.question)
        reply(one)
    if result.target.name == "no model":
        echo("no model was asked, since none is champion: `shardtune finetune --recipe NAME --promote` tunes one")


def reply(one: Reply) -> None:
    """The model's words where they hold, and the row's own sentences; else these alone, or which rows may be meant."""
    echo(textwrap.indent(textwrap.fill(one.text or "(nothing)", 100), "  "))
    if one.state == "answered":
        sure = all(claim.verdict == "verbatim" for claim in one.claims)
        echo(_under("checked", "in the row's own words" if sure else "agrees with the row, in other words", 1))
        for found in one.quotes:
            echo(_under("quote", f'"{found.text}" (characters {found.start} to {found.end})', 4))
    for found in one.quotes if one.state == "which" else ():
        echo(_under("perhaps", f"{found.uid}, line {found.line}: {found.title}", 2))
    if one.said and one.state == "quoted":
        echo(_under("model", f"DOES NOT HOLD: {one.said}", 3))
        echo(_under("why", "; ".join(one.problems), 3))
    for source in (one.source,) if one.source else one.near if one.state == "none" else ():
        named = "source" if one.source else "nearest"
        echo(_under(named, f"{source.uid}, line {source.line}, shard {source.shard}: {source.title}", 2))
    if one.source:
        echo(_under("", one.source.url, 1))
        if one.source.facts:
            echo(_under("facts", ", ".join(f"{name}: {told}" for name, told in one.source.facts.items()), 2))
    echo()


def verified(told: Sequence[Case], found: Sequence[Verified], as_json: bool) -> None:
    """Each answer with the verdict on every claim and why; as JSON one object a line."""
    for case, one in zip(told, found, strict=True):
        if as_json:
            click.echo(plain.escaped(json.dumps(one.model_dump(mode="json"), ensure_ascii=False)))
            continue
        echo(f"{'holds' if one.holds else 'DOES NOT HOLD'}  {one.uid or f'no row ({one.state})'}  {case.question}")
        for claim in one.claims:
            echo(
                _under("", f"{claim.verdict.upper()}: {claim.text}" + (f" ({claim.reason})" if claim.reason else ""), 4)
            )
    if not as_json:
        echo(f"{sum(one.holds for one in found)} of {len(found)} answers hold")


def _under(named: str, text: str, lines: int) -> str:
    """Text beside a name, as many lines as may be shown."""
    wrapped = textwrap.wrap(text, 86, max_lines=lines, placeholder=" …", break_long_words=False)
    return textwrap.indent("\n".join(wrapped), " " * 14).replace(" " * 14, f"  {named:12}", 1)


def compared(result: Compared) -> None:
    """A table of the arms, group by group, then the verdicts."""
    columns = {
        "right_product": "right product", "to_the_point": "to the point", "answered": "in own words",
        "false_shown": "false shown", "declined": "declined",
    }  # fmt: skip
    for group, many in result.questions.items():
        echo(f"{group} ({many} questions)".ljust(34) + "".join(f"{head:>15}" for head in columns.values()) + "  tokens")
        for arm in result.arms:
            rates = arm.groups.get(group, {})
            told = "".join(f"{_percent(rates.get(name)):>15}" for name in columns)
            echo(f"  {arm.name:32}{told}{rates.get('tokens') or 0:>8.0f}")
    if "absent" in result.questions:
        echo("absent products are unseen ones whose rows are hidden: there, declining is right")
    from tasks.evaluation.report import headlines

    for line in (*headlines(result), *result.decisions):
        echo(line)
    if result.simulated:
        echo("SIMULATED: a simulator stood in for a provider; no number of its model is real")
    echo(f"MLflow run {result.mlflow_run_id}{' (served from its record)' * result.again}; report {result.report}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bin(name: str) -> str:
    """A command beside this interpreter, as a person would type it from here."""
    path = Path(sys.executable).parent / name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
