"""Facts: the further columns of products, read back from the clean shards that carry them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core import store
from tasks.core.errors import RecipeError
from tasks.core.models import CleanShard

COLUMN = "facts"
SHOWN = 8  # values in an error
MOST = 10_000  # values of a fact that are counted for it


def of(shards: Sequence[CleanShard], lines: Iterable[tuple[int, int]]) -> dict[int, dict[str, str]]:
    """The facts of rows by their catalogue line, {} where none are carried; `lines` are (number of the shard, line)."""
    wanted: dict[int, set[int]] = {}
    for shard, line in lines:
        wanted.setdefault(shard, set()).add(line)
    found: dict[int, dict[str, str]] = {}
    for one in shards:
        if one.index not in wanted:
            continue
        with store.reading(store.check(one.uri, one.digest)) as stream, pq.ParquetFile(stream) as parquet:
            if COLUMN not in parquet.schema_arrow.names:
                continue
            for batch in parquet.iter_batches(columns=["line", COLUMN]):
                named = batch.filter(pc.is_in(batch["line"], pa.array(sorted(wanted[one.index]), pa.int64())))
                rows = zip(named["line"].to_pylist(), named[COLUMN].to_pylist(), strict=True)
                found |= {line: json.loads(told) for line, told in rows}
    return found


def having(shards: Sequence[CleanShard], where: Sequence[str]) -> set[str]:
    """The uids of rows that have every fact of `where`, each as NAME=VALUE; case and blanks at the ends do not count.

    RecipeError where a condition is none, or where no row fits; it names the facts, or the commonest values, there are.
    """
    wanted = dict(_condition(one) for one in where)
    found: set[str] = set()
    seen: dict[str, Counter[str]] = {name: Counter() for name in wanted}
    names: set[str] = set()
    for uid, facts in _rows(shards):
        names.update(facts)
        held = {name: facts[name].strip() for name in wanted if name in facts}
        for name, value in held.items():
            if len(seen[name]) < MOST or value in seen[name]:
                seen[name][value] += 1
        if len(held) == len(wanted) and all(held[name].casefold() == value for name, value in wanted.items()):
            found.add(uid)
    if not found:
        raise RecipeError(f"no row has {' and '.join(map(repr, where))}: {_there(names, seen)}")
    return found


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RecipeError(f"{text!r} is no condition: write NAME=VALUE, such as brand=Acme")
    return name.strip(), value.strip().casefold()


def _rows(shards: Sequence[CleanShard]) -> Iterator[tuple[str, dict[str, str]]]:
    """uid and facts of every row that carries some."""
    for one in shards:
        with store.reading(store.check(one.uri, one.digest)) as stream, pq.ParquetFile(stream) as parquet:
            if COLUMN in parquet.schema_arrow.names:
                for batch in parquet.iter_batches(columns=["uid", COLUMN]):
                    for uid, told in zip(batch["uid"].to_pylist(), batch[COLUMN].to_pylist(), strict=True):
                        yield uid, json.loads(told)


def _there(names: set[str], seen: dict[str, Counter[str]]) -> str:
    """What could be asked for instead."""
    if not names:
        return "its rows carry no facts; name columns under catalogue.fields.facts"
    if unknown := sorted({*seen} - names):
        return f"{unknown[0]!r} is no fact; there are {', '.join(sorted(names))}"
    common = {name: ", ".join(repr(value) for value, _ in values.most_common(SHOWN)) for name, values in seen.items()}
    return "; ".join(f"the commonest of {name} are {values}" for name, values in common.items())
