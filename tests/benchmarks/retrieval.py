"""Retrieval quality on a catalogue of real rows: is the right row found, and is nothing found where it is not there.

`python -m tests.benchmarks.retrieval CATALOGUE [OTHER]`: every kept row is asked for by its title, by its title with a
slip of the pen or a word left out, and by a sentence of its description; then with its own rows hidden. Titles of
another catalogue are asked for too.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from tasks.answers import index
from tasks.answers.words import STOP, words
from tasks.core.models import CleanShard
from tasks.recipe import loader

Row = dict[str, str]


def typo(title: str, chance: random.Random) -> str | None:
    """The title with two letters of one word swapped or one left out; None where no word is long enough."""
    long = re.findall(r"[A-Za-z]{5,}", title)
    if not long:
        return None
    word = chance.choice(long)
    at = chance.randrange(1, len(word) - 2)
    wrong = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :] if chance.random() < 0.5 else word[:at] + word[at + 1 :]
    )
    return title.replace(word, wrong, 1)


def dropped(title: str, chance: random.Random) -> str | None:
    """The title without one of its words; None where fewer than four tell anything."""
    telling = [w for w in title.split() if w.lower() not in STOP]
    if len(telling) < 4:
        return None
    return " ".join(title.split()).replace(chance.choice(telling), "", 1)


def sentence(content: str, chance: random.Random) -> str | None:
    """A sentence of eight to thirty words of the description; None where there is none."""
    found = [s for s in re.split(r"(?<=[.!?])\s+", content) if 8 <= len(words(s)) <= 30]
    return chance.choice(found) if found else None


def measured(folder: str, rows: Sequence[Row], others: Sequence[str], seed: int = 1) -> dict[str, float]:
    """Recall of the right row (by title), first or among five, and how often nothing fits where nothing should."""
    opened, chance, found = index.Index(folder), random.Random(seed), {}
    ways: dict[str, Callable[[Row], str | None]] = {
        "title": lambda row: row["title"],
        "title with a slip": lambda row: typo(row["title"], chance),
        "title, a word left out": lambda row: dropped(row["title"], chance),
        "sentence of the description": lambda row: sentence(row["content"], chance),
    }
    for name, made in ways.items():
        asked = [(row, text) for row in rows if (text := made(row))]
        ranked = [[index.key_of(c.row.title) for c in opened.candidates(text)] for _, text in asked]
        right = [index.key_of(row["title"]) for row, _ in asked]
        fits = [bool(got and got[0].fits) for got in (opened.candidates(text, 1) for _, text in asked)]
        found[f"{name}: recall@1"] = sum(r[:1] == [k] for r, k in zip(ranked, right, strict=True)) / len(asked)
        found[f"{name}: recall@5"] = sum(k in r for r, k in zip(ranked, right, strict=True)) / len(asked)
        found[f"{name}: first one fits"] = sum(fits) / len(asked)
    alone = [not any(c.fits for c in opened.candidates(row["title"], hidden=row["title"])) for row in rows]
    found["its rows hidden: nothing fits"] = sum(alone) / len(alone)
    if others:
        strange = [not any(c.fits for c in opened.candidates(title)) for title in others]
        found["title of another catalogue: nothing fits"] = sum(strange) / len(strange)
    return found


def rows_of(catalogue: str) -> tuple[tuple[CleanShard, ...], list[Row]]:
    """The clean shards of a catalogue, and their rows."""
    from flows.prepare import prepare

    shards = prepare(loader.load(None, [f"catalogue.uri={catalogue}"])).shards
    rows = [r for s in shards for r in pq.read_table(s.uri, columns=["uid", "title", "content"]).to_pylist()]
    return shards, rows


def main(catalogue: str, other: str | None = None) -> None:
    """Print one line a measure."""
    shards, rows = rows_of(catalogue)
    others = [row["title"] for row in rows_of(other)[1]] if other else []
    with tempfile.TemporaryDirectory() as folder:
        index.update(Path(folder), shards)
        for name, value in measured(folder, rows, others).items():
            print(f"{name:48}{value:8.3f}")


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main(*sys.argv[1:])
