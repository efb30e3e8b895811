"""Overlap: near duplicates between training and holdout are found, told with examples, and left out by recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.core import store
from tasks.examples import overlap
from tests.kit.catalogues import line, run, source

WORDS = (
    "amber basil cedar delta ember fjord grove hazel ivory jade kite lemon maple north olive pearl quartz river".split()
)


def text(seed: int, many: int = 40) -> str:
    return " ".join(
        WORDS[(seed * 7 + n * n * (seed % 5 + 1)) % len(WORDS)] + str((seed * 31 + n) % 97) for n in range(many)
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    place = tmp_path_factory.mktemp("overlap")
    plain = [line(f"U{n:03}", f"Thing {n}", text(n)) for n in range(120)]
    done = run(source(place, plain, per=1_000), place, split={"holdout_share": 0.4}).prepared
    (held,) = [e for e in done.exports if e.split == "holdout"]
    twins = [row.text.partition("\n")[2] for row in overlap.rows([held], done.shards)][:3]
    # Held-out contents with their first word changed, under titles of their own.
    near = [line(f"N{n:03}", f"Copy {n}", f"other{n} {twins[n % 3].partition(' ')[2]}") for n in range(30)]
    return run(source(place, plain + near, per=1_000, name="more.json"), place, split={"holdout_share": 0.4}).prepared


def found(prepared, drop: bool = False, threshold: float = 0.8) -> overlap.KeptApart:
    train, held = ([e for e in prepared.exports if e.split == s] for s in ("train", "holdout"))
    return overlap.between(train, held, prepared.shards, threshold, drop)


def slowly(prepared, threshold: float = 0.8) -> dict[str, float]:
    """The same by comparing every two rows."""
    train, held = (
        list(overlap.rows([e for e in prepared.exports if e.split == s], prepared.shards)) for s in ("train", "holdout")
    )
    best = {}
    for row in train:
        mine = overlap.shingles(row.text)
        near = max(len(mine & (o := overlap.shingles(h.text))) / len(mine | o) for h in held)
        if near >= threshold:
            best[row.uid] = round(near, 4)
    return best


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_every_near_duplicate_is_found_and_nothing_else(prepared, threshold):
    expected = slowly(prepared, threshold)
    told = found(prepared, threshold=threshold).overlap
    assert expected and told.near == len(expected)
    assert {p.uid: p.similarity for p in told.pairs}.items() <= expected.items()
    assert all(uid.startswith("N") for uid in expected) and told.held_near <= 3


def test_the_report_has_examples_likest_first(prepared):
    told = found(prepared).overlap
    assert [p.similarity for p in told.pairs] == sorted((p.similarity for p in told.pairs), reverse=True)
    assert told.pairs[0].text.startswith("Copy") and told.pairs[0].held_text.startswith("Thing")
    assert (told.dropped, told.trained) == (False, sum(e.examples for e in prepared.exports if e.split == "train"))


def test_what_is_dropped_is_gone_from_training_and_listed(prepared):
    apart = found(prepared, drop=True)
    assert found(prepared).train == tuple(e for e in prepared.exports if e.split == "train")
    (before,), (after,) = found(prepared).train, apart.train
    assert after.examples == before.examples - apart.overlap.near and after.digest != before.digest
    with store.reading(after.uri) as stream:
        assert sum(1 for _ in stream) == after.examples
    again = overlap.between([after], [e for e in prepared.exports if e.split == "holdout"], prepared.shards, 0.8, False)
    assert again.overlap.near == 0
    listed = [
        json.loads(row) for row in Path(after.uri.replace(".jsonl", ".quarantine.jsonl")).read_text().splitlines()
    ]
    assert len(listed) == apart.overlap.near and listed[0]["rule"].startswith("near duplicate: of held-out")
