"""Calibrating: a catalogue's own cuts, measured once on questions made from its rows."""

from __future__ import annotations

from itertools import pairwise

import pytest

from deployments.demo import catalogue
from tasks.answers import calibrating, index, practice
from tasks.answers.calibrating import Bounds, Cuts
from tasks.answers.words import analyzer, stems
from tasks.core import store
from tests.kit.catalogues import line, run, source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An index of 1,000 lines of the demo's catalogue."""
    made = tmp_path_factory.mktemp("calibrating")
    catalogue.write(str(made / "demo.json"), 1_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(made))
        shards = run(source(made, (made / "demo.json").read_bytes(), per=5_000), made).prepared.shards
        index.update(made / "index", shards)
        yield made / "index"


@pytest.fixture(scope="module")
def judged(folder):
    return calibrating.judgements(calibrating.examples(index.Index(folder), 100), calibrating.brought().weights)


def test_the_cuts_are_the_lowest_within_the_bounds(judged):
    bounds = Bounds()
    cuts = calibrating.cut(judged, bounds)
    rates = calibrating.measured(judged, cuts)
    without = [1 - rates["hidden_declined"], 1 - rates["strange_declined"]]
    few = 1.5 / len(judged)  # a share of questions is rounded to whole ones
    assert rates["wrong"] <= bounds.wrong + few and rates["rowless_answered"] <= bounds.rowless + 2 * few
    assert without[0] <= bounds.shown + 2 * few and without[1] <= bounds.strange + 6 * few
    assert rates["right"] > 0.3, rates
    lower = calibrating.measured(judged, Cuts(answer=cuts.answer - 0.2, listed=cuts.listed - 0.2))
    assert sum(without) < 2 - lower["hidden_declined"] - lower["strange_declined"]


def test_wider_bounds_never_answer_less(judged):
    strict = Bounds(wrong=0.0, rowless=0.0, shown=0.0, strange=0.0)
    shares = [calibrating.measured(judged, calibrating.cut(judged, b)) for b in (strict, Bounds(), Bounds(wrong=0.2))]
    assert all(low["right"] <= high["right"] for low, high in pairwise(shares))


def test_a_catalogue_is_measured_once_and_again_when_it_has_grown_by_half(folder, monkeypatch):
    opened = index.Index(folder)
    held = calibrating.of(opened)
    assert store.kept(str(folder / "finding.json"), calibrating.Calibration) == held and held.rows == len(opened)
    monkeypatch.setattr(calibrating, "fitted", None)  # it would be called
    assert calibrating.of(index.Index(folder)) == held
    rows = held.rows
    assert [calibrating.fresh(held, n) for n in (rows, round(rows * 1.45), rows * 2, rows // 2)] == [1, 1, 0, 0]
    assert not calibrating.fresh(held.model_copy(update={"version": 0}), rows)


def test_a_damaged_calibration_is_measured_again(folder):
    held = calibrating.of(index.Index(folder))
    (folder / "finding.json").write_text('{"rows": 3')
    assert calibrating.of(index.Index(folder)) == held


TWINS = [
    line("B001", "Norwell Paint Studio 7 Deluxe", "Draw, paint and print on any computer, with forty brushes."),
    line(
        "B002",
        "Norwell Software Inc. NPS7D - Norwell Paint Studio v.7.0 Deluxe - Complete Package",
        "Art software with a paint brush, a pencil and a printer.",
    ),
    line("B003", "Norwell Paint Studio 6 Deluxe", "The paint program for children and their parents."),
    line("B004", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils."),
]


def test_a_listing_of_the_same_product_is_a_twin_and_another_version_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path))
    index.update(tmp_path / "index", run(source(tmp_path, TWINS), tmp_path).prepared.shards)
    opened = index.Index(tmp_path / "index")
    (row,) = opened.by_title("norwell paint studio 7 deluxe")
    assert [twin.row.uid for twin in practice.alike(row, opened)] == ["B002"]


@pytest.mark.parametrize(
    "text",
    [
        "Running the KX-TG4500B",
        "Mog\u2019s caf\u00e9",
        "a_b x2",
        "\u0939\u093f\u0928\u094d\u0926\u0940 Jeans",
        "x" * 60,
    ],
)
def test_stems_of_words_are_those_of_the_text(text):
    assert stems(text) == list(analyzer().analyze(text))
