"""Questions: a fixed sample over everything that was exported, with the prompt hash that asking must reproduce."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import xxhash

from tasks.core import store
from tasks.core.models import CleanShard, Export, Frozen, Message
from tasks.examples.export import of_split, read_rows
from tasks.examples.grounding import Shelf
from tasks.examples.styles import ABSTAIN, STYLES, conversation, example
from tasks.examples.templates import prompt_hash


class Question(Frozen):
    """One product asked about: its row, the turns before the answer, and the prompt as the export has it.

    `content` is what an answer is measured by: the row's, or what `facts` teaches to answer, or, where its prompt
    leaves the row out, that none fits.
    """

    uid: str
    line: int
    shard: int
    title: str
    content: str
    messages: tuple[Message, ...]
    prompt_hash: str


def draw(exports: Sequence[Export], shards: Sequence[CleanShard], count: int, seed: int) -> tuple[Question, ...]:
    """The `count` rows with the smallest hash of (row, seed), over all `exports`; the same on every machine."""
    ranked = []
    for export in exports:
        hashes = read_rows(export, ["row_hash"])["row_hash"].to_pylist()[: export.examples - export.corrections]
        ranked += [(_rank(name, seed), export.shard, number) for number, name in enumerate(hashes)]
    chosen = sorted(ranked)[:count]
    by_shard = {export.shard: export for export in exports}
    clean = {shard.index: shard for shard in shards}
    found = {}
    for index in {shard for _, shard, _ in chosen}:
        numbers = sorted(number for _, shard, number in chosen if shard == index)
        for number, question in zip(numbers, _read(by_shard[index], clean[index], numbers), strict=True):
            found[index, number] = question
    return tuple(found[shard, number] for _, shard, number in chosen)


def _rank(row_hash: object, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(str(row_hash).encode(), seed=seed)


def _read(export: Export, shard: CleanShard, numbers: list[int]) -> list[Question]:
    """The examples with these numbers: their prompts from the export, their words from the clean shard."""
    lines = read_rows(export, ["line"])["line"].take(pa.array(numbers)).to_pylist()
    everything = of_split(store.check(shard.uri, shard.digest), export.split).to_pylist()
    shelf = Shelf(everything) if STYLES[export.style].grounded else None
    at = {row["line"]: number for number, row in enumerate(everything)}
    wanted, prompts = set(numbers), {}
    with store.reading(store.check(export.uri, export.digest)) as stream:
        for number, text in enumerate(stream):
            if number in wanted:
                prompts[number] = asked(json.loads(text))
    found = []
    for number, line in zip(numbers, lines, strict=True):
        row, place = everything[at[line]], at[line]
        turns, content = conversation(export.style, row["title"]), row["content"]
        if shelf is not None:
            turns, said = example(export.style, row, shelf.shown(place), shelf.missing(place))
            if STYLES[export.style].facts or said == ABSTAIN:
                content = said
        found.append(
            Question(
                shard=export.shard,
                messages=turns,
                prompt_hash=prompt_hash(prompts[number]),
                content=content,
                **{name: row[name] for name in ("uid", "line", "title")},
            )
        )
    return found


def asked(example: dict[str, object]) -> str:
    """The prompt part of one export line: rendered text for local formats, all turns but the answer for the others."""
    if "prompt" in example:
        return str(example["prompt"])
    turns = dict(example)
    for key in ("messages", "contents"):
        if isinstance(turns.get(key), list):
            turns[key] = list(turns[key])[:-1]  # type: ignore[call-overload]
    return json.dumps(turns, sort_keys=True, ensure_ascii=False)
