"""The same work in several ways: `python -m tests.benchmarks.contenders NAME CATALOGUE FOLDER`.

Read, clean (entities, tags, white space, blank titles and contents), Parquet, chat JSON lines of all kept rows. What
shardtune does besides (quarantine, boilerplate, junk, duplicates, splits, digests) is in its time too. The last line
printed is JSON: `kept` rows, and what else the contender measured of itself.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

TAG = re.compile(r"<[^>]+>")
SPACE = re.compile(r"\s+")
OWN = {"uid": "asin", "title": "product_name", "content": "description"}  # columns of tables
QUESTION = "Describe the product: "


def one(text: str) -> str:
    """The usual cleaning function of a notebook."""
    return SPACE.sub(" ", TAG.sub(" ", html.unescape(text))).strip()


def pandas(catalogue: str, folder: Path) -> dict[str, Any]:
    """As notebooks do it: the whole file in memory, a Python function on each text."""
    import pandas as pd

    frame = pd.read_json(catalogue, lines=True, dtype={"uid": str})[["uid", "title", "content"]]
    frame["title"], frame["content"] = frame["title"].map(one), frame["content"].map(one)
    frame = frame[(frame["title"] != "") & (frame["content"] != "")]
    frame.to_parquet(folder / "clean.parquet", compression="zstd")
    with (folder / "chat.jsonl").open("w") as out:
        for title, content in zip(frame["title"], frame["content"], strict=True):
            out.write(json.dumps(chat(title, content)) + "\n")
    return {"kept": len(frame)}


def datasets(catalogue: str, folder: Path) -> dict[str, Any]:
    """Hugging Face datasets, two processes."""
    import datasets as hf

    hf.disable_progress_bars()
    text = hf.Value("string")
    features = hf.Features(
        {"uid": text, "title": text, "content": text}
        | {"target_ind": hf.List(hf.Value("int64")), "target_rel": hf.List(hf.Value("float64"))}
    )
    cache = str(folder / "cache")
    if (shape := Path(catalogue).suffix[1:]) == "json":
        rows = hf.load_dataset("json", data_files=catalogue, split="train", features=features, cache_dir=cache)
    else:
        table = hf.Features(dict.fromkeys((*OWN.values(), "price"), text))
        known = {"json": "json", "jsonl": "json", "csv": "csv", "parquet": "parquet"}[shape]
        how: dict[str, Any] = {"keep_default_na": False, "features": table} if shape == "csv" else {}
        rows = hf.load_dataset(known, data_files=catalogue, split="train", cache_dir=cache, **how)
        rows = rows.rename_columns({theirs: ours for ours, theirs in OWN.items()})
    rows = rows.select_columns(["uid", "title", "content"])
    rows = rows.map(_clean_batch, batched=True, num_proc=2)
    rows = rows.filter(_usable, batched=True, num_proc=2)
    rows.to_parquet(folder / "clean.parquet")
    talk = rows.map(_chat_batch, batched=True, num_proc=2, remove_columns=rows.column_names)
    talk.to_json(folder / "chat.jsonl", num_proc=2)
    return {"kept": len(rows)}


def _clean_batch(batch: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"title": [one(t) for t in batch["title"]], "content": [one(t) for t in batch["content"]]}


def _usable(batch: dict[str, list[str]]) -> list[bool]:
    return [bool(title and content) for title, content in zip(batch["title"], batch["content"], strict=True)]


def _chat_batch(batch: dict[str, list[str]]) -> dict[str, Any]:
    return {"messages": [chat(t, c)["messages"] for t, c in zip(batch["title"], batch["content"], strict=True)]}


def chat(title: str, content: str) -> dict[str, Any]:
    """One example in OpenAI's shape."""
    return {"messages": [{"role": "user", "content": QUESTION + title}, {"role": "assistant", "content": content}]}


def duckdb(catalogue: str, folder: Path) -> dict[str, Any]:
    """DuckDB SQL. It has no function for entities, so the 26 of the catalogue are replaced by name."""
    import duckdb as db

    from deployments.demo import words

    names = [pair.split()[0] for pair in words.ENTITIES.split("|")] + list(words.WINDOWS)
    text = "t"
    for name in names:
        text = f"replace({text}, '{name}', '{html.unescape(name)}')"
    connection = db.connect()
    connection.execute("SET threads = 2")
    connection.execute(f"CREATE MACRO entities(t) AS CASE WHEN contains(t, '&') THEN {text} ELSE t END")
    untagged = "regexp_replace(entities(t), '<[^>]+>', ' ', 'g')"
    connection.execute(rf"CREATE MACRO one(t) AS trim(regexp_replace({untagged}, '\s+', ' ', 'g'))")
    columns = "{uid: 'VARCHAR', title: 'VARCHAR', content: 'VARCHAR'}"
    parquet, talk = folder / "clean.parquet", folder / "chat.jsonl"
    connection.execute(
        f"COPY (SELECT * FROM (SELECT uid, one(title) AS title, one(content) AS content FROM read_json('{catalogue}', "
        f"format = 'newline_delimited', columns = {columns})) WHERE title <> '' AND content <> '') "
        f"TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)"
    )
    connection.execute(
        f"COPY (SELECT [{{'role': 'user', 'content': '{QUESTION}' || title}}, "
        f"{{'role': 'assistant', 'content': content}}] AS messages FROM '{parquet}') TO '{talk}' (FORMAT json)"
    )
    return {"kept": connection.execute(f"SELECT count(*) FROM '{parquet}'").fetchall()[0][0]}


