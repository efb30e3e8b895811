"""Excel workbooks: what cells show, as text; rows counted under the header; nothing is computed."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tasks.catalogue import sources
from tasks.catalogue.how import How
from tasks.core.errors import CatalogueError

HEADER = ["uid", "title", "content", "price"]


def book(path: Path, *rows: list[Any], sheet: str = "Products", formats: dict[str, str] | None = None) -> str:
    made = openpyxl.Workbook()
    assert made.active is not None
    made.active.title = "Empty"
    page = made.create_sheet(sheet)
    for row in rows:
        page.append(row)
    for cell, format in (formats or {}).items():
        page[cell].number_format = format
    made.save(path)
    return str(path)


def read(uri: str, how: How) -> list[Any]:
    return [json.loads(each or b"null") for each in b"".join(sources.find(uri, how=how).blocks()).splitlines()]


def test_cells_are_text_as_they_are_shown(tmp_path):
    rows = [["00123", "Mug", "Of clay.", 3.5], [45, "Cup", "=1+1", 1e3], [7.0, True, "#N/A", 19.899999999999999]]
    uri = book(tmp_path / "a.xlsx", ["Our products, 2026"], [], HEADER, *rows, formats={"A5": "00000"})
    assert read(uri, How(())) == [
        {"uid": "00123", "title": "Mug", "content": "Of clay.", "price": "3.5"},
        {"uid": "00045", "title": "Cup", "content": "", "price": "1000"},
        {"uid": "7", "title": "true", "content": "", "price": "19.9"},
    ]
    assert read(uri, How()) == [{k: r[k] for k in HEADER[:3]} for r in read(uri, How(()))]


def test_records_are_counted_as_rows_under_the_header(tmp_path):
    uri = book(tmp_path / "a.xlsx", HEADER, ["1", "a", "b"], [], [None, ""], ["2", "c", "d"], [])
    assert [row and row["uid"] for row in read(uri, How())] == ["1", None, None, "2"]


def test_a_sheet_is_named_and_a_missing_column_told(tmp_path):
    uri = book(tmp_path / "a.xlsx", ["sku", "Titel"], ["1", "a"], sheet="Ware")
    assert read(uri, How(("sku",), sheet="Ware")) == [{"sku": "1"}]
    with pytest.raises(CatalogueError, match=r"has the sheets 'Empty', 'Ware'"):
        read(uri, How(sheet="Wares"))
    with pytest.raises(CatalogueError, match=r"has the columns 'sku', 'Titel', and no 'title'.*'title' may be 'Titel'"):
        read(uri, How(("sku", "title")))


def test_a_workbook_inside_an_archive_is_read(tmp_path):
    uri = book(tmp_path / "a.xlsx", HEADER, ["1", "a", "b"])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(uri, "../out/a.xlsx")
    assert read(str(tmp_path / "a.zip"), How()) == [{"uid": "1", "title": "a", "content": "b"}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xlsx", "a.zip"]


ENTITIES = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "%b">%b]><sst xmlns="x">&%b;</sst>'


@pytest.mark.parametrize("what", ["bomb", "entities", "cut", "no sheet"])
def test_a_hostile_or_damaged_workbook_is_refused(tmp_path, what):
    uri = Path(book(tmp_path / "a.xlsx", HEADER, *([str(n), "title", "content"] for n in range(50))))
    names = b"abcdefghijklmnopqrstuvwxyz"
    nested = b"".join(b'<!ENTITY %c "%b">' % (b, b"&%c;" % a * 50) for a, b in itertools.pairwise(names))
    if what == "bomb":
        with zipfile.ZipFile(uri, "a") as packed:  # openpyxl's own workbooks hold the texts of cells in the sheet
            packed.writestr("xl/sharedStrings.xml", b"swapped below")
    added = {"bomb": b"\0" * 200_000_000, "entities": ENTITIES % (b"x" * 50, nested, names[-1:])}
    data = uri.read_bytes()
    if what == "cut":
        uri.write_bytes(data[: len(data) // 2])
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(uri) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                if what != "no sheet" or "worksheets" not in name:
                    swapped = added.get(what) if name.endswith(("sharedStrings.xml", "sheet2.xml")) else None
                    new.writestr(name, swapped or old.read(name))
        uri.write_bytes(out.getvalue())
    with pytest.raises(CatalogueError, match=r"unpacks to far more|has no sheet|cannot be read|fetch it again"):
        read(str(uri), How())
