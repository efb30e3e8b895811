"""Decode: catalogue lines to rows, a block of lines at a time; what is no row goes to quarantine with its rule.

The fast way decodes a whole block in one call. It is taken only where it provably says the same as line by line:
every line of the block starts with `{` and ends with `}`, and there are as many rows as lines. No JSON value can hold
`}`, line end, `{` in a row, so then each line is one object. Anything else is decoded line by line.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tasks.catalogue import mapping
from tasks.catalogue.mapping import Mapping, Row
from tasks.core import store
from tasks.core.choices import WANTED as KEYS
from tasks.core.errors import CatalogueError
from tasks.core.models import Shard
from tasks.recipe.fields import Fields

BLOCK = 1 << 19  # bytes: what is made of them stays in the processor's cache
AHEAD = 1 << 23  # bytes fetched at a time from object storage
SNIPPET = 200  # characters of a quarantined line that are kept
LONGEST = 200  # characters of a uid
UID = re.compile(rb'"uid"\s*:\s*(?:"([^"\\]{1,64})"|(-?[0-9]{1,64})\b)')


class ChangedError(CatalogueError):
    """The bytes read are not the bytes planned: the catalogue changed under the run."""


@dataclass
class Fault:
    """A line that is no row: goes to quarantine."""

    line: int
    uid: str | None
    rule: str
    snippet: str


@dataclass
class Block:
    """Some consecutive lines, decoded. `numbers` are the rows' 1-based catalogue lines."""

    lines: int
    rows: list[Row]
    numbers: np.ndarray[Any, np.dtype[np.int64]]
    blank: int = 0
    faults: list[Fault] = field(default_factory=list)


_decoder = msgspec.json.Decoder(Row)


def read(shard: Shard, max_line_bytes: int, fields: Fields | None = None) -> Iterator[Block]:
    """The shard's lines, decoded block by block; `fields` says what rows are made of.

    Raises ChangedError at the end when its bytes are not as planned.
    """
    line = shard.first_line
    made = mapping.of(fields) if fields else None
    for data, length in _lines(shard, max_line_bytes):
        if length is None:
            block = decode(data, line, max_line_bytes, made)
        else:
            block = Block(1, [], np.empty(0, np.int64), faults=[_fault(data, line, "too_long", made)])
        line += block.lines
        yield block
    if line - shard.first_line != shard.lines:
        raise ChangedError(f"shard {shard.index} of {shard.uri!r} has other lines than planned: plan again")


def _lines(shard: Shard, limit: int) -> Iterator[tuple[bytes, int | None]]:
    """Whole lines, some megabytes at a time, with None; or the head of one line above `limit`, with its length."""
    hasher, rest, skipped, left = hashlib.sha256(), b"", 0, shard.end - shard.start
    try:
        stream = store.reading(shard.uri, min(left, AHEAD))
    except FileNotFoundError as error:
        raise ChangedError(f"{shard.uri!r} is gone since it was planned: plan again") from error
    with stream:
        stream.seek(shard.start)
        while left and (chunk := stream.read(min(BLOCK, left))):
            left -= len(chunk)
            hasher.update(chunk)
            if skipped:
                end = chunk.find(b"\n") + 1
                skipped += end or len(chunk)
                if not end:
                    continue
                yield rest, skipped
                chunk, rest, skipped = chunk[end:], b"", 0
            data = rest + chunk
            end = data.rfind(b"\n") + 1
            if end:
                yield data[:end], None
            rest = data[end:]
            if len(rest) > limit:
                rest, skipped = rest[: 4 * SNIPPET], len(rest)
    if rest:
        yield rest, skipped or None
    if left or hasher.hexdigest() != shard.digest:
        raise ChangedError(f"shard {shard.index} of {shard.uri!r} changed since it was planned: plan again")


def decode(data: bytes, first: int, limit: int, made: Mapping | None = None) -> Block:
    """Decode whole lines; `first` is the catalogue line number of the first, `limit` the longest line in bytes.

    `made` makes rows of records with other names.
    """
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw == 10)
    if len(ends) and ends[-1] == len(raw) - 1 and _aligned(raw, ends, limit):
        try:
            rows = made.rows(data) if made else _decoder.decode_lines(data)
            if len(rows) == len(ends) and _is_text(data) and _has_uids(rows):
                return Block(len(rows), rows, np.arange(first, first + len(rows), dtype=np.int64))
        except (ValueError, RecursionError):
            pass  # at least one line is no row: the slow way finds out which
    return _one_by_one(data, first, limit, made)


