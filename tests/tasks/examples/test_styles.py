"""Styles: the grounded one shows the right row among others of the same split, and cites it."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.examples.export import export
from tasks.examples.grounding import ROWS, context
from tasks.examples.questions import draw
from tasks.recipe import Exporting
from tests.tasks.examples.rows import shard

MANY = [(f"Title {n}", f"Content of {n}") for n in range(30)]


def test_the_right_row_stands_among_others_at_changing_places():
    rows = [{"uid": f"U{n}", "row_hash": f"{n:032x}"} for n in range(30)]
    places = set()
    for number in range(30):
        shown = context(rows, number)
        assert len({row["uid"] for row in shown}) == ROWS
        places.add([row["uid"] for row in shown].index(f"U{number}"))
    assert places == set(range(ROWS))


def test_a_lonely_row_stands_alone():
    rows = [{"uid": "U0", "row_hash": "0"}]
    assert context(rows, 0) == rows


def test_a_grounded_answer_cites_the_row_it_was_given(tmp_path):
    made = export(shard(tmp_path, MANY), Exporting(style="grounded"), "openai", "train", None, str(tmp_path))
    for number, text in enumerate(Path(made.uri).read_text().splitlines()):
        system, user, assistant = json.loads(text)["messages"]
        assert "square brackets" in system["content"]
        assert f"[U{number}] Title {number}\nContent of {number}" in user["content"]
        assert user["content"].endswith(f"What is the Title {number} product?")
        assert assistant["content"] == f"Content of {number} [U{number}]"


def test_a_question_of_a_grounded_export_shows_the_same_rows(tmp_path):
    clean = shard(tmp_path, MANY)
    made = export(clean, Exporting(style="grounded"), "openai", "train", None, str(tmp_path))
    texts = Path(made.uri).read_text().splitlines()
    for question in draw([made], [clean], 5, seed=3):
        exported = json.loads(texts[question.line - 1])["messages"]
        assert [m.model_dump() for m in question.messages] == exported[:-1]