def shardtune(catalogue: str, folder: Path) -> dict[str, Any]:
    """Ours without the orchestrator: the functions that its tasks wrap, one after the other."""
    from tasks.catalogue import batch, card, pool
    from tasks.catalogue.plan import plan
    from tasks.catalogue.totals import total

    recipe, root = _recipe(catalogue), str(folder)
    rules = batch.rules_of(recipe.catalogue, recipe.clean, recipe.split)
    marks = [time.perf_counter()]
    with pool.opened():
        planned = plan(recipe.catalogue, root)
        marks.append(time.perf_counter())
        cleaned = batch.cleaned(planned.shards, rules, root)
        marks.append(time.perf_counter())
        pairs = tuple(zip(cleaned, batch.repeats(cleaned, rules, root), strict=True))
        finished = batch.finished(
            pairs, rules, recipe.export, None, batch.folder_of(planned, recipe.catalogue, rules, root), root
        )
        marks.append(time.perf_counter())
    prepared = total(planned, finished)
    card.write(prepared)
    took = (after - before for before, after in pairwise(marks))
    return {"kept": prepared.kept, "steps": dict(zip(("plan", "clean", "finish"), took, strict=True))}


def flow(catalogue: str, folder: Path) -> dict[str, Any]:
    """Ours as a Prefect flow: start-up apart, then in full, then with nothing to do, then with one shard more."""
    os.environ["SHARDTUNE_ROOT"] = str(folder)
    started = time.perf_counter()
    from tasks.core import settings

    settings.enter()
    os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
    import prefect

    from flows.prepare import prepare

    prefect.flow(lambda: None, name="nothing")()
    took = {"start-up": time.perf_counter() - started}
    recipe, grown = _recipe(catalogue), folder / "grown.json"
    made, results, cpu = {}, {}, 0.0
    for name in ("full", "no-op", "appended"):
        if name == "appended":
            _grow(catalogue, grown)
            prepare(_recipe(str(grown)))  # not timed: the same catalogue under the name that then grows
            _grow(catalogue, grown, more=True)
            recipe = _recipe(str(grown))
        started, before = time.perf_counter(), _cpu()
        results[name] = prepare(recipe)
        took[name] = time.perf_counter() - started
        made[name] = results[name].made
        cpu = cpu or _cpu() - before
    took["plan"] = _planned(str(grown), folder / "plan")
    lines = results["appended"].shards[-1].lines
    told = {"wall": took["full"], "cpu": cpu, "kept": results["full"].kept, "appended_lines": lines}
    return told | {"steps": took, "made": made}


def _cpu() -> float:
    """CPU seconds of this process and of all its children so far."""
    own = os.times()
    living = [c.cpu_times() for c in psutil.Process().children(recursive=True)]
    return sum(own[:4]) + sum(c.user + c.system for c in living)


def _planned(catalogue: str, root: Path) -> float:
    """Seconds of one planning pass."""
    from tasks.catalogue.plan import plan

    started = time.perf_counter()
    plan(_recipe(catalogue).catalogue, str(root))
    return time.perf_counter() - started


def _grow(catalogue: str, grown: Path, more: bool = False) -> None:
    """A copy of whole shards of the catalogue; `more` appends one shard of other lines to it."""
    lines = _recipe(catalogue).catalogue.lines_per_shard
    with open(catalogue, "rb") as source:
        if not more:
            with grown.open("wb") as out:
                shard = [line for _, line in zip(range(lines), source, strict=False)]
                while len(shard) == lines:
                    out.writelines(shard)
                    shard = [line for _, line in zip(range(lines), source, strict=False)]
            return
        with grown.open("ab") as out:
            for _, line in zip(range(lines), source, strict=False):
                out.write(line.replace(b'"content": "', b'"content": "Newly in: ', 1))


def _recipe(catalogue: str) -> Any:
    from tasks.recipe.model import Recipe

    # With no holdout every kept row is exported, as with the others.
    place: dict[str, Any] = {"uri": catalogue}
    if not catalogue.endswith(".json"):
        place["fields"] = OWN
    return Recipe.model_validate({"name": "bench", "catalogue": place, "split": {"holdout_share": 0.0}})


WAYS = {way.__name__: way for way in (shardtune, flow, duckdb, datasets, pandas)}


if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
