"""Prefect policy for `tasks.catalogue`: what is cached, under which key, and what a person sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task

from tasks.catalogue import batch, clean, settle, split
from tasks.catalogue.plan import plan as make_plan
from tasks.catalogue.records import Cleaned, Finished, Repeats, Rules
from tasks.core.models import Prepared
from tasks.orchestrator import results
from tasks.orchestrator.runner import Runner

# Bump or change any of these, and no cached batch is served again.
VERSIONS = (results.LAYOUT, clean.VERSION, split.VERSION, settle.VERSION)


CACHED = results.cached(VERSIONS)

# The plan has a cache of its own, which knows what tells one state of a source from another.
plan = task(name="plan", cache_policy=NO_CACHE)(make_plan)
clean_batch = task(name="clean", **CACHED)(batch.cleaned)
find_repeats = task(name="repeats", **CACHED)(batch.repeats)
finish_batch = task(name="finish", **CACHED)(batch.finished)


def found_repeats(cleaned: Sequence[Cleaned], rules: Rules, root: str) -> tuple[Repeats, ...]:
    """The rows of each shard to drop as duplicates; looked for again where what was kept of them is gone or damaged."""
    found = find_repeats(cleaned, rules, root)
    return find_repeats.with_options(refresh_cache=True)(cleaned, rules, root) if batch.gone(found) else found


class Progress:
    """A progress bar in the Prefect UI, by shards."""

    def __init__(self, shards: int) -> None:
        self._steps, self._done = 2 * shards, 0  # each shard is cleaned, then finished
        self._id: Any = create_progress_artifact(0.0, key="prepare-progress", description="shards")

    def step(self, shards: int) -> None:
        self._done += shards
        update_progress_artifact(self._id, 100.0 * self._done / self._steps)


def each(engine: Runner, verb: Task[..., Any], items: Sequence[Any], *rest: Any, progress: Progress) -> list[Any]:
    """`verb` on batches of `items`, side by side wherever `engine` runs them."""
    size = engine.size(len(items))
    batches = [tuple(items[n : n + size]) for n in range(0, len(items), size)]
    results: list[Cleaned | Finished] = []
    for made in engine.run(verb, batches, *rest):
        results += made
        progress.step(len(made))
    return results


def summarise(prepared: Prepared) -> None:
    """A table of the counts, in the Prefect UI."""
    lines = ["| what | lines |", "|---|---:|", f"| read | {prepared.lines:,} |", f"| kept | {prepared.kept:,} |"]
    lines += [f"| dropped: {rule} | {count:,} |" for rule, count in prepared.dropped.items()]
    lines += [f"| quarantined | {prepared.quarantined:,} |"]
    lines += [f"| quarantined: {rule} | {count:,} |" for rule, count in prepared.reasons.items()]
    lines += [f"| mended: {rule} | {count:,} |" for rule, count in prepared.mended.items()] + [""]
    lines += ["| export | split | examples | tokens |", "|---|---|---:|---:|"]
    for form, part in sorted({(e.format, e.split) for e in prepared.exports}):
        mine = [e for e in prepared.exports if (e.format, e.split) == (form, part)]
        tokens = [e.tokens for e in mine if e.tokens is not None]
        counted = f"{sum(tokens):,}" if len(tokens) == len(mine) else "not counted"
        lines.append(f"| {form} | {part} | {sum(e.examples for e in mine):,} | {counted} |")
    shards = f"{len(prepared.shards)} shards, {prepared.made} worked on in this run, the others served from caches."
    cut = "\n\n**The catalogue breaks off in the middle of its last line.**" if prepared.cut else ""
    text = f"# {prepared.catalogue}\n\n{shards}{cut}\n\n" + "\n".join(lines)
    create_markdown_artifact(text, key="prepare-summary", description="what became of every line")
