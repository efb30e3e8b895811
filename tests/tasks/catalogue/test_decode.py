"""Decoding: a line is a row or goes to quarantine under the right name and number, however bad it is."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue import decode
from tasks.catalogue.decode import ChangedError
from tasks.catalogue.plan import plan
from tasks.core.models import Shard
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import line, lines, source

LIMIT = 16_000_000
GOOD = [line().rstrip(), line(target_ind=[1, {"a": "}\\n{"}]).rstrip(), b'{"content":"c","title":"t","uid":"u"}']
PARTS = [*GOOD, *GOOD, b"{", b"}", b"[]", b'{"a":1}', b"", b" ", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", GOOD[0] * 2]
LINES = st.lists(st.sampled_from(PARTS) | st.lists(st.sampled_from(PARTS), max_size=3).map(b"".join) | st.binary())


def shard(folder: Path, data: bytes | list[bytes]) -> Shard:
    """All of `data` as one shard."""
    (one,) = plan(source(folder, data, 10_000_000), str(folder)).shards
    return one


def read(one: Shard, limit: int = LIMIT) -> tuple[list[tuple[int, decode.Row]], list[tuple[int, str]], int]:
    """Rows and faults with their line numbers, and how many lines were blank."""
    rows, faults, blank = [], [], 0
    for block in decode.read(one, limit):
        rows += list(zip(block.numbers.tolist(), block.rows, strict=True))
        faults += [(fault.line, fault.rule) for fault in block.faults]
        blank += block.blank
        assert block.lines == len(block.rows) + len(block.faults) + block.blank
    return rows, faults, blank


@given(LINES, st.booleans())
def test_a_block_says_the_same_as_its_lines_one_by_one(some, closed):
    data = b"\n".join(some) + b"\n" * closed
    if not data:
        return
    block = decode.decode(data, 1, 400)
    ends = re.findall(rb"[^\n]*\n|[^\n]+", data)
    alone = [decode.decode(part, number, 400) for number, part in enumerate(ends, 1)]
    assert block.lines == len(ends)
    assert block.rows == [row for each in alone for row in each.rows]
    assert block.numbers.tolist() == [n for each in alone for n in each.numbers.tolist()]
    assert block.faults == [fault for each in alone for fault in each.faults]
    assert block.blank == sum(each.blank for each in alone)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (b'{"uid": "B0", "title": "x", "content": \n', "malformed_json"),
        (line().rstrip() + b" and more\n", "malformed_json"),
        (line().rstrip() * 2 + b"\n", "malformed_json"),
        (b"[" * 100_000 + b"\n", "malformed_json"),
        (b"{'uid': 'B0', 'title': 'x', 'content': 'single quotes'}\n", "malformed_json"),
        (b'["not", "an", "object"]\n', "wrong_type"),
        (b'"text"\n', "wrong_type"),
        (b"null\n", "wrong_type"),
        (line(title=7), "wrong_type"),
        (line(content=None), "wrong_type"),
        (line(uid=True), "wrong_type"),
        (line(uid=None), "wrong_type"),
        (line(uid=""), "blank_uid"),
        (line(uid="B1\x1b]0;owned\x07"), "bad_uid"),
        (line(uid="B1\u202e"), "bad_uid"),
        (line(uid="B" * 201), "bad_uid"),
        (line(uid=" \u00a0\t"), "blank_uid"),
        (line(uid="", price=float("nan")), "blank_uid"),
        (b'{"uid": ' + b"9" * 5_000 + b', "title": "x", "content": "y"}\n', "too_long"),
        (b'{"title": "x", "content": "y"}\n', "missing_uid"),
        (b'{"uid": "B0", "content": "y"}\n', "missing_title"),
        (b'{"uid": "B0", "title": "x"}\n', "missing_content"),
        (b'{"uid": "B0", "title": "bad \xff\xfe", "content": "y"}\n', "invalid_utf8"),
        (b'{"uid": "B0", "title": "x", "content": "y", "other": "\xff"}\n', "invalid_utf8"),
        (b'{"uid": "B0", "title": "surrogate \xed\xa0\x80", "content": "y"}\n', "invalid_utf8"),
        (b'{"uid": "B0", "title": "a NUL \x00", "content": "y"}\n', "nul_byte"),
        (b"\0" * 512 + b"\n", "nul_byte"),
        (line(content="x" * 5_000), "too_long"),
    ],
)
def test_a_bad_line_goes_to_quarantine_and_its_neighbours_do_not(tmp_path, bad, rule):
    rows, faults, blank = read(shard(tmp_path, [*lines(3), bad, *lines(2, 3)]), limit=4_000)
    assert faults == [(4, rule if len(bad) <= 4_000 else "too_long")]
    assert [(n, row.uid) for n, row in rows] == [(1, "U0"), (2, "U1"), (3, "U2"), (5, "U3"), (6, "U4")]
    assert blank == 0


@pytest.mark.parametrize(
    ("end", "rule"),
    [
        (line()[:40], "cut"),
        (b'{"uid": "B0CUT", "title": "mid', "cut"),
        ('{"uid": "B0", "title": "caf\u00e9'.encode()[:-1], "cut"),
        (b'{"uid": "B0", "title": "bad \xff\xfe", "content": "y"}', "invalid_utf8"),
        (b'{"uid": "B0", "title": "x"}', "missing_content"),
    ],
)
def test_a_last_line_that_breaks_off_is_cut_and_a_bad_one_is_bad(tmp_path, end, rule):
    rows, faults, _ = read(shard(tmp_path, [*lines(2), end]))
    assert faults == [(3, rule)]
    assert len(rows) == 2


@pytest.mark.parametrize(
    "good",
    [
        line().rstrip() + b"\r\n",
        b"  " + line().rstrip() + b"\t\n",
        line(price=1.5, nested={"title": 7, "uid": None}),
        line().replace(b'"B01"', b'"B01", "price": NaN'),
        b'{"content": "c", "uid": "B01", "title": "first", "title": "Copper Kettle"}\n',
        "{\"uid\": \"B01\", \"title\": \"Copper Kettle\", \"content\": \"\u00e9 \U0001f600\"}\n".encode(),
    ],
)  # fmt: skip
def test_an_odd_line_is_a_row_all_the_same(tmp_path, good):
    rows, faults, _ = read(shard(tmp_path, [good, *lines(1)]))
    assert faults == []
    assert [(row.uid, row.title) for _, row in rows] == [("B01", "Copper Kettle"), ("U0", "Kettle 0")]


@pytest.mark.parametrize("price", [1.5, float("nan")])
def test_a_whole_number_as_uid_is_its_digits_and_text_is_left_as_it_is(tmp_path, price):
    big = 2**64 + 1
    some = [line(uid=uid, price=price) for uid in (0, 31_909, -7, big, 10**40, "0001048790", " 7 ")]
    rows, faults, _ = read(shard(tmp_path, some))
    assert [row.uid for _, row in rows] == ["0", "31909", "-7", str(big), str(10**40), "0001048790", " 7 "]
    assert faults == []


def test_a_number_too_long_to_be_a_uid_is_no_row(tmp_path):
    rows, faults, _ = read(shard(tmp_path, [b'{"uid": ' + b"9" * 5_000 + b', "title": "x", "content": "y"}\n', line()]))
    assert (len(rows), [n for n, _ in faults]) == (1, [1])


def test_a_last_line_without_its_end_is_a_row(tmp_path):
    rows, faults, _ = read(shard(tmp_path, [*lines(2), line().rstrip()]))
    assert ([n for n, _ in rows], faults) == ([1, 2, 3], [])


def test_a_byte_order_mark_is_no_fault(tmp_path):
    rows, faults, _ = read(shard(tmp_path, [b"\xef\xbb\xbf" + line(), b"\xef\xbb\xbf" + line()]))
    assert ([n for n, _ in rows], faults) == ([1, 2], [])


def test_blank_lines_are_counted(tmp_path):
    rows, faults, blank = read(shard(tmp_path, [b"\n", line(), b"  \r\n", b"\n", line()]))
    assert ([n for n, _ in rows], faults, blank) == ([2, 5], [], 3)


def test_a_lone_surrogate_is_marked(tmp_path):
    rows, _, _ = read(shard(tmp_path, b'{"uid": "u", "title": "a \\ud800 b", "content": "\\ud83d\\ude00"}\n'))
    assert (rows[0][1].title, rows[0][1].content) == ("a \ufffd b", "\U0001f600")


def test_a_content_of_200_000_characters_is_whole(tmp_path):
    long = "word and word " * 14_286
    rows, faults, _ = read(shard(tmp_path, [line(), line(content=long), line()]))
    assert (rows[1][1].content, faults, len(rows)) == (long, [], 3)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_of_50_megabytes_is_told_and_never_held(tmp_path, end):
    path = tmp_path / "catalogue.json"
    with path.open("wb") as out:
        out.write(line() + b'{"uid": "B0LONG", "title": "A line of 50 MB", "content": "')
        out.writelines(b"too long " * 100_000 for _ in range(56))
        out.write(b'"}' + end + (line() if end else b""))
    (one,) = plan(Catalogue(uri=str(path)), str(tmp_path)).shards
    tracemalloc.start()
    rows, faults, _ = read(one, limit=1_000_000)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [n for n, _ in rows] == ([1, 3] if end else [1])
    assert faults == [(2, "too_long")]
    assert held < 20_000_000


@pytest.mark.parametrize("size", [decode.BLOCK, decode.BLOCK - 1, decode.BLOCK + 1, 5 * decode.BLOCK // 2])
def test_a_line_as_long_as_a_block_keeps_its_neighbours(tmp_path, size):
    long = line(content="x" * (size - len(line(content=""))))
    assert len(long) == size
    rows, faults, _ = read(shard(tmp_path, [long, line("after")]))
    assert ([row.uid for _, row in rows], faults) == (["B01", "after"], [])
    rows, faults, _ = read(shard(tmp_path, [line("before"), long, line("after"), long]), limit=size - 2)
    assert [(n, row.uid) for n, row in rows] == [(1, "before"), (3, "after")]
    assert faults == [(2, "too_long"), (4, "too_long")]


def test_what_is_kept_of_a_quarantined_line(tmp_path):
    (block,) = decode.read(shard(tmp_path, b'{"uid": "B0SNIPPET", "title": ' + b"\xff" * 900 + b"\n"), LIMIT)
    (fault,) = block.faults
    assert (fault.line, fault.uid, fault.rule) == (1, "B0SNIPPET", "invalid_utf8")
    assert fault.snippet.startswith('{"uid": "B0SNIPPET", "title": \\xff\\xff')
    assert len(fault.snippet) == decode.SNIPPET
    assert json.dumps(fault.snippet)


def change(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "other":
        path.write_bytes(data.replace(b"Kettle 1", b"Bottle 1"))
    else:
        os.truncate(path, len(data) - 10)


@pytest.mark.parametrize("how", ["gone", "other", "shorter"])
def test_a_file_that_changed_since_it_was_planned_is_told(tmp_path, how):
    one = shard(tmp_path, lines(9))
    change(Path(one.uri), how)
    with pytest.raises(ChangedError, match="plan again"):
        read(one)


def test_what_was_appended_since_is_no_change(tmp_path):
    one = shard(tmp_path, lines(9))
    with open(one.uri, "ab") as out:
        out.write(line())
    assert len(read(one)[0]) == 9
