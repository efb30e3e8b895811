"""Finding: how often the right product is found for questions of every form, and nothing for what is not there.

`python -m tests.benchmarks.retrieval CATALOGUE [--questions FILE] [--rows N]`: questions are made from
rows of the catalogue by another seed than those it was calibrated on. FILE has JSON lines of `question` and `expected`
(uids; none where the catalogue has no answer).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tasks.answers import calibrating, index
from tasks.answers.finding import Found, find
from tasks.answers.words import STOP, words
from tasks.core.models import CleanShard
from tasks.recipe import loader

Row = dict[str, str]
SEED = 7


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


@dataclass(frozen=True)
class Outcome:
    """What became of one question. `has`: the catalogue has what it is about."""

    kind: str
    has: bool
    found: Found
    right: bool = False  # answered, and from nothing but the right product
    first: bool = False  # or the right one is the first of a list
    among: bool = False  # or in it
    ms: float = 0.0

    @property
    def wrong(self) -> bool:
        return self.has and self.found.state in ("one", "each") and not self.right


def outcome(kind: str, question: str, opened: index.Index, keys: frozenset[str]) -> Outcome:
    """Ask and judge; `keys` are those of the titles that are right."""
    began = time.perf_counter()
    found = find(question, opened)
    ms = 1_000 * (time.perf_counter() - began)
    hits = [index.key_of(product.rows[0].title) in keys for product in found.products]
    right = (found.state == "one" and hits[:1] == [True]) or (found.state == "each" and all(hits) and bool(hits))
    listed = found.state == "several"
    first, among = right or (listed and hits[:1] == [True]), right or (listed and any(hits))
    if kind == "category":  # a list is its answer
        right = among and listed
    return Outcome(kind, bool(keys), found, right, first, among, ms)


def made(opened: index.Index, rows: int, seed: int = SEED) -> Iterator[Outcome]:
    """Questions made from the catalogue's rows, as calibrating makes them, by another seed."""
    for one in calibrating.examples(opened, rows, seed):
        one.index.calibration = opened.calibration
        yield outcome(one.of.kind, one.of.text, one.index, one.of.right)


def asked(path: str, opened: index.Index) -> Iterator[Outcome]:
    """Questions of a file; those that expect several products are right where all that answer are among them."""
    for line in Path(path).read_text().splitlines():
        told = json.loads(line)
        rows = [row for uid in told["expected"] if (row := opened.by_uid(uid))]
        yield outcome(
            told.get("kind", ""), told["question"], opened, frozenset(index.key_of(row.title) for row in rows)
        )


def table(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The shares that matter, and the time it took."""
    told = list(outcomes)
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for one in told:
        kinds["with a row" if one.has else "without a row"].append(one)
        kinds[one.kind].append(one)
    columns = {"right": "right", "first": "or first", "among": "or in it", "wrong": "wrong"}
    print(f"{'':24}{'asked':>7}" + "".join(f"{name:>10}" for name in (*columns.values(), "declined")))
    for kind in ("with a row", "without a row", *sorted(set(kinds) - {"with a row", "without a row"})):
        group = kinds[kind]
        cells = [f"{share(group, name):10.3f}" if group and group[0].has else f"{'':10}" for name in columns]
        declined = sum(o.found.state == "none" for o in group) / max(1, len(group))
        print(f"{kind:24}{len(group):7}{''.join(cells)}{declined:10.3f}")
    ms = sorted(o.ms for o in told)
    found = {"p50 ms": ms[len(ms) // 2], "p95 ms": ms[int(0.95 * len(ms))], "p99 ms": ms[int(0.99 * len(ms))]}
    print("  ".join(f"{name} {value:.1f}" for name, value in found.items()))
    with_row = kinds["with a row"]
    return found | {name: share(with_row, name) for name in ("right", "first", "among", "wrong")}


def share(group: list[Outcome], name: str) -> float:
    return sum(bool(getattr(one, name)) for one in group) / max(1, len(group))


def rows_of(catalogue: str) -> tuple[tuple[CleanShard, ...], list[Row]]:
    """The clean shards of a catalogue, and their rows."""
    from flows.prepare import prepare

    shards = prepare(loader.load(None, [f"catalogue.uri={catalogue}"])).shards
    rows = [r for s in shards for r in pq.read_table(s.uri, columns=["uid", "title", "content"]).to_pylist()]
    return shards, rows


def main() -> None:
    """Print the table for made questions, and for those of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogue")
    parser.add_argument("--questions")
    parser.add_argument("--rows", type=int, default=800, help="rows that questions are made from")
    options = parser.parse_args()
    from flows.prepare import prepare

    shards = prepare(loader.load(None, [f"catalogue.uri={options.catalogue}"])).shards
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        index.update(Path(folder), shards)
        built = time.process_time()
        opened = index.Index(folder)
        held = opened.calibration = calibrating.of(opened)
        fitted = time.process_time() - built
        print(f"{len(opened):,} rows; built in {built - began:.1f} CPU s, calibrated in {fitted:.1f}")
        print(f"cuts {held.cuts.answer:.3f} and {held.cuts.listed:.3f}; {held.questions:,} questions")
        table(made(opened, options.rows))
        status = Path("/proc/self/status").read_text()
        for name, line in (("peak", "VmHWM"), ("own", "RssAnon")):
            if told := re.search(rf"{line}:\s+(\d+)", status):
                print(f"{name} memory {int(told[1]) / 1024:.0f} MB")
        if options.questions:
            table(asked(options.questions, opened))


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main()
