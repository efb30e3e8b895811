"""Tables: rows of CSV, TSV, Parquet and Arrow as JSON lines of uid, title and content, one record a line.

Values are text as they are written: an identifier keeps its leading zeros. Nothing that a cell names is opened.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import msgspec

from tasks.catalogue.unpack import Blocks
from tasks.core.choices import WANTED
from tasks.core.errors import CatalogueError

DELIMITERS = ",\t;|^~\x01\x1f"
BATCH = 1_000  # rows at a time
FIELD = 1 << 24  # characters of one cell
PARQUET, ARROW, STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
BINARY = (PARQUET, ARROW, STREAM)
END = "\0the end\0"

_encoder = msgspec.json.Encoder(enc_hook=str)


def delimiter(head: str, wanted: Sequence[str] = WANTED, marks: str = DELIMITERS) -> str:
    """What stands between the columns of a table that begins with `head`; "" where it looks like none."""
    sample = re.split("\r\n|\n|\r", head)[:20]  # some spreadsheets still end lines with a carriage return alone
    found = {mark: _columns(sample, mark, wanted) for mark in marks}
    named = [mark for mark, columns in found.items() if wanted and set(wanted) <= set(columns)]
    several = [mark for mark, columns in found.items() if len(columns) > 1]
    return (named or sorted(several, key=lambda mark: -len(found[mark])) or [""])[0]


def has_header(head: str, wanted: Sequence[str] = WANTED) -> bool:
    """Whether the first line names the wanted columns."""
    first = re.split("[\r\n]", head, maxsplit=1)[0]
    return bool(wanted) and any(set(wanted) <= {name.strip(' "') for name in first.split(mark)} for mark in DELIMITERS)


def _columns(sample: list[str], mark: str, wanted: Sequence[str]) -> list[str]:
    """The names in the first line, where those wanted are among them, or a second line has as many cells.

    Others than the wanted ones are short and there once each.
    """
    try:
        rows = list(csv.reader(sample, delimiter=mark))
    except csv.Error:
        return []
    names = [name.strip() for name in rows[0]] if rows else []
    rest = rows[1:-1] or rows[1:]
    fits = [row for row in rest if len(row) == len(names)]
    if wanted and set(wanted) <= set(names):  # the others may have no name: pandas writes its index so
        return names
    told = names[1:] if len(names) > 2 and not names[0] else names  # pandas and R write the numbers of rows so
    plausible = all(0 < len(name) <= 64 and not set(name) & set("{}[]<>") for name in told)
    return names if plausible and len(set(names)) == len(names) and rest and len(fits) * 2 >= len(rest) else []


def chosen(name: str, found: Sequence[str], wanted: Sequence[str] = WANTED) -> tuple[str, ...]:
    """The columns among those found that hold what is wanted, or all; a path (`a.b`) begins with a column's name.

    CatalogueError where one is not there, or there twice.
    """
    if not wanted:
        return tuple(dict.fromkeys(column for column in found if column))
    columns = [column if column in found else column.partition(".")[0] for column in wanted]
    if lacking := [name for name, column in zip(wanted, columns, strict=True) if column not in found]:
        raise CatalogueError(f"{name!r} {lacks(found, lacking, wanted)}")
    if twice := [column for column in columns if list(found).count(column) > 1]:
        raise CatalogueError(f"{name!r} has more than one column {twice[0]!r}: rename the others, or leave them out")
    return tuple(dict.fromkeys(columns))


def lacks(found: Sequence[str], lacking: Sequence[str], wanted: Sequence[str] = WANTED) -> str:
    """What a file has instead of these columns, and what to write."""
    told = ", ".join(repr(column[:64]) for column in found[:30]) + (", …" if len(found) > 30 else "")
    missed = ", ".join(repr(column) for column in lacking)
    how = "say under catalogue.fields which of them is which" if tuple(wanted) == WANTED else "mend catalogue.fields"
    near = {name: difflib.get_close_matches(name, found, 1) for name in lacking}
    meant = "".join(f"; {name!r} may be {some[0]!r}" for name, some in near.items() if some)
    return f"has the columns {told}, and no {missed}: {how} (`shardtune init FILE` proposes it){meant}"


def text(name: str, blocks: Iterator[bytes], mark: str, wanted: Sequence[str] = WANTED) -> Iterator[bytes]:
    """The records of CSV or TSV. One whose cells do not fit the header becomes a list, which is no row."""
    stream = io.TextIOWrapper(io.BufferedReader(Blocks(blocks)), "utf-8-sig", "surrogateescape", newline="")
    csv.field_size_limit(max(csv.field_size_limit(), FIELD))
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=mark)
    try:
        header = [column.strip() for column in next(reader)]
        columns = chosen(name, header, wanted)
        places = [header.index(column) for column in columns]
        batch: list[bytes] = []
        for cells in reader:
            if cells == [END]:
                break
            if lines.ended:  # a quote is open: of one row that broke off, or it hides the rows after it
                if any(_fits(line, mark, header) for line in cells[-1].split("\n")[1:-1]):
                    raise csv.Error(f"the cell that begins with {cells[-1][:40]!r} goes on to the end of the file")
                cells = [*cells[:-1], cells[-1].removesuffix(END), ""]
            if not cells:
                continue  # an empty line, which no table counts as a record
            fits = len(cells) == len(header) and not lines.ended
            batch.append(_line(dict(zip(columns, (cells[p] for p in places), strict=True)) if fits else cells))
            if len(batch) == BATCH:
                yield b"".join(batch)
                batch = []
        yield b"".join(batch)
    except csv.Error as error:
        raise CatalogueError(
            f"{name!r} cannot be read as a table near line {reader.line_num:,} ({error}): look for a quote there that "
            "is never closed"
        ) from error


class _Lines:
    """The lines of a table, none of them longer than may be held, and after the last one END.

    A quote that is never closed takes END up into its cell; else END is a record of its own.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self.ended = stream, False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.ended:
            raise StopIteration
        line = self._stream.readline(FIELD)
        if len(line) >= FIELD:
            raise csv.Error(f"a line is longer than {FIELD:,} characters")
        self.ended = not line
        return line or END


