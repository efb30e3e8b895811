"""Quality and its page: an example of each rule beside what it was, bounded, and nothing of a row is markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import batch, languages, page, quality, settle, totals
from tasks.catalogue.plan import plan
from tasks.catalogue.quality import Quality
from tasks.catalogue.records import Finished
from tasks.recipe import loader

LONG = "A kettle of steel that holds two litres and has a handle of beech."
BLURB = "Our house has made goods of every kind since 1901, by hand and with care."


def row(uid: str, title: str, content: str) -> dict[str, str]:
    return {"uid": uid, "title": title, "content": content}


ROWS: list[Any] = [
    row("A1", "Kettle <script>alert(1)</script>", f"{LONG} It&#8217;s light."),
    row("A2", "Teapot", "Teapot"),
    row("A3", "Pan", ""),
    row("A1", "Kettle again", f"{LONG} And more of it."),
    row("A5", "Bowl", f"{LONG} A bowl."),
    row("A6", "Bowl", f"{LONG} A bowl."),
    *(row(f"B{n}", name, BLURB) for n, name in enumerate(("Red hat", "Old chair", "Garden gate", "Iron lamp"))),
    {"uid": "X", "title": "</script><img src=x onerror=alert(2)>"},
]


def looked(path: Path, rows: list[Any], *changes: str) -> Quality:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    recipe = loader.load(None, [f"catalogue.uri={path}", *changes])
    root = str(path.parent / "root")
    planned, rules = plan(recipe.catalogue, root), batch.rules_of(recipe.catalogue, recipe.clean, recipe.split)
    cleaned = batch.cleaned(planned.shards, rules, root)
    pairs = zip(cleaned, batch.repeats(cleaned, rules, root), strict=True)
    done = [Finished(shard=settle.settle(*pair, rules, f"{root}/settled", root)[0], exports=()) for pair in pairs]
    return quality.look(planned, rules, totals.total(planned, done))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Quality:
    return looked(tmp_path_factory.mktemp("quality") / "shop.json", ROWS)


def test_every_rule_that_left_lines_out_has_examples_as_they_were_and_as_they_are(found):
    assert {*found.prepared.dropped} == {*found.examples} - {"changed"}
    (changed,) = found.examples["changed"]
    assert changed.before[1].endswith("It&#8217;s light.") and changed.after[1].endswith("It\u2019s light.")
    (same,) = found.examples["same_uid"]
    assert (same.line, same.uid) == (4, "A1") and same.other.startswith("line 1: Kettle")
    assert found.examples["duplicates"][0].other == "line 5, uid A5"
    assert {one.uid for one in found.examples["shared_content"]} <= {"B0", "B1", "B2", "B3"}
    assert found.blurbs[0][0] == BLURB
    assert [one["rule"] for one in found.faults] == ["missing_content"]
    assert any("RIGHT SINGLE QUOTATION" in one.name and (one.before, one.after) == (0, 1) for one in found.characters)


def test_nothing_of_a_row_is_markup_and_the_page_needs_nothing_else(found):
    made = page.html(found)
    assert "alert(1)" in made and "<script>alert" not in made and "<img" not in made
    assert len(re.findall("<script", made)) == 2, "the quarantine's data and its search"
    assert not re.search(r"""(src|href)=["'](?!#)""", made) and "default-src 'none'" in made
    data = re.search(r'type="application/json">(.*?)</script>', made, re.DOTALL)
    assert data is not None and json.loads(data[1])[0]["uid"] == "X"


def test_a_large_catalogue_is_drawn_from_evenly_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "DRAWN", 100)
    rows = [row(f"U{n}", f"Thing number {n}", f"{LONG} It is number {n} and it&#8217;s new.") for n in range(2_000)]
    one = looked(tmp_path / "large.json", rows, "catalogue.lines_per_shard=500", "clean.same_uid=keep")
    assert 50 < one.drawn < 200 and len(one.examples["changed"]) == 2 * quality.EACH
    again = looked(tmp_path / "large.json", rows, "catalogue.lines_per_shard=500", "clean.same_uid=keep")
    assert again.examples == one.examples and again.drawn == one.drawn
    assert one.drift is not None and one.drift.new == (3,) and sum(n for _, n in one.lengths["content"]) == 2_000


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The lamp is made of oak and comes with a cable for the wall.", "English"),
        ("Die Lampe ist aus Eiche und wird mit einem Kabel für die Wand geliefert.", "German"),
        ("La lampe est en chêne et vendue avec un câble pour le mur.", "French"),
        ("オーク材のランプです", "Japanese"),
        ("Лампа из дуба", "Cyrillic"),
        ("XR-2000", "too little to say"),
        ("12 34", "no letters"),
    ],
)
def test_languages_are_guessed_well_enough_to_count(text, language):
    assert languages.guess(text) == language
