"""Styles: the grounded one shows the right row among others of the same split, and cites it."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.examples.export import export
from tasks.examples.grounding import MISSING, ROWS, Shelf, clip
from tasks.examples.questions import draw
from tasks.examples.styles import ABSTAIN
from tasks.recipe.model import Exporting
from tests.kit.rows import shard

MANY = [(f"Title {n}", f"Content of {n}") for n in range(30)]


def rows_of(count: int) -> list[dict[str, str]]:
    return [
        {"uid": f"U{n}", "row_hash": f"{n:032x}", "title": f"Title {n:03} {'red' if n < 2 else ''}"}
        for n in range(count)
    ]


def test_the_right_row_stands_among_others_at_changing_places_or_is_left_out():
    shelf, places, missing = Shelf(rows_of(120)), set(), 0
    for number in range(120):
        shown = [row["uid"] for row in shelf.shown(number)]
        assert len(set(shown)) == ROWS
        assert (f"U{number}" not in shown) == shelf.missing(number)
        missing += shelf.missing(number)
        places |= {shown.index(f"U{number}")} if f"U{number}" in shown else set()
    assert places == set(range(ROWS))
    assert 0.5 / MISSING < missing / 120 < 2 / MISSING


def test_the_row_with_the_likest_title_is_among_the_others():
    shelf = Shelf(rows_of(30))
    assert "U1" in [row["uid"] for row in shelf.shown(0)]
    assert "U0" in [row["uid"] for row in shelf.shown(1)]


def test_a_lonely_row_stands_alone():
    assert Shelf(rows_of(1)).shown(0) == rows_of(1)


def test_long_text_is_clipped_at_the_end_of_a_sentence():
    assert clip("Short.", 20) == "Short."
    assert clip("It is red. It is long. And it goes on", 24) == "It is red. It is long."
    assert clip("one long sentence of words", 12) == "one long"


def test_a_grounded_answer_cites_the_row_it_was_given_or_abstains(tmp_path):
    made = export(shard(tmp_path, MANY), Exporting(style="grounded"), "openai", "train", None, str(tmp_path))
    abstained = 0
    for number, text in enumerate(Path(made.uri).read_text().splitlines()):
        system, user, assistant = json.loads(text)["messages"]
        assert "square brackets" in system["content"]
        assert user["content"].endswith(f"What is the Title {number} product?")
        shown = f"[U{number}] Title {number}\nContent of {number}" in user["content"]
        assert assistant["content"] == (f"[U{number}] Content of {number}" if shown else ABSTAIN)
        abstained += not shown
    assert 0 < abstained < 30


def test_a_question_of_a_grounded_export_shows_the_same_rows(tmp_path):
    clean = shard(tmp_path, MANY)
    made = export(clean, Exporting(style="grounded"), "openai", "train", None, str(tmp_path))
    texts = Path(made.uri).read_text().splitlines()
    for question in draw([made], [clean], 30, seed=3):
        exported = json.loads(texts[question.line - 1])["messages"]
        assert (question.content == ABSTAIN) == (exported[-1]["content"] == ABSTAIN)
        assert [m.model_dump() for m in question.messages] == exported[:-1]
