"""Retrain: what a chain has not learned of its catalogue, link after link from its last model, then the gate."""

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

    What was learned is never trained or paid for again, whatever has changed in the recipe since. Nothing new ends in
    seconds. A last shard that is still filling waits; see the recipe's `max_wait_hours`. `budget_usd` holds for this
    retrain: links that it does not hold wait for the next one. One retrain of a chain is at work at a time: another one
    ends at once and says so, and the one at work looks again before it ends. Killed at any moment, the same call goes
    on. Without `wait` it returns once a job is started, and the flow `sweep` goes on with the chain. `again` starts a
    failed or cancelled job anew. Raises CatalogueError where a learned shard is not there as it was learned.
    """
    began = time.monotonic()
    with chain.turn(recipe.name) as other:
        if other:
            return verbs.elsewhere(recipe, other, time.monotonic() - began)
        rounds: list[Done] = []
        while (look := verbs.look(recipe)).owed:
            verbs.moving(rounds, look)
            rounds.append(go_on(look, rounds, wait, again))
            if rounds[-1].ended:
                look = rounds[-1].look
                break
        return verbs.finished(rounds, look, time.monotonic() - began)


def go_on(look: Look, before: list[Done], wait: bool, again: bool) -> Done:
    """One round: every link that the budget holds, the last one's evidence, and the gate."""
    recipe, prepared = ready(look.recipe, shards=look.found.end)
    look = verbs.usable(look._replace(recipe=recipe), prepared)
    held = resume.recalled(look.past, prepared)
    so = resume.resumed(recipe, look.past, held)._replace(spent=before[-1].spent if before else 0.0)
    chosen = verbs.steps(look, prepared, so, first=not before)
    results, so = follow(chosen, recipe, held, so, again, wait, "retrain")
    for result in results:
        chain.joined(recipe.name, result.key)
    shards = tuple(n for step in chosen[: len(results)] for n in verbs.taught(step))
    done = Done(look, tuple(results), shards, so.parent, so.spent)
    if so.parent is None or (results and results[-1].state != "succeeded") or not recipe.promote:
        return done
    kept = so.known if so.known and so.known.kept[-1] else None
    return done._replace(last=promote(verbs.named(look, chosen), so.parent, prepared, kept))
