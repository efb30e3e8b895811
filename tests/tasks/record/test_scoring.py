"""Scoring: MLflow's evaluation gets the verdict and the reasons."""

from __future__ import annotations

from tasks.answers import index
from tasks.record.scoring import holds
from tests.kit.catalogues import line, run, source

ROWS = [line("B001", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils.")]


def test_an_answer_is_scored_with_its_reasons(tmp_path):
    index.update(tmp_path / "index", run(source(tmp_path, ROWS), tmp_path).prepared.shards)
    score = holds(index.Index(tmp_path / "index"))
    inputs = {"question": "How much does it hold?", "uid": "B001"}
    good = score(inputs=inputs, outputs="A copper kettle that holds two litres.")
    bad = score(inputs=inputs, outputs="A copper kettle that holds five litres.")
    assert (good.value, bad.value, bad.metadata) == (True, False, {"uid": "B001"})
    assert "contradicted" in bad.rationale and "five" in bad.rationale
