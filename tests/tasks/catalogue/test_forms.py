"""Forms: whatever shape the rows come in, the same lines come out; what is something else is told what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.catalogue import forms, sources, unpack
from tasks.catalogue.how import How, of
from tasks.catalogue.plan import plan
from tasks.core.errors import CatalogueError
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import line, lines, quarantine, rows, run, source

ROWS = [json.loads(each) for each in lines(5)]
ROWS[1]["content"] = 'Brackets ] } , [ { in "quotes", a back\\slash\\, a café, a 漢字 and\na line end: long enough.'
ROWS[2]["uid"] = "0001048790"
FRAME = pd.DataFrame(ROWS)


def text(value: object, **how: object) -> bytes:
    return json.dumps(value, **how).encode()  # type: ignore[arg-type]


def per_line(before: str = "", after: str = "", ascii_only: bool = False) -> bytes:
    return (before + f"{after}\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in ROWS)).encode()


JSONS = {
    "one line": text(ROWS),
    "pretty": text(ROWS, indent=2, ensure_ascii=False),
    "pretty, no indent": text(ROWS, indent=0),
    "tabs and CRLF": text(ROWS, indent="\t").replace(b"\n", b"\r\n"),
    "an item a line": per_line("[\n", ",") + b"\n]\n",
    "brackets beside items": per_line("[", ",") + b"]",
    "commas first": b"[" + b"\n,".join(text(row) for row in ROWS) + b"\n]",
    "pandas": FRAME.to_json(orient="records").encode(),
    "pandas, indented": FRAME.to_json(orient="records", indent=4, force_ascii=False).encode(),
    "pandas, lines": FRAME.to_json(orient="records", lines=True).encode(),
    "commas and no brackets": per_line("", ","),
    "no line ends": per_line().replace(b"\n", b""),
    "carriage returns": per_line().replace(b"\n", b"\r"),
    "jq": b"\n".join(text(row, indent=2) for row in ROWS),
    "arrays one after the other": text(ROWS[:2]) + b"\n" + text(ROWS[2:]),
    "the first on a line, others on several": b"[\n"
    + b",\n".join([text(ROWS[0]), *(text(r, indent=2) for r in ROWS[1:])])
    + b"\n]",
    "two of them share a line": b"["
    + text(ROWS[0])
    + b",\n"
    + text(ROWS[1])
    + b", "
    + text(ROWS[2])
    + b",\n"
    + b",\n".join(text(row) for row in ROWS[3:])
    + b"]",
    "a list of objects first, in a long line": b"\n".join(
        text({"related": [{"asin": "B1", "why": "w" * 90}] * (1_000 if n == 0 else 1)} | row)
        for n, row in enumerate(ROWS)
    ),
    "wrapped": text({"products": ROWS, "total": 5}),
    "wrapped, not first": text({"total": 5, "products": ROWS}, indent=1),
    "Python": b"".join(repr(row).encode() + b"\n" for row in ROWS),
    "items with more": text([row | {"price": 1.5, "tags": ["a", {"b": [1]}]} for row in ROWS]),
}


def read(path: object) -> list[dict[str, str]]:
    data = b"".join(sources.find(str(path)).blocks())
    found = [json.loads(each.removeprefix(forms.MARK)) for each in data.split(b"\n") if each.strip()]
    return [{key: row[key] for key in ("uid", "title", "content")} for row in found]


WRAPPED = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".zip": lambda data: zipped({"d/items.json": data}),
    " in a zip.zip": lambda data: zipped({"items.json.gz": gzip.compress(data), "read.me": b"x"}),
}


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("shape", JSONS)
def test_every_shape_of_json_gives_its_rows(tmp_path, shape):
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be")):
        (tmp_path / f"{number}.json").write_bytes(JSONS[shape].decode().encode(encoding))
        assert read(tmp_path / f"{number}.json") == ROWS, encoding


@pytest.mark.parametrize("ending", WRAPPED)
def test_every_wrapping_and_a_folder_give_the_rows_of_what_is_inside(tmp_path, ending):
    for name, data in {"a.json": JSONS["pretty"], "b.jsonl": b"\xef\xbb\xbf" + per_line()}.items():
        (tmp_path / f"{name}{ending}").write_bytes(WRAPPED[ending](data))
        assert read(tmp_path / f"{name}{ending}") == ROWS
    if not ending.endswith(".zip"):
        assert read(tmp_path) == ROWS * 2


@given(
    st.lists(
        st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.lists(st.text(), max_size=2), max_size=3)
    ),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([1, 2, 7, 64]),
)
@settings(max_examples=30)
def test_a_split_array_is_its_items_wherever_blocks_end(items, indent, size):
    data = text(items, indent=indent, ensure_ascii=False)
    for level, shape in ((1, data), (0, b" ".join(text(item, indent=indent) for item in items))):
        blocks = (shape[n : n + size] for n in range(0, len(shape), size))
        out = b"".join(forms._Splitter(in_array=bool(level)).split(blocks))
        assert [json.loads(each) for each in out.splitlines()] == items


def test_items_keep_their_numbers_and_a_bad_one_its_neighbours(tmp_path):
    """Item n is line n, as `jq '.[n-1]'` counts."""
    items = [
        text(ROWS[0]),
        b'{"uid": "B1", "title": }',
        b"{'uid': 'B2'}",
        text(7),
        text(ROWS[1]),
        text({"uid": 10**30}),
    ]
    for name, data in {
        "a line each": b"[\n" + b",\n".join(items) + b"\n]",
        "in one line": b"[" + b",".join(items) + b"]",
    }.items():
        done = run(
            source(tmp_path, data, name=f"{name}.json").model_copy(update={"max_quarantined_share": 1}), tmp_path
        )
        (shard,) = done.prepared.shards
        assert [row["line"] for row in rows(shard)] == [1, 5]
        assert [(n, rule) for n, _, rule in quarantine(shard)] == [
            (2, "malformed_json"), (3, "malformed_json"), (4, "wrong_type"), (6, "missing_title"),
        ]  # fmt: skip


def test_an_item_that_never_ends_spoils_no_other_line(tmp_path):
    data = b'[\n{"uid": "B1, "title": "A\n,\n' + b",\n".join(text(row) for row in ROWS) + b"\n]"
    prepared = run(source(tmp_path, data), tmp_path / "root").prepared
    assert (prepared.kept, prepared.reasons) == (5, {"malformed_json": 1})


def test_an_array_that_ends_early_keeps_its_whole_items_and_says_so(tmp_path):
    for name, data in {"line": JSONS["one line"], "pretty": JSONS["pretty"], "each": JSONS["an item a line"]}.items():
        prepared = run(source(tmp_path, data[: len(data) // 2], name=f"{name}.json"), tmp_path).prepared
        assert (prepared.kept, prepared.quarantined, prepared.cut, prepared.reasons) == (2, 1, True, {"cut": 1}), name


def test_a_large_array_is_never_held(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as out:
        out.write(b"[")
        for n in range(1_000):
            out.write(b", " * bool(n) + text({"uid": str(n), "title": "t", "content": "word " * 4_000}))
        out.write(b', {"uid": "' + b"x" * 10_000_000 + b'"}]')
    tracemalloc.start()
    count = sum(block.count(b"\n") for block in sources.find(str(path)).blocks())
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1_001
    assert held < 25_000_000 < path.stat().st_size


def test_lines_stay_the_bytes_that_they_are(tmp_path):
    """What is known by its digest: a chain that learned these shards finds them again."""
    bad_first = [b'{"uid": 1,\n', b'["a"]\n', b"\xef\xbb\xbf" + line(), b"text\n", b"<p>\n", b"{}{}\n", b"\n"]
    for number, first in enumerate((b"", *bad_first)):
        data = first + b"".join(lines(3)) + line("caf\u00e9", extra=[1, {"a": "}{"}]) + b'{"uid": "cut'
        for name, packed in {f"{number}.json": data, f"{number}.json.gz": gzip.compress(data)}.items():
            made = plan(source(tmp_path, packed, 2, name), str(tmp_path / "root"))
            assert b"".join(Path(s.uri).read_bytes()[s.start : s.end] for s in made.shards) == data, first
    (tmp_path / "pinned.json").write_bytes(b"".join(lines(4)))
    made = plan(Catalogue(uri=str(tmp_path / "pinned.json"), lines_per_shard=2), str(tmp_path / "root"))
    assert [s.digest[:16] for s in made.shards] == ["5cb3f279906ab752", "8a27e0d14d5c53fd"]


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_tar_archive_gives_its_rows_and_writes_nothing(tmp_path):
    data = {"../climbs.json": JSONS["pretty"], "/etc/b.csv": b"uid,title,content\n7,a,b\n", "x.md": b"no rows"}
    for name, wrap in {"a.tar": bytes, "a.tar.gz": gzip.compress, "a.tgz": gzip.compress}.items():
        (tmp_path / name).write_bytes(wrap(tarred(data)))
        assert read(tmp_path / name) == [*ROWS, {"uid": "7", "title": "a", "content": "b"}]
    links = io.BytesIO()
    with tarfile.open(fileobj=links, mode="w") as packed:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.json")
            info.type, info.linkname = kind, "/etc/passwd"
            packed.addfile(info)
    (tmp_path / "links.tar").write_bytes(links.getvalue())
    with pytest.raises(CatalogueError, match="holds no JSON lines and no table"):
        read(tmp_path / "links.tar")
    (tmp_path / "cut.tar").write_bytes(tarred(data)[:700])
    with pytest.raises(CatalogueError, match="damaged tar archive"):
        read(tmp_path / "cut.tar")


def test_python_dictionaries_are_read_as_literals_and_no_more(tmp_path):
    bad = [b"{'uid': __import__('os').getcwd()}", b"{'uid': '1'", b"{'a': " + b"[" * 9_999 + b"]" * 9_999 + b"}"]
    good = b"{'uid': '007', 'title': u'It\\'s', 'content': None, 'n': 1e3, 's': {1}}"
    (tmp_path / "py.json").write_bytes(b"\n".join([good, *bad]))
    first, *rest = b"".join(sources.find(str(tmp_path / "py.json")).blocks()).split(b"\n")
    assert json.loads(first) == {"uid": "007", "title": "It's", "content": None, "n": 1000.0, "s": "{1}"}
    assert rest == bad


def test_an_encoding_and_a_delimiter_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_bytes("uid!title!content\r\n007!Café!3,50 €\r\n".encode("cp1252"))
    how = How(encoding="cp1252", delimiter="!")
    (found,) = b"".join(sources.find(str(tmp_path / "a.csv"), how=how).blocks()).splitlines()
    assert json.loads(found) == {"uid": "007", "title": "Café", "content": "3,50 €"}
    with pytest.raises(CatalogueError, match=r"catalogue\.encoding = 'zip' is unknown: write utf-8"):
        of(Catalogue(uri="x", encoding="zip"))


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("create table a (b)")
    connection.close()
    return (folder / "x.db").read_bytes()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"
DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
META = b"{'asin': '0000031852', 'title': \"Girls Ballet Tutu Zebra Hot Pink\", 'price': 3.17}\n"


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("pointer.json", POINTER, "git-lfs pointer.*git lfs pull"),
        ("page.json", b"\n<!DOCTYPE html>\n<html><head><title>404</title>", "is a web page"),
        ("page.jsonl.gz", gzip.compress(b"<HTML><BODY>Sign in", mtime=0), "is a web page"),
        ("denied.json", DENIED, "is XML.*server's error"),
        ("twice.json.gz", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "packed with gzip twice"),
        ("tar.tar", tarred({"a.json": tarred({"b.json": b"{}"})}), "tar archive inside another archive: unpack it"),
        ("book.json", zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "workbook that cannot be read"),
        ("sheet.ods", zipped({"mimetype": b"", "content.xml": b""}), "OpenDocument sheet: save it as Excel"),
        ("pdf.json", b"%PDF-1.7\n", "a PDF"),
        ("png.json", b"\x89PNG\r\n\x1a\n", "a picture and no catalogue: name the file that lists"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office file"),
        ("pickle.json", b"\x80\x04\x95\n\0\0", "is a pickle"),
        ("nothing.jsonl.zst", pa.compress(b"{}" * 999, "zstd", asbytes=True)[:9], "breaks off before its first line"),
    ],
)
def test_what_holds_no_rows_says_what_it_is(tmp_path, name, data, told):
    with pytest.raises(CatalogueError, match=told):
        run(source(tmp_path, data, name=name), tmp_path / "root")


def test_every_refusal_says_what_to_do():
    for magic, told in forms.BINARY:
        assert ":" in told, magic


def test_a_database_says_what_it_is(tmp_path):
    with pytest.raises(CatalogueError, match="SQLite database: export"):
        run(source(tmp_path, database(tmp_path), name="shop.json"), tmp_path / "root")


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


@cache
def noise(count: int) -> bytes:
    return b"".join(line(f"U{n}", content=os.urandom(60).hex()) for n in range(count))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_damaged_file_is_refused_and_one_that_ends_early_is_cut(tmp_path, ending):
    packed = WRAPPED[ending](noise(12_000))
    for place in (len(packed) // 2, len(packed) - 6):
        if ending == ".zst":
            continue  # this writer adds no checksum
        with pytest.raises(CatalogueError, match=r"is damaged near byte .*fetch it again"):
            plan(source(tmp_path, flipped(packed, place), 100_000, f"a.json{ending}"), str(tmp_path / "root"))
    made = plan(source(tmp_path, packed[: len(packed) * 3 // 4], 100_000, f"b.json{ending}"), str(tmp_path / "root"))
    assert made.cut and 1_000 < made.lines < 12_000


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_zeros_behind_a_packed_file_are_padding_at_any_edge(tmp_path, monkeypatch, ending, pack):
    monkeypatch.setattr(unpack, "BLOCK", 64)
    path = tmp_path / f"padded.jsonl{ending}"
    half = b"".join(text(row) + b"\n" for row in ROWS[:2])
    rest = b"".join(text(row) + b"\n" for row in ROWS[2:])
    path.write_bytes(pack(half) + bytes(500) + pack(rest) + bytes(500))
    assert read(path) == ROWS
    assert not plan(Catalogue(uri=str(path)), str(tmp_path / "root")).cut


def test_a_damaged_member_of_an_archive_is_refused(tmp_path):
    packed = zipped({"trn.json.gz": gzip.compress(noise(2_000))})
    inner = zipped({"trn.json": noise(2_000)})
    for number, data in enumerate((packed, inner)):
        with pytest.raises(CatalogueError, match=r"damaged|cannot be read"):
            plan(source(tmp_path, flipped(data, len(data) // 2), 100_000, f"{number}.zip"), str(tmp_path / "root"))


def one_byte_at_a_time(data: bytes) -> Iterator[bytes]:
    return (data[n : n + 1] for n in range(len(data)))


def test_encodings_are_brought_over_at_any_edge():
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        data = "".join(f"{line.decode()}\n" for line in map(text, ROWS)).encode(encoding)
        out = b"".join(forms.lines("x", one_byte_at_a_time(data)))
        assert [json.loads(each) for each in out.splitlines()] == ROWS
    with pytest.raises(CatalogueError, match="is not the UTF-16 that it begins as"):
        list(forms.lines("x", iter(["{".encode("utf-16") + b"\x00\xd8a\0"])))
