"""The check's own error rate, on 200 planted answers about made-up products."""

from __future__ import annotations

from collections import Counter

import pytest

from deployments.demo import catalogue
from tasks.answers.index import IndexedRow
from tests.benchmarks import planted
from tests.kit import catalogues


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[IndexedRow]:
    place = tmp_path_factory.mktemp("planted")
    catalogue.write(str(place / "catalogue.json"), 1_500)
    data = (place / "catalogue.json").read_bytes()
    (shard,) = catalogues.run(catalogues.source(place, data, per=5_000), place).prepared.shards
    return [
        IndexedRow(shard=0, digest="", **{name: row[name] for name in ("uid", "title", "content", "line")})
        for row in catalogues.rows(shard)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_of_200_planted_answers_few_are_misjudged(rows, seed):
    answers = planted.planted(rows, 200, seed)
    assert Counter(p.altered is None for p in answers) == {True: 100, False: 100}
    assert {p.altered for p in answers} == {None, "number", "name", "material", "other_row"}
    accepted, rejected, wrong = planted.rates(answers)
    assert accepted <= 0.03 and rejected <= 0.05, wrong
