"""Prefect policy for retraining: what is new, what of it the budget holds, and what a person is told."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from prefect.artifacts import create_markdown_artifact

from tasks import check, links, prepare, resume, train
from tasks.catalogue import growth
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
    """A chain's past beside its catalogue as it is now; `recipe` is cut as the chain has learned."""

    recipe: Recipe
    past: ChainHistory
    found: Growth

    @property
    def owed(self) -> bool:
        """Whether there is anything to train, or to finish of what was trained."""
        newest = self.past.taught[-1] if self.past.taught else None
        if self.found.new or self.past.underway:
            return True
        if newest is None or self.past.last is None:
            return False
        return resume.unjudged(self.recipe, self.past) or (
            self.recipe.promote and not aliases.decided(self.recipe.name, self.past.last.mlflow_run_id)
        )


def look(recipe: Recipe) -> Look:
    """What the chain has learned, and what is new. RecipeError where the recipe is another than the chain's."""
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
    """As it was, but a last shard with too few rows for a link of its own goes on waiting for more."""
    new, per = look.found.new, look.recipe.catalogue.lines_per_shard
    last = prepared.shards[-1]
    if not new or new[-1] != last.index or last.lines >= per or not _too_few(look.recipe, prepared, last.index):
        return look
    why = f"of its {last.lines:,} lines too few rows can be trained on or held out"
    waiting = Waiting(shard=last.index, lines=last.lines, why=why, until=None)
    return look._replace(found=look.found._replace(new=new[:-1], waiting=waiting))


def _too_few(recipe: Recipe, prepared: Prepared, shard: int) -> bool:
    mine = [e for e in prepared.exports if e.shard == shard and e.examples]
    if {e.split for e in mine} < {"train", "holdout"}:
        return True
    found = [f for e in mine for f in check.lint_export(e, links.tuning(recipe).base_model, False).findings]
    return any(f.rule == "examples" and f.level == "error" for f in found)


def steps(look: Look, prepared: Prepared, so: ChainState, first: bool) -> list[PlannedLink]:
    """The links to work on: those under way as they were begun, then new ones, as many as the budget holds together.

    Raises BackendError where it does not hold even one, and this is the first round of a retrain.
    """
    begun = [PlannedLink(one.link, one.recipe, one.prepared) for one in look.past.underway]
    parent = begun[-1].link.key if begun else so.parent.key if so.parent else None
    many = len(so.links) + len(begun)
    made = links.further(look.recipe, prepared, look.found.new, parent, many) if look.found.new else ()
    wanted, kept, spent = (
        [*begun, *(PlannedLink(link, look.recipe, prepared) for link in made)],
        list[PlannedLink](),
        so.spent,
    )
    for step in wanted:
        if not ledger.finished(step.link.key):
            cost = check.quote(step.link)
            before = spent + ledger.spent(step.link.key)
            try:
                if not train.has_job(step.link):  # else it is paid for already
                    check.affordable(step.link, cost, step.recipe.budget_usd, before)
            except BackendError as error:
                if first and not kept:
                    raise
                log.warning("%d of the new links wait for the next retrain: %s", len(wanted) - len(kept), error)
                break
            spent = before + (math.inf if cost.usd_high is None else cost.usd_high)
        kept.append(step)
    recipe = named(look, kept)
    return [step if step in begun else step._replace(recipe=recipe) for step in kept]


def named(look: Look, chosen: Sequence[PlannedLink]) -> Recipe:
    """The recipe with the shards that the chain will have learned by then, so that its record names no other."""
    shards = {s.index for s in look.past.shards} | {n for step in chosen for n in taught(step)}
    return look.recipe.model_copy(update={"shards": tuple(sorted(shards))})


def taught(step: PlannedLink) -> tuple[int, ...]:
    """The shards that a link is tuned on."""
    return tuple(e.shard for e in step.link.train)


def elsewhere(recipe: Recipe, other: str, seconds: float) -> Retrained:
    """What there is to say where another retrain has the turn."""
    told = f"nothing was done: {other} is at work on chain {recipe.name!r}, and looks for new shards again at its end"
    return _shown(recipe.name, (), None, (), None, seconds, told)


class Done(NamedTuple):
    """What a round of links came to; `look` is what it saw."""

    look: Look
    results: tuple[Finetuned, ...] = ()
    shards: tuple[int, ...] = ()
    last: Finetuned | None = None
    spent: float = 0.0  # US dollars in this retrain so far

    @property
    def ended(self) -> bool:
        """Whether there is nothing to do after this round: it made nothing, or is not waited for."""
        return not self.results or self.results[-1].state != "succeeded"


def moving(rounds: Sequence[Done], look: Look) -> None:
    """Raise BackendError where the round before ended well and the chain knows of no link more: it would never end."""
    if rounds and len(look.past.taught) <= len(rounds[-1].look.past.taught):
        keys = ", ".join(result.key for result in rounds[-1].results)
        raise BackendError(
            f"chain {look.recipe.name!r} was given {keys} and does not know of it: is MLflow at "
            f"{settings.tracking_uri()!r} the one that holds these runs? nothing more was trained"
        )


def finished(rounds: Sequence[Done], look: Look, seconds: float) -> Retrained:
    """What was done, what waits and why, as a record and as an artifact in the Prefect UI."""
    results = tuple(result for done in rounds for result in done.results)
    new = tuple(n for done in rounds for n in done.shards)
    last = rounds[-1].last if rounds else look.past.last
    name, found, begun = look.recipe.name, look.found, bool(results) and results[-1].state != "succeeded"
    if begun:
        told = f"the link on {_shards(new[-1:])} is {results[-1].state}: `shardtune sweep` goes on with the chain"
    elif results:
        told = f"chain {name!r} has learned {_shards(new)} in {len(results)} link{'s' * (len(results) > 1)}"
    else:
        told = f"nothing new: chain {name!r} has learned {_shards([s.index for s in look.past.shards])}"
    parts = [told]
    if last and last.promotion:
        parts.append(f"{last.promotion.version} is {last.promotion.alias}: {last.promotion.reason}")
    if found.new and not begun:
        parts.append(
            f"{_shards(found.new)} left to the next retrain, as budget_usd = {look.recipe.budget_usd!r} is spent"
        )
    if found.waiting:
        until = f", until {found.waiting.until}" if found.waiting.until else ""
        parts.append(f"{_shards([found.waiting.shard])} waiting: {found.waiting.why}{until}")
    if found.left:
        parts.append(f"{_shards(found.left)} left out: the recipe's `shards` do not name them")
    outside = seconds - sum(result.watched for result in results)
    waits = f"{_shards([found.waiting.shard])} waiting: {found.waiting.why}" if found.waiting else ""
    pages.outcome(waits if waits and not results else told)
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
    lines += ["", f"{seconds:.0f} s were spent outside training."]
    create_markdown_artifact("\n".join(lines), key="retrain", description=f"what is new for chain {name}")
    return Retrained(
        chain=name, new=new, waiting=waiting, results=results, last=last, seconds=round(seconds, 1), detail=detail
    )
