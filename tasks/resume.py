"""Prefect policy to resume a chain: check its base model, and measure its last link where that is missing."""

from __future__ import annotations

from tasks import forgetting, links
from tasks.backends import get_backend
from tasks.core import store
from tasks.core.errors import RecipeError
from tasks.core.models import CleanShard, Prepared
from tasks.forgetting import ChainState
from tasks.recipe.model import Recipe
from tasks.record import ledger
from tasks.record.chain import ChainHistory, LearnedLink


def same_base(recipe: Recipe, newest: LearnedLink) -> None:
    """Raise RecipeError where the recipe names another backend or base model than the chain was tuned from."""
    wanted = links.tuning(recipe)
    mine = (wanted.kind, wanted.base_model, get_backend(wanted).endpoint(wanted))
    before = (newest.link.backend, newest.link.base_model, newest.link.endpoint)
    if mine != before:
        raise RecipeError(
            f"chain {recipe.name!r} was tuned from {before[1]!r} at {_place(before)}, but the recipe names {mine[1]!r} "
            f"at {_place(mine)}: restore them, or start a new chain under another `name`; nothing was trained"
        )


def _place(where: tuple[str, str, str | None]) -> str:
    return f"{where[0]} ({where[2]})" if where[2] else where[0]


def unjudged(recipe: Recipe, past: ChainHistory) -> bool:
    """Whether the last link is not measured yet, or the recipe's present bound would change its judgement."""
    if recipe.forgetting is None or len(past.taught) < 2:
        return False
    known = past.forgetting
    if known is None or len(known.scores) < len(past.taught):
        return len(known.scores if known else ()) == len(past.taught) - 1  # with more rows missing, one more is no use
    if not known.measured(
        len(known.scores) - 1
    ):  # an older version measured too few questions, so its judgement was chance
        return not past.taught[-1].kept
    forgot = bool(known.model_copy(update={"bound": recipe.forgetting.bound}).forgotten)
    return forgot if recipe.forgetting.then == "stop" else forgot == past.taught[-1].kept


def resumed(recipe: Recipe, past: ChainHistory, prepared: Prepared) -> ChainState:
    """The state of a chain, its last link measured and judged. TrainingError where that forgot more than is allowed."""
    state = ChainState(tuple((one.key, one.link) for one in past.taught), past.forgetting, past.last)
    if recipe.forgetting is None or not past.taught:
        return state._replace(known=None)
    newest = past.taught[-1]
    result = past.last if past.last and newest.key == past.last.key else ledger.finished(newest.key)
    if result is None:
        return state  # it forgot too much and its model was deleted since; nothing starts from it
    known = past.forgetting
    if known is None or len(known.scores) < len(state.links):
        known = forgetting.after(recipe, prepared, state.links, result, known, begun=True)
    elif unjudged(recipe, past) and not known.measured(len(known.scores) - 1):
        known = known.row(len(known.scores) - 2).model_copy(update={"kept": known.kept[:-1]})
        known = forgetting.after(recipe, prepared, state.links, result, known, begun=True)
    elif unjudged(recipe, past):
        known = forgetting.judged(known, recipe.forgetting.bound, result)
    before = ledger.finished(newest.link.parent_key) if newest.link.parent_key else None
    return state._replace(known=known, parent=forgetting.goes_on(recipe, known, result, before))


def recalled(past: ChainHistory, prepared: Prepared) -> Prepared:
    """`prepared`, with learned shards as they were at training time: the exams of old links ask about those rows."""
    then: dict[int, CleanShard] = {s.index: s for one in past.taught for s in one.prepared.shards}
    there = {n: s for n, s in then.items() if store.exists(s.uri)}
    return prepared.model_copy(update={"shards": tuple(there.get(s.index, s) for s in prepared.shards)})
