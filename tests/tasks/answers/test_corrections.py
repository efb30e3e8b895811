"""Corrections become examples of rows that are trained on and say so; all others are left out with the reason."""

from __future__ import annotations

import json

import pytest

from tasks.answers import corrections
from tasks.answers.corrections import Correction
from tasks.core import store
from tasks.examples.export import export, read_rows
from tasks.examples.questions import draw
from tasks.examples.templates import Rendering
from tasks.recipe.model import Exporting
from tests.kit import models as kit
from tests.kit import rows

DRUMS = [(f"Drum {n}", f"The drum holds {n} red screws. It is made of steel.") for n in range(12)]
TENTS = [(f"Tent {n}", f"The tent is for {n} nights.") for n in range(6)]


def given(number: int, answer: str) -> Correction:
    return Correction(trace=f"tr-{number}", question=f"What is in drum {number}?", uid=f"U{number}", answer=answer)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    return rows.shard(tmp_path_factory.mktemp("rows"), DRUMS)


def test_what_the_row_does_not_say_or_is_held_out_or_gone_is_left_out_with_the_reason(shard, tmp_path):
    held = rows.shard(tmp_path, TENTS, "holdout")
    said, false, gone = given(3, "It holds 3 red screws."), given(4, "It holds 99 red screws."), given(77, "It is red.")
    kept, left_out = corrections.usable([said, false, gone], [shard])
    assert [one.correction for one in kept] == [said]
    assert [one.trace for one, _ in left_out] == ["tr-4", "tr-77"] and "no row 'U77'" in left_out[1][1]
    assert "does not say" in left_out[0][1]
    kept, left_out = corrections.usable([given(2, "The tent is for 2 nights.")], [held])
    assert kept == [] and "is holdout" in left_out[0][1]


@pytest.mark.parametrize("style", ["grounded", "describe"])
@pytest.mark.parametrize("format", ["openai", "chat", "alpaca"])
def test_they_are_the_last_examples_and_are_never_drawn_as_questions(shard, tmp_path, style, format):
    rendering = None
    if format != "openai":
        kit.build(tmp_path / "base", "llama", chat=format == "chat")
        rendering = Rendering(template=format, tokenizer=str(tmp_path / "base"), max_length=4_000)
    plain = export(shard, Exporting(style=style, formats=(format,)), format, "train", rendering, str(tmp_path))
    kept, _ = corrections.usable([given(3, "It holds 3 red screws."), given(5, "It is made of steel.")], [shard])
    made = corrections.added(plain, kept, [shard], rendering, str(tmp_path))
    assert made == corrections.added(plain, kept, [shard], rendering, str(tmp_path))
    assert (made.examples, made.corrections) == (plain.examples + 2, 2) and made.digest != plain.digest
    before, after = (store.reading(one.uri).read().splitlines() for one in (plain, made))
    assert after[: len(before)] == before
    last = json.loads(after[-1])
    answer = last["completion"] if "completion" in last else last["messages"][-1]["content"]
    assert "It is made of steel." in answer and answer.startswith("[U5]") == (style == "grounded")
    assert ("What is in drum 5?" in after[-1].decode()) == (style == "grounded")
    beside = read_rows(made).to_pylist()
    assert [row["uid"] for row in beside[-2:]] == ["U3", "U5"] and (rendering is None) == (beside[-1]["tokens"] is None)
    if rendering:
        assert made.tokens == plain.tokens + sum(row["tokens"] for row in beside[-2:])
    asked = draw([made], [shard], 100, 1)
    assert len(asked) == plain.examples and asked == draw([plain], [shard], 100, 1)
