"""Retrain: train a chain's new shards, link after link from its last model, then pass the gate."""

from __future__ import annotations

import time

from prefect import flow

from flows.finetune import follow
from flows.prepare import ready
from flows.promote import promote
from tasks import resume
from tasks import retrain as verbs
from tasks.core.models import Retrained
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import chain
from tasks.retrain import Done, Look


@flow(name="retrain", flow_run_name="retrain {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def retrain(recipe: Recipe, wait: bool = True, again: bool = False) -> Retrained:
    """Train the chain called as the recipe on the shards that are new, from its last model; then pass the gate.

    A shard is trained on once per chain, even if the recipe changes later. Without new shards it ends within
    seconds. An incomplete last shard waits for more lines; see the recipe's `max_wait_hours`. `budget_usd` is per
    retrain; links beyond it wait for the next one. Only one retrain of a chain runs at a time: a second one ends at
    once, and the first checks for new shards again before it ends. The same call resumes after a kill. Without
    `wait` it returns once a job is started, and the flow `sweep` continues the chain. `again` starts a failed or
    cancelled job again. Raises CatalogueError where a learned shard is missing from the catalogue or has changed.
    """
    began = time.monotonic()
    with chain.turn(recipe.name) as other:
        if other:
            return verbs.elsewhere(recipe, other, time.monotonic() - began)
        rounds: list[Done] = []
        while (look := verbs.look(recipe)).owed:
            verbs.moving(rounds, look)
            rounds.append(one_round(look, rounds, wait, again))
            if rounds[-1].ended:
                look = rounds[-1].look
                break
        return verbs.finished(rounds, look, time.monotonic() - began)


def one_round(look: Look, before: list[Done], wait: bool, again: bool) -> Done:
    """One round: every link that the budget allows, then the gate."""
    recipe, prepared = ready(look.recipe, shards=look.found.end)
    look = verbs.usable(look._replace(recipe=recipe), prepared)
    verbs.like_before(look, prepared)
    remembered = resume.recalled(look.past, prepared)
    state = resume.resumed(recipe, look.past, remembered)._replace(spent=before[-1].spent if before else 0.0)
    chosen = verbs.steps(look, prepared, state, first=not before)
    results, state = follow(chosen, recipe, remembered, state, again, wait, "retrain")
    for result in results:
        chain.joined(recipe.name, result.key)
    shards = tuple(n for step in chosen[: len(results)] for n in verbs.shards_of(step))
    done = Done(look, tuple(results), shards, state.parent, state.spent)
    if state.parent is None or (results and results[-1].state != "succeeded") or not recipe.promote:
        return done
    kept = state.known if state.known and state.known.kept[-1] else None
    return done._replace(last=promote(verbs.named(look, chosen), state.parent, prepared, kept))
