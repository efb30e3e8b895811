"""Batch: several shards in one call, worked on side by side. What a task of the orchestrator does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.catalogue import clean, duplicates, pool, settle
from tasks.catalogue.records import Cleaned, Finished, Repeats, Rules
from tasks.core import store
from tasks.core.errors import DamagedError
from tasks.core.models import CleanShard, Export, Plan, Shard, Split
from tasks.examples.export import export
from tasks.examples.templates import Rendering
from tasks.recipe.model import Catalogue, Cleaning, Exporting, Splitting

SIZE = 16  # shards: the orchestrator's cost per batch is then small beside the work
EXPORTED: tuple[Split, ...] = ("train", "holdout")


def rules_of(catalogue: Catalogue, clean: Cleaning, split: Splitting) -> Rules:
    """The fields of a recipe that decide whether a line is kept, dropped or quarantined."""
    return Rules(clean=clean, split=split, max_line_bytes=catalogue.max_line_bytes, fields=catalogue.fields)


def folder_of(plan: Plan, catalogue: Catalogue, rules: Rules, root: str) -> str:
    """The folder of the clean shards of this catalogue, cut like this and cleaned by these rules."""
    parts = [plan.catalogue, catalogue.lines_per_shard, rules.model_dump(mode="json")]
    parts += [[catalogue.config, catalogue.split]] if catalogue.config or catalogue.split else []
    return store.join(root, "shards", store.digest_of(parts)[:16])


def cleaned(shards: Sequence[Shard], rules: Rules, root: str) -> tuple[Cleaned, ...]:
    """Clean each shard."""
    return tuple(pool.run(clean.clean, [(shard, rules, root) for shard in shards]))


def repeats(shards: Sequence[Cleaned], rules: Rules, root: str) -> tuple[Repeats, ...]:
    """For each cleaned shard of the whole catalogue, the rows to drop as duplicates."""
    whole = [c if c.sound else clean.make(c.shard, rules, root) for c in shards]
    return duplicates.find(whole, rules.clean, root)


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
    try:
        exports = _exports(shard, exporting, rendering, root)
    except DamagedError:  # the shard: looked at again, it is made anew
        shard, made = settle.settle(one, repeated, rules, folder, root)
        exports = _exports(shard, exporting, rendering, root)
    done = Finished(shard=shard, exports=exports, made=made or one.made)
    return done.model_copy(update={"marks": store.marks(done.files)})


def _exports(shard: CleanShard, exporting: Exporting, rendering: Rendering | None, root: str) -> tuple[Export, ...]:
    wanted = ((form, split) for form in exporting.formats for split in EXPORTED)
    return tuple(export(shard, exporting, form, split, rendering, root) for form, split in wanted)


def gone(records: Iterable[Cleaned | Finished | Repeats]) -> bool:
    """Whether a file that one of `records` names is no longer there as it was."""
    return any(_changed(record) for record in records)


def _changed(record: Cleaned | Finished | Repeats) -> bool:
    if isinstance(record, Repeats):
        return record.uri is not None and not store.same(record.uri, record.digest)
    return {uri: record.marks.get(uri, "") for uri in record.files} != store.marks(record.files)


def doubted(shards: Sequence[CleanShard], exports: Sequence[Export]) -> bool:
    """Whether one of these files, read to its end, is not as it was written; `prepare` will then make it anew."""
    named = [(s.uri, s.digest) for s in shards]
    named += [file for e in exports for file in ((e.uri, e.digest), (e.rows_uri, e.rows_digest))]
    bad = [uri for uri, digest in named if digest and not store.same(uri, digest)]
    for uri in bad:
        store.doubt(uri)
    return bool(bad)