def _has_uids(rows: list[Row]) -> bool:
    """Make every uid text; False where one is not usable, so that the slow way names its rule."""
    return not any(uid_fault(_text(row)) for row in rows)


def uid_fault(uid: str) -> str | None:
    """The rule that `uid` breaks, or None. Links, citations and duplicates all rest on the uid.

    A uid is at most LONGEST characters, none of them a control character, line end or direction mark.
    """
    if not uid or uid.isspace():
        return "blank_uid"
    return "bad_uid" if len(uid) > LONGEST or not uid.isprintable() else None


def _aligned(raw: Any, ends: Any, limit: int) -> bool:
    longest = max(int(ends[0]), int(np.diff(ends).max(initial=0)))
    starts = raw[0] == 123 and bool((raw[ends[:-1] + 1] == 123).all())
    return starts and longest <= limit and bool((raw[ends - 1] == 125).all())


def _one_by_one(data: bytes, first: int, limit: int, made: Mapping | None) -> Block:
    lines = data.split(b"\n")
    closed = not lines[-1]
    if closed:
        lines.pop()
    block = Block(len(lines), [], np.empty(0, np.int64))
    numbers = []
    for number, line in enumerate(lines, first):
        if not line.removeprefix(codecs.BOM_UTF8).strip():
            block.blank += 1
            continue
        last = not closed and number == first + len(lines) - 1
        row = "too_long" if len(line) > limit else _row(line, last, made)
        if isinstance(row, Row):
            block.rows.append(row)
            numbers.append(number)
        else:
            rule = "cut" if last and row == "malformed_json" else row
            block.faults.append(_fault(line, number, rule, made))
    block.numbers = np.array(numbers, np.int64)
    return block


def _row(line: bytes, last: bool, made: Mapping | None) -> Row | str:
    """The row in this line, or the name of the rule that it breaks. The `last` may break off inside a character."""
    if b"\0" in line:
        return "nul_byte"
    if not _is_text(line, whole=not last):
        return "invalid_utf8"
    if made:
        row = made.row(line.removeprefix(codecs.BOM_UTF8))
    else:
        try:
            row = _decoder.decode(line)
        except (ValueError, RecursionError):
            row = _by_json(line)
    return row if isinstance(row, str) else uid_fault(_text(row)) or _sound(row)


class _Written(str):
    """A number with a point or an exponent, as it is written."""


def _by_json(line: bytes) -> Row | str:
    """As the decoder, which refuses lone surrogates, NaN, byte order marks and uids such as 1e5."""
    try:
        value = json.loads(line, parse_float=_Written)
    except (ValueError, RecursionError):
        return "malformed_json"
    if not isinstance(value, dict):
        return "wrong_type"
    if missing := [key for key in KEYS if key not in value]:
        return f"missing_{missing[0]}"
    if type(value["uid"]) is int:
        value["uid"] = str(value["uid"])
    texts = isinstance(value["uid"], str) and all(type(value[key]) is str for key in KEYS[1:])
    return Row(*(str(value[key]) for key in KEYS)) if texts else "wrong_type"


def _text(row: Row) -> str:
    """The row's uid, made text."""
    row.uid = str(row.uid)
    return row.uid


def _sound(row: Row) -> Row:
    """The row, its texts such as UTF-8 can hold."""
    for name in row.__struct_fields__:
        setattr(row, name, _whole(getattr(row, name)))
    return row


def _whole(text: str) -> str:
    """Lone surrogates, which no UTF-8 can hold, become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_text(data: bytes, whole: bool = True) -> bool:
    if data.isascii():
        return True
    try:
        codecs.utf_8_decode(data, "strict", whole)
    except UnicodeDecodeError:
        return False
    return True


def is_json(line: bytes) -> bool:
    """Whether `line` is one whole JSON value."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _fault(line: bytes, number: int, rule: str, made: Mapping | None) -> Fault:
    uid = (made.uid if made else UID).search(line[: 4 * SNIPPET])
    snippet = line[: 4 * SNIPPET].decode("utf-8", "backslashreplace")[:SNIPPET]
    named = (uid[1] or uid[2]).decode("utf-8", "replace") if uid else None
    return Fault(number, named, rule, snippet)
