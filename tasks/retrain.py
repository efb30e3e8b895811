"""Prefect policy for retraining: find new shards, choose the links that the budget allows, report the result."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from prefect.artifacts import create_markdown_artifact

from tasks import check, links, prepare, resume, train
from tasks.catalogue import drift, growth
from tasks.catalogue.growth import Growth
from tasks.core import settings, store
from tasks.core.errors import BackendError
from tasks.core.models import Finetuned, Prepared, Retrained, Waiting
from tasks.forgetting import ChainState
from tasks.links import PlannedLink
from tasks.orchestrator import pages
from tasks.recipe.model import Recipe
from tasks.record import aliases, chain, ledger
from tasks.record.chain import ChainHistory

log = logging.getLogger(__name__)


class Look(NamedTuple):
    """A chain's history and its catalogue now. `recipe` cuts the catalogue at the borders of the learned shards."""

    recipe: Recipe
    past: ChainHistory
    found: Growth

    @property
    def owed(self) -> bool:
        """Whether a shard is to be trained, or a trained link is to be measured or judged by the gate."""
        newest = self.past.taught[-1] if self.past.taught else None
        if self.found.new or self.past.underway:
            return True
        if newest is None or self.past.last is None:
            return False
        return resume.unjudged(self.recipe, self.past) or (
            self.recipe.promote and not aliases.decided(self.recipe.name, self.past.last.mlflow_run_id)
        )


def look(recipe: Recipe) -> Look:
    """Compare the chain's history with its catalogue. RecipeError where the recipe names another base model."""
    past = chain.past(recipe.name)
    then = past.underway[-1].recipe if past.underway else past.taught[-1].recipe if past.taught else recipe
    if past.shards:
        resume.same_base(recipe, (past.underway or past.taught)[-1])
    cuts = growth.cuts(past.shards, then.catalogue, recipe.catalogue)
    recipe = _cut(recipe, cuts)
    planned = prepare.plan(recipe.catalogue, settings.root())
    seen = store.join(settings.root(), "retrain", f"{recipe.name}.json")
    found = growth.find(
        planned, past.shards, recipe.catalogue, recipe.shards, recipe.max_wait_hours, seen, datetime.now(UTC)
    )
    return Look(_cut(recipe, found.cuts), past, found)


def _cut(recipe: Recipe, cuts: tuple[int, ...]) -> Recipe:
    return recipe.model_copy(update={"catalogue": recipe.catalogue.model_copy(update={"cuts": cuts})})


def usable(look: Look, prepared: Prepared) -> Look:
    """`look`, without a last shard that has too few rows for a link: it waits for more lines."""
    new, per = look.found.new, look.recipe.catalogue.lines_per_shard
    last = prepared.shards[-1]
    if not new or new[-1] != last.index or last.lines >= per or not _too_few(look.recipe, prepared, last.index):
        return look
    why = f"its {last.lines:,} lines give too few rows to train on or to hold out"
    waiting = Waiting(shard=last.index, lines=last.lines, why=why, until=None)
    return look._replace(found=look.found._replace(new=new[:-1], waiting=waiting))


def like_before(look: Look, prepared: Prepared) -> None:
    """Raise CatalogueError where the new shards drift too far from those that the chain has learned."""
    most, known = look.recipe.catalogue.max_drift, {s.index for s in look.past.shards}
    new = [s for s in prepared.shards if s.index in look.found.new]
    before = [s for s in prepared.shards if s.index in known]
    if most is not None and new and before:
        found = drift.check(most, new, before, prepared.catalogue)
        log.info("drift of the new shards: %s", found.summary if found else "too few lines to say")


def _too_few(recipe: Recipe, prepared: Prepared, shard: int) -> bool:
    mine = [e for e in prepared.exports if e.shard == shard and e.examples]
    if {e.split for e in mine} < {"train", "holdout"}:
        return True
    findings = [f for e in mine for f in check.lint_export(e, links.tuning(recipe).base_model, False).findings]
    return any(f.rule == "examples" and f.level == "error" for f in findings)


def steps(look: Look, prepared: Prepared, state: ChainState, first: bool) -> list[PlannedLink]:
    """The links to work on: those already started, then new ones, as many as the budget allows in total.

    Raises BackendError where it does not allow one link in the first round of a retrain.
    """
    begun = [PlannedLink(one.link, one.recipe, one.prepared) for one in look.past.underway]
    parent = begun[-1].link.key if begun else state.parent.key if state.parent else None
    many = len(state.links) + len(begun)
    made = links.further(look.recipe, prepared, look.found.new, parent, many) if look.found.new else ()
    wanted, kept, spent = (
        [*begun, *(PlannedLink(link, look.recipe, prepared) for link in made)],
        list[PlannedLink](),
        state.spent,
    )
    for step in wanted:
        if not ledger.finished(step.link.key):
            cost = check.quote(step.link)
            before = spent + ledger.spent(step.link.key)
            try:
                if not train.has_job(step.link):  # a link with a job is already paid for
                    check.affordable(step.link, cost, step.recipe.budget_usd, before)
            except BackendError as error:
                if first and not kept:
                    raise
                log.warning("%d new links wait for the next retrain: %s", len(wanted) - len(kept), error)
                break
            # Links of one retrain are budgeted before they run, so each counts with the most that it may cost.
            spent = before + (math.inf if cost.usd_high is None else cost.usd_high)
        kept.append(step)
    recipe = named(look, kept)
    return [step if step in begun else step._replace(recipe=recipe) for step in kept]


