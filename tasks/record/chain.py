"""Chain: the links of one recipe name, read back from their MLflow runs, and a mutex for the process that extends it.

Runs point to their parents, so they form a tree. The chain is the path with most catalogue lines from the base model to
a run; of several such paths, the one that ends newest. Links that forgot too much are leaves beside it: their shards
count as learned, but no link starts from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from tasks.backends.contract import Link
from tasks.core import settings
from tasks.core.errors import BackendError, LimitError
from tasks.core.models import CleanShard, Finetuned, Prepared
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.recipe.model import Recipe
from tasks.record import ledger, names, turns
from tasks.record.names import FORGOTTEN, JOINED, KEY, LINES, PARENT, RECIPE

if TYPE_CHECKING:
    from mlflow.entities import Run

PATIENCE = 5.0  # seconds to wait for the lock; a retrain needs less between its last look and its end


class LearnedLink(NamedTuple):
    """A finished link, with the recipe and the shards that it was tuned on, as they were then."""

    key: str
    link: Link
    recipe: Recipe
    prepared: Prepared
    kept: bool = True  # False where it forgot too much, and the chain did not go on from it


class ChainHistory(NamedTuple):
    """A chain so far: its links, oldest first, its last model, its forgetting matrix, and links still running."""

    taught: tuple[LearnedLink, ...] = ()
    last: Finetuned | None = None
    forgetting: ForgettingMatrix | None = None  # of all of `taught`; without its last row where that was not measured
    underway: tuple[LearnedLink, ...] = ()

    @property
    def shards(self) -> tuple[CleanShard, ...]:
        """All shards that are learned, or being learned."""
        return tuple(s for one in (*self.taught, *self.underway) for s in one.prepared.shards)


def past(name: str) -> ChainHistory:
    """The history of the chain called `name`. BackendError where a part of its record or its model is missing."""
    runs = _runs(name)
    done = {r.data.tags[KEY]: r for r in runs if r.info.status == "FINISHED"}
    ways = {key: _way(run, done) for key, run in done.items() if not run.data.tags.get(FORGOTTEN)}
    tried = {key: _tried(way, done) for key, way in ways.items()}
    best = max(tried, key=lambda key: (_lines(tried[key]), done[key].info.start_time), default=None)
    begun = [r for r in runs if r.info.status == "RUNNING" and r.data.tags.get(PARENT, "") == (best or "")]
    underway: list[LearnedLink] = []
    for run in begun:
        learned = _taught(run)
        taken = {s.index for one in underway for s in one.prepared.shards}
        if learned and not taken & {s.index for s in learned.prepared.shards}:
            underway.append(learned)
    if best is None:
        return ChainHistory(underway=tuple(underway))
    with ThreadPoolExecutor(8) as pool:  # a store may be far away
        taught = tuple(pool.map(_whole, tried[best]))
    last = ledger.finished(best)
    if last is None:
        raise BackendError(
            f"the last model of chain {name!r} (key {best}) is missing: restore it from a backup, "
            "or start a new chain under another `name`; nothing was trained"
        )
    return ChainHistory(taught, last, _forgetting(taught, tried[best]), tuple(underway))


def _runs(name: str) -> list[Run]:
    """All runs of this name, oldest first; of two runs with the same key, the older."""
    api = ledger.client()
    place = ledger.experiment(api)
    if place is None:
        return []
    runs: list[Run] = []
    mine = [f"tags.`{tag}` = '{name}'" for tag in (RECIPE, names.OLD[RECIPE])] + [f"tags.`{JOINED}{name}` = 'true'"]
    for one in mine:
        runs += api.search_runs([place], f"{one} and tags.`{KEY}` != ''", max_results=50_000)
    runs.sort(key=lambda run: int(run.info.start_time), reverse=True)
    return list({r.data.tags[KEY]: r for r in runs}.values())[::-1]


def attach(name: str, text: str, file: str) -> str | None:
    """Keep `text` as the artifact `file` of the newest run of the chain `name`; the id of that run, if there is one."""
    runs = _runs(name)
    if not runs:
        return None
    ledger.client().log_text(runs[-1].info.run_id, text, file)
    return str(runs[-1].info.run_id)


def joined(name: str, key: str) -> None:
    """Tag a finished link as part of the chain `name`, where another recipe made it and this one reused its result."""
    run = ledger.run_of(key)
    if run and names.value(run.data.tags, RECIPE) != name:
        ledger.client().set_tag(run.info.run_id, f"{JOINED}{name}", "true")


def _way(run: Run, done: dict[str, Run]) -> list[Run]:
    """The runs from the base model to this one. A parent may belong to a recipe of another name."""
    way = [run]
    while parent := way[0].data.tags.get(PARENT):
        before = done.get(parent) or ledger.run_of(parent)
        if before is None:
            raise BackendError(
                f"MLflow has no run of key {parent!r}, the parent of run {run.info.run_id!r}: restore a "
                "backup; without it the shards that the chain has learned are unknown; nothing was trained"
            )
        way.insert(0, before)
    return way


def _tried(way: list[Run], done: dict[str, Run]) -> list[Run]:
    """The path, and its leaves that forgot too much; oldest first."""
    keys = {r.data.tags[KEY] for r in way}
    beside = [r for r in done.values() if r.data.tags.get(FORGOTTEN) and r.data.tags.get(PARENT) in keys]
    return sorted([*way, *beside], key=lambda r: int(r.info.start_time))


def _lines(tried: list[Run]) -> int:
    return sum(int(names.value(r.data.tags, LINES, "0")) for r in tried)


def _whole(run: Run) -> LearnedLink:
    learned = _taught(run)
    if learned is None:
        raise BackendError(
            f"MLflow run {run.info.run_id!r} does not say which shards it was tuned on: an earlier version made it; "
            "start a new chain under another `name`"
        )
    return learned


def _taught(run: Run) -> LearnedLink | None:
    """The link of a run; None where the run lacks a part, because it was killed while it was opened."""
    place = run.info.run_id
    link, recipe = ledger.load(place, "link.json", Link), ledger.load(place, "recipe.json", Recipe)
    prepared = ledger.load(place, "prepared.json", Prepared)
    if link is None or recipe is None or prepared is None:
        return None
    return LearnedLink(run.data.tags[KEY], link, recipe, prepared, not run.data.tags.get(FORGOTTEN))


def _forgetting(taught: Sequence[LearnedLink], runs: Sequence[Run]) -> ForgettingMatrix | None:
    """The matrix of these links. Rows that were never measured are empty; the last row may be missing."""
    keys, known = tuple(one.key for one in taught), None
    for many in range(len(runs), 0, -1):
        recorded = (
            ledger.read(runs[many - 1].info.run_id, "forgetting.json")
            if FORGOTTEN in runs[many - 1].data.tags
            else None
        )
        if recorded and (read := ForgettingMatrix.model_validate(recorded)).keys == keys[:many]:
            known = read
            break
    scores = known.scores if known else ()
    scores += ((),) * (len(keys) - 1 - len(scores))
    if not scores:
        return None
    many = len(scores)
    return ForgettingMatrix(
        shards=tuple(one.link.train[0].shard for one in taught[:many]),
        keys=keys[:many],
        scores=scores,
        kept=tuple(one.kept for one in taught[:many]),
        bound=known.bound if known else 0.0,
        answers=known.answers if known else (),
        ways=known.ways if known else (),
    )


@contextmanager
def turn(name: str) -> Iterator[str | None]:
    """Lock this chain. Yields None where it was free, else a description of the holder; then nothing is locked.

    Two locks: a file for processes of this machine, freed at once when one dies; and a tag in MLflow for other
    machines, which expires some minutes after its holder dies.
    """
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        other = None
        try:
            locks.enter_context(FileLock(folder / f"chain-{name}.lock", timeout=PATIENCE))
            api = ledger.client()
            place = ledger.experiment(api) or ledger.made(api)
            locks.enter_context(turns.turn(api, place, f"chain.{name}", lasting=True))
        except Timeout:
            other = "another process on this machine"
        except LimitError as limit:
            other = str(limit)
        yield other
