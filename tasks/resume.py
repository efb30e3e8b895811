"""Prefect policy for going on with a chain: its base, what its links forgot, and what it goes on from."""

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
    """A chain goes on at the backend, and from the base model, with which it began."""
    wanted = links.tuning(recipe)
    mine = (wanted.kind, wanted.base_model, get_backend(wanted).endpoint(wanted))
    held = (newest.link.backend, newest.link.base_model, newest.link.endpoint)
    if mine != held:
        raise RecipeError(
            f"chain {recipe.name!r} was tuned from {held[1]!r} at {_place(held)}, and the recipe names {mine[1]!r} at "
            f"{_place(mine)}: set them back, or start a new chain under another `name`; nothing was trained"
        )


def _place(where: tuple[str, str, str | None]) -> str:
    return f"{where[0]} ({where[2]})" if where[2] else where[0]


def unjudged(recipe: Recipe, past: ChainHistory) -> bool:
    """Whether the last link was not measured yet, or the present bound decides otherwise than was decided."""
    if recipe.forgetting is None or len(past.taught) < 2:
        return False
    known = past.forgetting
    if known is None or len(known.scores) < len(past.taught):
        return len(known.scores if known else ()) == len(past.taught) - 1  # where more is missing, no row helps
    if not known.measured(len(known.scores) - 1):  # by an older version, which stopped chains by chance
        return not past.taught[-1].kept
    forgot = bool(known.model_copy(update={"bound": recipe.forgetting.bound}).forgotten)
    return forgot if recipe.forgetting.then == "stop" else forgot == past.taught[-1].kept


def resumed(recipe: Recipe, past: ChainHistory, prepared: Prepared) -> ChainState:
    """The chain as it stands, its last link measured and judged. TrainingError where it forgot more than is allowed."""
    so = ChainState(tuple((one.key, one.link) for one in past.taught), past.forgetting, past.last)
    if recipe.forgetting is None or not past.taught:
        return so._replace(known=None)
    newest = past.taught[-1]
    result = past.last if past.last and newest.key == past.last.key else ledger.finished(newest.key)
    if result is None:
        return so  # it forgot too much, and its model was removed since
    known = past.forgetting
    if known is None or len(known.scores) < len(so.links):
        known = forgetting.after(recipe, prepared, so.links, result, known, begun=True)
    elif unjudged(recipe, past) and not known.measured(len(known.scores) - 1):
        known = known.row(len(known.scores) - 2).model_copy(update={"kept": known.kept[:-1]})
        known = forgetting.after(recipe, prepared, so.links, result, known, begun=True)
    elif unjudged(recipe, past):
        known = forgetting.judged(known, recipe.forgetting.bound, result)
    before = ledger.finished(newest.link.parent_key) if newest.link.parent_key else None
    return so._replace(known=known, parent=forgetting.goes_on(recipe, known, result, before))


def recalled(past: ChainHistory, prepared: Prepared) -> Prepared:
    """What was prepared, with the shards that the chain has learned as they were then: old questions are about them."""
    then: dict[int, CleanShard] = {s.index: s for one in past.taught for s in one.prepared.shards}
    held = {n: s for n, s in then.items() if store.exists(s.uri)}
    return prepared.model_copy(update={"shards": tuple(held.get(s.index, s) for s in prepared.shards)})