def named(look: Look, chosen: Sequence[PlannedLink]) -> Recipe:
    """The recipe, its `shards` set to what the chain has learned after these links; the record must name no other."""
    shards = {s.index for s in look.past.shards} | {n for step in chosen for n in shards_of(step)}
    return look.recipe.model_copy(update={"shards": tuple(sorted(shards))})


def shards_of(step: PlannedLink) -> tuple[int, ...]:
    """The shards that a link is tuned on."""
    return tuple(e.shard for e in step.link.train)


def elsewhere(recipe: Recipe, other: str, seconds: float) -> Retrained:
    """The result where another process holds the lock of this chain."""
    sentence = f"nothing was done: {other} is working on chain {recipe.name!r} and checks for new shards before it ends"
    return _shown(recipe.name, (), None, (), None, seconds, sentence)


class Done(NamedTuple):
    """The result of one round of links; `look` is the state it started from."""

    look: Look
    results: tuple[Finetuned, ...] = ()
    shards: tuple[int, ...] = ()
    last: Finetuned | None = None
    spent: float = 0.0  # US dollars in this retrain so far

    @property
    def ended(self) -> bool:
        """Whether the retrain ends after this round: it made nothing, or no process waits for its job."""
        return not self.results or self.results[-1].state != "succeeded"


def moving(rounds: Sequence[Done], look: Look) -> None:
    """Raise BackendError where the last round succeeded but the chain has no new link: the loop would never end."""
    if rounds and len(look.past.taught) <= len(rounds[-1].look.past.taught):
        keys = ", ".join(result.key for result in rounds[-1].results)
        raise BackendError(
            f"the links {keys} just trained are missing from chain {look.recipe.name!r}: check that "
            f"MLFLOW_TRACKING_URI ({settings.tracking_uri()!r}) is the server that recorded them; "
            "nothing more was trained"
        )


def finished(rounds: Sequence[Done], look: Look, seconds: float) -> Retrained:
    """The result of a retrain: what was trained and what waits, also as an artifact in the Prefect UI."""
    results = tuple(result for done in rounds for result in done.results)
    new = tuple(n for done in rounds for n in done.shards)
    last = rounds[-1].last if rounds else look.past.last
    name, found, begun = look.recipe.name, look.found, bool(results) and results[-1].state != "succeeded"
    if begun:
        sentence = f"the link on {_shards(new[-1:])} is {results[-1].state}: `shardtune sweep` continues the chain"
    elif results:
        sentence = f"chain {name!r} has learned {_shards(new)} in {len(results)} link{'s' * (len(results) > 1)}"
    else:
        sentence = f"nothing new: chain {name!r} has learned {_shards([s.index for s in look.past.shards])}"
    parts = [sentence]
    if last and last.promotion:
        parts.append(f"{last.promotion.version} is {last.promotion.alias}: {last.promotion.reason}")
    if found.new and not begun:
        parts.append(
            f"{_shards(found.new)} left for the next retrain: budget_usd = {look.recipe.budget_usd!r} is spent"
        )
    if found.waiting:
        until = f", until {found.waiting.until}" if found.waiting.until else ""
        parts.append(f"{_shards([found.waiting.shard])} waiting: {found.waiting.why}{until}")
    if found.left:
        parts.append(f"{_shards(found.left)} left out: the recipe's `shards` do not include them")
    outside = seconds - sum(result.watched for result in results)
    waits = f"{_shards([found.waiting.shard])} waiting: {found.waiting.why}" if found.waiting else ""
    pages.outcome(waits if waits and not results else sentence)
    return _shown(name, new, found.waiting, results, last, outside, "; ".join(parts))


def _shards(numbers: Sequence[int]) -> str:
    """Numbers of shards for a person."""
    if not numbers:
        return "no shard"
    if len(numbers) == 1:
        return f"shard {numbers[0]}"
    whole = list(numbers) == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    return f"shards {numbers[0]} to {numbers[-1]}" if whole else f"shards {', '.join(map(str, numbers))}"


def _shown(
    name: str,
    new: tuple[int, ...],
    waiting: Waiting | None,
    results: tuple[Finetuned, ...],
    last: Finetuned | None,
    seconds: float,
    detail: str,
) -> Retrained:
    lines = [f"**{detail[:1].upper()}{detail[1:]}.**", ""]
    if results:
        lines += [
            "| link | state | held-out loss before | after | US dollars | MLflow run |",
            "|---|---|---:|---:|---:|---|",
        ]
    for result in results:
        loss = [
            f"{value:.3f}" if value is not None else "" for value in map(result.heldout_loss.get, ("before", "after"))
        ]
        cells = (result.key[:8], result.state, *loss, result.cost.get("usd"), result.mlflow_run_id)
        lines.append(f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |")
    lines += ["", f"{seconds:.0f} s outside training."]
    create_markdown_artifact("\n".join(lines), key="retrain", description=f"new shards of chain {name}")
    return Retrained(
        chain=name, new=new, waiting=waiting, results=results, last=last, seconds=round(seconds, 1), detail=detail
    )
