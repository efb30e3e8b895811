"""Batch: several shards in one call, worked on side by side. What a task of the orchestrator does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks import store
from tasks.catalogue import clean, duplicates, pool, settle
from tasks.catalogue.records import Cleaned, Finished, Repeats, Rules
from tasks.examples.export import export
from tasks.examples.templates import Rendering
from tasks.models import Plan, Shard, Split
from tasks.recipe import Exporting, Recipe

SIZE = 16  # shards: the orchestrator's cost per batch is then small beside the work
EXPORTED: tuple[Split, ...] = ("train", "holdout")


def rules_of(recipe: Recipe) -> Rules:
    """The part of the recipe that decides what becomes of a line."""
    return Rules(clean=recipe.clean, split=recipe.split, max_line_bytes=recipe.catalogue.max_line_bytes)


def folder_of(plan: Plan, recipe: Recipe, root: str) -> str:
    """Where the clean shards of this catalogue, cut and cleaned by this recipe, lie together."""
    parts = [plan.catalogue, recipe.catalogue.lines_per_shard, rules_of(recipe).model_dump(mode="json")]
    parts += (
        [[recipe.catalogue.config, recipe.catalogue.split]] if recipe.catalogue.config or recipe.catalogue.split else []
    )
    return store.join(root, "shards", store.digest_of(parts)[:16])


def cleaned(shards: Sequence[Shard], rules: Rules, root: str) -> tuple[Cleaned, ...]:
    """Clean each shard."""
    return tuple(pool.run(clean.clean, [(shard, rules, root) for shard in shards]))


def repeats(shards: Sequence[Cleaned], rules: Rules, root: str) -> tuple[Repeats, ...]:
    """For each cleaned shard of the whole catalogue, the rows to drop as duplicates."""
    return duplicates.find(shards, rules.clean, root)


def finished(
    shards: Sequence[tuple[Cleaned, Repeats]],
    rules: Rules,
    exporting: Exporting,
    rendering: Rendering | None,
    folder: str,
    root: str,
) -> tuple[Finished, ...]:
    """Settle and export each shard."""
    work = [(one, repeated, rules, exporting, rendering, folder, root) for one, repeated in shards]
    return tuple(pool.run(finish, work))


def finish(
    one: Cleaned,
    repeated: Repeats,
    rules: Rules,
    exporting: Exporting,
    rendering: Rendering | None,
    folder: str,
    root: str,
) -> Finished:
    """One shard to its Parquet file and its exports."""
    shard, made = settle.settle(one, repeated, rules, folder, root)
    exports = tuple(
        export(shard, exporting, form, split, rendering, root) for form in exporting.formats for split in EXPORTED
    )
    return Finished(shard=shard, exports=exports, made=made or one.made)


def gone(records: Iterable[Cleaned | Finished]) -> bool:
    """Whether a file that one of `records` names is no longer there."""
    return not all(store.exists(uri) for record in records for uri in _files(record))


def _files(record: Cleaned | Finished) -> list[str]:
    if isinstance(record, Cleaned):
        named = [record.hashes_uri, record.uids_uri, record.shared_uri, record.quarantine_uri]
    else:
        named = [
            record.shard.uri,
            record.shard.quarantine_uri,
            *(u for e in record.exports for u in (e.uri, e.rows_uri)),
        ]
    return [uri for uri in named if uri]
