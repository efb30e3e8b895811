"""Sheets: the rows of an Excel workbook as JSON lines. No formula is computed: what its cell showed last is read.

Record n is the n-th row under the header, so an empty row between others is a blank line.
"""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any

import msgspec

from tasks.catalogue import tables
from tasks.catalogue.how import How
from tasks.core.errors import CatalogueError

RATIO, SLACK = 100, 1 << 26  # as of any archive
SHARED = 1 << 29  # bytes of the texts that cells share, which are held in memory
HEADER = 20  # rows among which the header is
EMPTY = 10_000  # empty rows in a row, after which nothing follows
ZEROS = re.compile(r"0{2,30}")  # a format that shows leading zeros

_encoder = msgspec.json.Encoder()


def records(name: str, stream: IO[bytes], how: How) -> Iterator[bytes]:
    """The records of the sheet `how.sheet`, by default of the first that has any."""
    _bounded(name, stream)
    import openpyxl

    try:
        with warnings.catch_warnings(action="ignore"):  # of styles and lists that nobody here looks at
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
            yield from _rows(name, _sheet(name, book, how.sheet), how.wanted)
    except CatalogueError:
        raise
    except Exception as error:  # openpyxl raises whatever it meets in a damaged file
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise CatalogueError(
            f"{name!r} is a workbook that cannot be read ({told}): open it and save it again, or save its sheet as CSV"
        ) from error


def _bounded(name: str, stream: IO[bytes]) -> None:
    size = stream.seek(0, 2)
    stream.seek(0)
    try:
        members = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise CatalogueError(f"{name!r} is a workbook that cannot be read ({error}): fetch it again") from error
    shared = sum(m.file_size for m in members if "sharedstrings" in m.filename.lower())
    if sum(m.file_size for m in members) > RATIO * size + SLACK or shared > SHARED:
        raise CatalogueError(
            f"{name!r} unpacks to far more than its size, which no workbook does: save its sheet as CSV (UTF-8)"
        )
    stream.seek(0)


def _sheet(name: str, book: Any, wanted: str | None) -> Any:
    if wanted is not None:
        if wanted not in book.sheetnames:
            raise CatalogueError(
                f"catalogue.config = {wanted!r}: {name!r} has the sheets {', '.join(map(repr, book.sheetnames))}"
            )
        return book[wanted]
    for sheet in book.worksheets:
        sheet.reset_dimensions()
        if sum(1 for row in islice(sheet.iter_rows(), HEADER) if _full(row)) > 1:
            return sheet
    raise CatalogueError(f"{name!r} has no sheet with a header and rows: look at what it holds")


def _full(row: Sequence[Any]) -> int:
    return sum(cell.value not in (None, "") for cell in row)


def _rows(name: str, sheet: Any, wanted: Sequence[str]) -> Iterator[bytes]:
    sheet.reset_dimensions()
    rows = sheet.iter_rows()
    first = list(islice(rows, HEADER))
    header = _header(first, wanted)
    names = [_text(cell).strip() for cell in first[header]] if first else []
    columns = tables.chosen(name, names, wanted)
    places = [names.index(column) for column in columns]
    batch: list[bytes] = []
    empty = 0
    for row in chain(first[header + 1 :], rows):
        if not _full(row):
            empty += 1
            if empty > EMPTY:
                break
            continue
        batch += [b"\n"] * empty
        empty = 0
        cells = [_text(row[place]) if place < len(row) else "" for place in places]
        batch.append(_encoder.encode(dict(zip(columns, cells, strict=True))) + b"\n")
        if len(batch) >= tables.BATCH:
            yield b"".join(batch)
            batch = []
    yield b"".join(batch)


def _header(rows: Sequence[Sequence[Any]], wanted: Sequence[str]) -> int:
    """Number of the row that names the columns: that with most of the wanted ones, else the first that is full."""
    found = [len({_text(cell).strip() for cell in row} & set(wanted)) for row in rows]
    if max(found, default=0):
        return found.index(max(found))
    full = [_full(row) for row in rows]
    return next((n for n, count in enumerate(full) if count * 2 > max(full) and count > 1), 0)


def _text(cell: Any) -> str:
    """What a cell shows, as text: whole numbers without a point, zeros that its format puts before a number."""
    value = cell.value
    if value is None or cell.data_type == "e":  # an error of a formula, such as #N/A
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            value = int(value)
        told = str(value)
        zeros = isinstance(value, int) and ZEROS.fullmatch(str(cell.number_format or ""))
        return told.zfill(len(zeros[0])) if zeros else told
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return str(value)
