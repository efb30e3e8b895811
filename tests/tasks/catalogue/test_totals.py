"""Totals: the shards added up, and an error where they do not, or where nothing is left to work with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.catalogue.totals import total
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard
from tests.kit.catalogues import line, lines, run, source

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


# The product file of UCSD's Amazon data of 2018 names its columns so.
OWN = line(asin="0000031852", title="Girls Ballet Tutu Zebra Hot Pink", description="A tutu.").replace(b'"uid"', b'"u"')


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            [b"bad\n", b"worse\n"],
            r"quarantine {'malformed_json': 2}; the first is line 1, malformed_json \(Expecting.*",
        ),
        ([b"\n", b'{"uid": "1", "title": "x",}\n'], r"line 2, malformed_json \(Expecting property name .*"),
        ([line(title=""), line(content="")], r"2 lines, dropped {.*} \(look at the rules under `clean`\)"),
        ([b"\n"], r"1 lines, dropped {'blank_line': 1} \(look at"),
        (
            [OWN.replace(b'"title"', b'"name"')],
            r"missing_uid \(its keys are 'u', 'name', .*: say under catalogue.fields which",
        ),
        ([b'{"product": {"uid": "1"}}\n'], r"its key 'product' holds the row: say `uid: product.uid`"),
        ([line(content=["A", "list"])], r"wrong_type \(content is list, and should be text\)"),
        ([b'["U1", "Kettle", "A kettle"]\n'], r"wrong_type \(a line must be one object with uid, title, content\)"),
        ([line().replace(b"Copper", b"Caf\xe9")], r"invalid_utf8 \(save the file as UTF-8\)"),
    ],
)
def test_a_catalogue_with_no_usable_row_says_why_and_what_to_do(tmp_path, data, told):
    with pytest.raises(CatalogueError, match=f"holds no usable row: .*{told}") as refused:
        run(source(tmp_path, data), tmp_path)
    if "quarantine" in str(refused.value):
        listed = str(refused.value).rpartition("all of them: ")[2]
        assert json.loads(Path(listed).read_text().splitlines()[0])["rule"] in str(refused.value)


def test_the_first_bad_line_is_found_in_whatever_shard_it_is(tmp_path):
    data = [*(line(str(n), title="") for n in range(7)), b'{"uid": 1}\n', b"\n"]
    with pytest.raises(
        CatalogueError, match=r"the first is line 8, missing_title \(its keys are 'uid': say under catalogue"
    ):
        run(source(tmp_path, data, 3), tmp_path)


def test_more_quarantine_than_the_bound_is_an_error_with_its_counts(tmp_path):
    data = [line("U1"), *[b"not json\n"] * 2]
    with pytest.raises(
        CatalogueError, match=r"2 of the 3 lines of .* more than the share 0.5 that .*line 2, malformed_json"
    ):
        run(source(tmp_path, data), tmp_path)
    own = source(tmp_path, data).model_copy(update={"max_quarantined_share": 0.7})
    prepared = run(own, tmp_path).prepared
    assert (prepared.kept, prepared.reasons) == (1, {"malformed_json": 2})
    assert run(source(tmp_path, [line("U1"), b"not json\n"]), tmp_path).prepared.kept == 1


def test_a_line_that_is_not_accounted_for_is_an_error(tmp_path):
    done = run(source(tmp_path, DATA, 4), tmp_path)
    first: CleanShard = done.finished[0].shard
    wrong = done.finished[0].model_copy(update={"shard": first.model_copy(update={"kept": first.kept - 1})})
    with pytest.raises(CatalogueError, match="11 lines were planned and 10 are accounted for"):
        total(done.plan, [wrong, *done.finished[1:]])
