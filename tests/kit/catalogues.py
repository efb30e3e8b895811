"""Small catalogues made on the spot, and prepare without the orchestrator: the same functions, one after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from tasks.catalogue import batch, clean
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Cleaned, Finished, Repeats, Rules
from tasks.catalogue.totals import total
from tasks.core import store
from tasks.core.models import CleanShard, Plan, Prepared
from tasks.recipe import model
from tasks.recipe.model import Recipe

CONTENT = "A copper kettle that holds two litres and sings when it boils."


def line(uid: str = "B01", title: str = "Copper Kettle", content: str = CONTENT, **more: object) -> bytes:
    """One catalogue line, its end included."""
    return json.dumps({"uid": uid, "title": title, "content": content} | more).encode() + b"\n"


def lines(count: int, start: int = 0) -> list[bytes]:
    """Good lines, no two the same."""
    return [
        line(f"U{n}", f"Kettle {n}", f"Kettle number {n} of a long row of kettles.")
        for n in range(start, start + count)
    ]


class Done(NamedTuple):
    """What each step of prepare made."""

    plan: Plan
    cleaned: tuple[Cleaned, ...]
    repeats: tuple[Repeats, ...]
    finished: tuple[Finished, ...]
    prepared: Prepared


def source(folder: Path, data: bytes | list[bytes], per: int = 10, name: str = "catalogue.json") -> model.Catalogue:
    """`data` as a file, to be cut into shards of `per` lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else b"".join(data))
    return model.Catalogue(uri=str(path), lines_per_shard=per)


def run(catalogue: model.Catalogue, root: Path, **changes: object) -> Done:
    """Prepare `catalogue` under `root`; `changes` replace parts of the recipe."""
    chosen = Recipe.model_validate({"catalogue": catalogue.model_dump(), **changes})
    planned, rules = plan(chosen.catalogue, str(root)), batch.rules_of(chosen.catalogue, chosen.clean, chosen.split)
    cleaned = batch.cleaned(planned.shards, rules, str(root))
    repeats = batch.repeats(cleaned, rules, str(root))
    folder = batch.folder_of(planned, chosen.catalogue, rules, str(root))
    pairs = list(zip(cleaned, repeats, strict=True))
    finished = batch.finished(pairs, rules, chosen.export, None, folder, str(root))
    most = chosen.catalogue.max_quarantined_share
    return Done(planned, cleaned, repeats, finished, total(planned, finished, most))


def cleaned(folder: Path, data: bytes | list[bytes], rules: Rules | None = None, per: int = 10_000) -> list[Cleaned]:
    """The shards of `data` after cleaning."""
    planned = plan(source(folder, data, per), str(folder))
    return [clean.clean(shard, rules or Rules(), str(folder)) for shard in planned.shards]


def rows(shard: CleanShard) -> list[dict[str, object]]:
    """The rows of a clean shard."""
    with store.reading(shard.uri) as stream:
        rows: list[dict[str, object]] = pq.read_table(stream).to_pylist()
    return rows


def quarantine(shard: CleanShard | Cleaned) -> list[tuple[int, str | None, str]]:
    """Line, uid and rule of each quarantined line."""
    if shard.quarantine_uri is None:
        return []
    entries = [json.loads(each) for each in Path(shard.quarantine_uri).read_text(encoding="utf-8").split("\n")[:-1]]
    return [(one["line"], one["uid"], one["rule"]) for one in entries]
