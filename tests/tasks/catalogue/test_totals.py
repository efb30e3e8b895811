"""Totals: the shards added up, and an error where they do not, or where nothing is left to work with."""

from __future__ import annotations

import pytest

from tasks.catalogue.totals import total
from tasks.errors import CatalogueError
from tasks.models import CleanShard
from tests.tasks.catalogue.catalogues import line, lines, run, source

DATA = [*lines(5), line("B0BAD", title=7), line("B0BLANK", title=""), b"\n", *lines(2), line("B0SHORT", content="x")]


def test_shards_add_up(tmp_path):
    prepared = run(source(tmp_path, DATA, 4), tmp_path).prepared
    assert (prepared.lines, prepared.kept, prepared.quarantined, prepared.cut) == (11, 5, 1, False)
    assert prepared.dropped == {"blank_line": 1, "blank_title": 1, "duplicates": 2, "min_content": 1}
    assert [shard.index for shard in prepared.shards] == [0, 1, 2]
    assert sum(export.examples for export in prepared.exports) == sum(
        shard.splits["train"] + shard.splits["holdout"] for shard in prepared.shards
    )
    assert prepared.made == 3
    assert run(source(tmp_path, DATA, 4), tmp_path).prepared.model_dump() == prepared.model_dump() | {"made": 0}


@pytest.mark.parametrize("data", [[b"bad\n", b"worse\n"], [line(title=""), line(content="")], [b"\n"]])
def test_a_catalogue_with_no_usable_row_names_what_to_do(tmp_path, data):
    with pytest.raises(CatalogueError, match=r"holds no usable row: . lines, dropped .* look at"):
        run(source(tmp_path, data), tmp_path)


def test_a_line_that_is_not_accounted_for_is_an_error(tmp_path):
    done = run(source(tmp_path, DATA, 4), tmp_path)
    first: CleanShard = done.finished[0].shard
    wrong = done.finished[0].model_copy(update={"shard": first.model_copy(update={"kept": first.kept - 1})})
    with pytest.raises(CatalogueError, match="11 lines were planned and 10 are accounted for"):
        total(done.plan, [wrong, *done.finished[1:]])
