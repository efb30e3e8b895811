"""Flow prepare, whole, on a Prefect server: what it makes, and what it does not make again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.prepare import prepare
from tasks.recipe import Recipe
from tests.benchmarks import catalogue

pytestmark = pytest.mark.usefixtures("orchestrator")

LINES = 1_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A made-up catalogue with every kind of bad line, the last one cut short."""
    path = tmp_path / "catalogue.json"
    catalogue.write(str(path), LINES, faults=True)
    return path


def recipe(source: Path, **changes: object) -> Recipe:
    """A recipe of small shards; `changes` replace whole parts of it."""
    whole = {"catalogue": {"uri": str(source), "lines_per_shard": 200}, "name": "test"} | changes
    return Recipe.model_validate(whole)


def test_every_line_is_accounted_for(source):
    prepared = prepare(recipe(source))
    assert prepared.lines == LINES + len(catalogue.bad_lines()) + 1
    assert prepared.lines == prepared.kept + sum(prepared.dropped.values()) + prepared.quarantined
    assert prepared.cut
    assert prepared.made == len(prepared.shards) == 6
