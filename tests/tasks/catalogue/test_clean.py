"""Cleaning a shard: each rule under its own name and with its own switch, and no line lost whatever the bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.catalogue import clean, forms, tables, unpack
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Cleaned, Rules
from tasks.recipe.model import Cleaning
from tests.kit.catalogues import CONTENT, cleaned, line, lines, quarantine, source

BITS = [b'{"uid": "', b'", "title": "', b'", "content": "', b'"}', b"\n", b"Kettle ", b"&amp;", b"<b>", b"\0", b"\xff"]
BYTES = st.lists(st.sampled_from([*BITS, line(), line(title=" "), line(content="&nbsp;")]) | st.binary(max_size=6)).map(
    b"".join
)


def rules(**changes: object) -> Rules:
    return Rules(clean=Cleaning.model_validate(changes))


def kept(one: Cleaned) -> list[dict[str, object]]:
    """The rows that wait to be settled."""
    with pa.memory_map(one.rows_uri) as stream:
        found: list[dict[str, object]] = pa.ipc.open_stream(stream).read_all().to_pylist()
    return found


def json_lines(data: bytes) -> bool:
    """Whether a catalogue of these bytes is read as JSON lines: it is neither empty nor packed nor of another form."""
    return bool(data) and not data.startswith((*unpack.PACKED, *tables.BINARY)) and forms.recognise(data).as_it_is


@given(BYTES.filter(json_lines), st.integers(1, 5))
@hypothesis(max_examples=50)
def test_no_line_is_lost(data, per):
    with tempfile.TemporaryDirectory() as folder:
        shards = cleaned(Path(folder), data, per=per)
        numbers = [row["line"] for one in shards for row in kept(one)] + [n for s in shards for n, *_ in quarantine(s)]
    for one in shards:
        assert one.shard.lines == one.rows + sum(one.dropped.values()) + one.quarantined
    assert len(set(numbers)) == len(numbers) == sum(one.rows + one.quarantined for one in shards)
    assert set(numbers) <= set(range(1, data.count(b"\n") + 2))


@pytest.mark.parametrize(
    ("rule", "bad", "off"),
    [
        ("blank_title", line(title=""), {"blank_title": False}),
        ("blank_title", line(title=" &nbsp; "), {"blank_title": False}),
        ("blank_content", line(content=""), {"blank_content": False}),
        ("blank_content", line(content="<br>"), {"blank_content": False}),
        ("min_title", line(title="K"), {"min_title": 1}),
        ("min_content", line(content="Short."), {"min_content": 1}),
        ("boilerplate_only", line(content="No description available."), {"boilerplate_only": False}),
        ("boilerplate_only", line(content="--This text refers to thePaperbackedition."), {"boilerplate_tails": False}),
        ("title_is_content", line(title=CONTENT, content=CONTENT.upper()), {"title_is_content": False}),
        ("junk", line(content="test item not to bid " * 20), {"junk": False}),
        ("junk", line(title="Test item"), {"junk": False}),
    ],
)
def test_each_rule_drops_under_its_own_name_and_can_be_switched_off(tmp_path, rule, bad, off):
    on = {"min_title": 2, "min_content": 10 if rule == "min_content" else 1}
    (one,) = cleaned(tmp_path, [line(), bad, b"\n"], rules(**on))
    assert (one.rows, one.dropped, one.quarantined) == (1, {rule: 1, "blank_line": 1}, 0)
    (other,) = cleaned(tmp_path, [line(), bad, b"\n"], rules(**on | {"min_title": 1, "min_content": 1} | off))
    assert (other.rows, other.dropped) == (2, {"blank_line": 1})


def test_tails_are_cut_before_length_is_looked_at(tmp_path):
    tail = line(content="Brief.Copyright 1998 Reed Business Information, Inc.")
    (one,) = cleaned(tmp_path, [tail, line()])
    assert (one.dropped, [row["content"] for row in kept(one)]) == ({"min_content": 1}, [CONTENT])
    (other,) = cleaned(tmp_path, [tail], rules(boilerplate_tails=False))
    assert [row["content"] for row in kept(other)] == ["Brief.Copyright 1998 Reed Business Information, Inc."]


def test_a_kept_row_is_clean_and_knows_its_line_and_hash(tmp_path):
    bad = line("0007", "Tom &amp; Jerry&#146;s <b>Mug</b>", "Holds  half&nbsp;a litre &mdash; or a little more.")
    (one,) = cleaned(tmp_path, [b"\n", *lines(2), b"{\n", bad])
    title, content = "Tom & Jerry\u2019s Mug", "Holds half a litre \u2014 or a little more."
    name = xxhash.xxh3_128_hexdigest(f"{title}\0{content}".encode())
    *_, row = kept(one)
    assert {k: v for k, v in row.items() if k != "split"} == {
        "uid": "0007", "title": title, "content": content, "line": 5, "row_hash": name,
    }  # fmt: skip
    assert [r["line"] for r in kept(one)] == [2, 3, 5]
    assert Path(one.hashes_uri).read_bytes().hex() == "".join(str(r["row_hash"]) for r in kept(one))


def test_quarantine_names_line_uid_and_rule_over_all_shards(tmp_path):
    data = [*lines(4), line("B0BAD", title=7), *lines(4, 4), b'{"uid": "B0CUT", "title": "mid']
    shards = cleaned(tmp_path, data, per=3)
    assert [quarantine(one) for one in shards] == [[], [(5, "B0BAD", "wrong_type")], [], [(10, "B0CUT", "cut")]]
    assert [one.quarantine_uri is None for one in shards] == [True, False, True, False]


def test_a_shard_is_cleaned_once(tmp_path):
    data = [*lines(3), b"bad\n"]
    (one,) = cleaned(tmp_path, data)
    (again,) = cleaned(tmp_path, data)
    assert (one.made, again.made) == (True, False)
    times = {"marks", "rows_mark"}
    assert again.model_dump(exclude=times) == one.model_dump(exclude=times)
    (other,) = cleaned(tmp_path, data, rules(min_content=500))
    assert (other.made, other.rows, one.rows) == (True, 0, 3)


@pytest.mark.parametrize("lost", ["hashes_uri", "quarantine_uri"])
def test_a_result_that_is_gone_is_made_again(tmp_path, lost):
    data = [*lines(3), b"bad\n"]
    (one,) = cleaned(tmp_path, data)
    before = Path(getattr(one, lost)).read_bytes()
    Path(getattr(one, lost)).unlink()
    (again,) = cleaned(tmp_path, data)
    assert again.made
    assert Path(getattr(one, lost)).read_bytes() == before


def test_a_sidecar_that_cannot_be_read_is_a_miss(tmp_path):
    (one,) = cleaned(tmp_path, lines(3))
    Path(one.rows_uri).with_suffix(".json").write_text('{"half": ')
    (again,) = cleaned(tmp_path, lines(3))
    assert again.made
    times = {"marks", "rows_mark"}
    assert again.model_dump(exclude=times) == one.model_dump(exclude=times)


def test_a_shard_is_known_by_its_bytes_wherever_the_file_lies(tmp_path):
    (one,) = plan(source(tmp_path / "a", lines(3)), str(tmp_path)).shards
    (moved,) = plan(source(tmp_path / "b", lines(3)), str(tmp_path)).shards
    clean.clean(one, Rules(), str(tmp_path))
    found = clean.clean(moved, Rules(), str(tmp_path))
    assert (found.made, found.shard) == (False, moved)