def _fits(line: str, mark: str, header: Sequence[str]) -> bool:
    """Whether a line by itself looks like a row."""
    return len(header) > 1 and len(next(csv.reader([line], delimiter=mark), [])) == len(header)


def _line(value: Any) -> bytes:
    try:
        return _encoder.encode(value) + b"\n"
    except UnicodeEncodeError:  # bytes that are no UTF-8, kept so that the line is quarantined for it
        return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogateescape") + b"\n"


def binary(name: str, stream: IO[bytes], wanted: Sequence[str] = WANTED) -> Iterator[bytes]:
    """The records of a Parquet or Arrow file."""
    with _arrow(name):
        import pyarrow as pa
        import pyarrow.parquet as pq

        magic = stream.read(6)
        stream.seek(0)
        if magic.startswith(PARQUET):
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            named = chosen(name, file.schema_arrow.names, wanted)
            batches = file.iter_batches(batch_size=BATCH, columns=list(named))
        else:
            reader = pa.ipc.open_file(stream) if magic.startswith(ARROW) else pa.ipc.open_stream(stream)
            named = chosen(name, reader.schema.names, wanted)
            several = (reader.get_batch(n) for n in range(reader.num_record_batches)) if magic == ARROW else reader
            batches = (b.slice(n, BATCH) for b in several for n in range(0, b.num_rows, BATCH))
        for batch in batches:
            columns = [_values(batch.column(batch.schema.get_field_index(column))) for column in named]
            yield b"".join(_line(dict(zip(named, row, strict=True))) for row in zip(*columns, strict=True))


def _values(column: Any) -> list[Any]:
    """A column as Python values: bytes that are text become text."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return _values(_sound(column.dictionary).take(column.indices))
    column = _sound(column)
    of_bytes = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view
    if any(is_so(column.type) for is_so in of_bytes):
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _sound(column: Any) -> Any:
    """The column, its text as bytes, since a writer may not have looked whether it is UTF-8.

    Arrow believes what a file says of its offsets, and would read anywhere: ArrowInvalid where they lead out of it.
    """
    import pyarrow as pa

    if column.type in (pa.string(), pa.large_string()):
        column = column.view(pa.binary() if column.type == pa.string() else pa.large_binary())
    column.validate(full=True)
    return column


@contextmanager
def _arrow(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, EOFError, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # of the disk or the store; those that Arrow makes of damaged bytes have no number
        raise CatalogueError(f"{name!r} is a damaged Parquet or Arrow file ({error}): fetch it again") from error
