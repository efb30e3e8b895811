"""Forms: what a file holds is told by its first bytes, never by its name, and given as JSON lines.

Read as they are: JSON lines. Brought to lines: JSON arrays, JSON values that span lines or share one, tables as text
(CSV, TSV), each of them also in UTF-16 or UTF-32. Anything else that is known for what it is, is refused with what to
do about it. What nobody knows is taken for lines, and each of them goes to quarantine.
"""

from __future__ import annotations

import ast
import codecs
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from tasks.catalogue import tables
from tasks.catalogue.how import USUAL, How
from tasks.core.errors import CatalogueError

HEAD = 1 << 16  # bytes that are looked at
PYTHON = 1 << 20  # bytes of a line of Python that is read
FIRST = 1 << 24  # bytes of a first line that begins with a list of objects: rows, or a part of one row
MARK = codecs.BOM_UTF8
CODECS = (  # the longer marks first: UTF-32 begins like UTF-16; without a mark, the NULs beside the first bracket tell
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"{\0\0\0", "utf-32-le"),
    (b"\0\0\0{", "utf-32-be"),
    (b"{\0", "utf-16-le"),
    (b"[\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
    (b"\0[", "utf-16-be"),
)
PICTURE = "a picture and no catalogue: name the file that lists the products"
BINARY = (
    (b"\xd0\xcf\x11\xe0", "an old Office file: save its sheet as CSV (UTF-8)"),
    (b"%PDF", "a PDF: export its table as CSV (UTF-8)"),
    (b"SQLite format 3\0", "an SQLite database: export its table as CSV (`sqlite3 -csv -header FILE 'select …'`)"),
    (b"\x89HDF\r\n", "an HDF5 file: write its table as Parquet or CSV"),
    (b"\x93NUMPY", "a NumPy array: write it as Parquet or CSV"),
    (b"Obj\x01", "an Avro file: write it as Parquet or JSON lines"),
    (b"ORC", "an ORC file: write it as Parquet or JSON lines"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and name the folder"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it and name the folder"),
    (b"\x04\x22\x4d\x18", "an lz4 file: unpack it"),
    (b"PK\x03\x04", "a zip archive inside another archive, or a damaged one: unpack it and name the folder"),
    (b"\x1f\x8b", "packed with gzip twice: unpack it once"),
    (b"\x28\xb5\x2f\xfd", "packed twice: unpack it once"),
    (b"\x89PNG", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
)
PICKLE = re.compile(rb"\x80[\x02-\x05]")
POINTER = b"version https://git-lfs.github.com/spec/"
PAGE = re.compile(rb"(?i)<(!doctype html|html|head|body)\b")
OBJECT = re.compile(rb"^[ \t]*\{", re.MULTILINE)
LIST_OF = re.compile(r'\s*\{\s*"([^"]{1,64})"\s*:\s*\[\s*\{')
LONG = re.compile(rb'(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*\{\s*"[^"]{1,64}"\s*:\s*\[\s*\{[^\n]*\Z')
FIELD = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')
ARRAY = re.compile(r"\[\s*[{\[\]]")
SPACE = (9, 10, 13, 32)  # bytes
LOOKS = 50  # lines of an array that tell whether each holds an item


class Form(NamedTuple):
    """What a file holds: lines, array (an item a line), array in one piece, values, table, or what is refused.

    wrapped: one object of which a key holds the array; python: a Python dictionary a line.
    """

    kind: str
    codec: str = "utf-8"
    refused: str = ""  # what it is, and what to do
    delimiter: str = ""  # of a table's columns; of what is wrapped, the key

    @property
    def as_it_is(self) -> bool:
        """Whether the file's own bytes are JSON lines."""
        return self == LINES


LINES = Form("lines")


def recognise(head: bytes, how: How = USUAL) -> Form:
    """The form of a file that begins with `head`; the names that are wanted tell some apart."""
    for magic, told in BINARY:
        if head.startswith(magic):
            return Form("refused", refused=told)
    if head[257:262] == b"ustar":
        return Form("refused", refused="a tar archive inside another archive: unpack it and name the folder")
    if PICKLE.match(head):
        return Form("refused", refused="a pickle, which may run code when it is read: write it as Parquet or CSV")
    codec = next((codec for magic, codec in CODECS if head.startswith(magic)), how.encoding or "utf-8")
    if codec != "utf-8":
        head = codecs.getincrementaldecoder(codec)("replace").decode(head).encode("utf-8", "replace")
    if how.delimiter and not head.removeprefix(MARK).lstrip().startswith((b"{", b"[")):
        return Form("table", codec, delimiter=how.delimiter)
    found = _text(head.removeprefix(MARK).lstrip(), how.wanted)
    return found._replace(codec=codec)


def _text(head: bytes, wanted: Sequence[str]) -> Form:
    if head.startswith(b"["):
        return _array(head)
    if head.startswith(b"{"):
        return _objects(head.decode("utf-8", "replace"), set(wanted))
    if head.startswith(POINTER):
        return Form("refused", refused="a git-lfs pointer and not the file itself: run `git lfs pull`, or download it")
    if OBJECT.search(head) and not tables.has_header(head.decode("utf-8", "replace"), wanted):
        return LINES
    if PAGE.match(head):
        return Form("refused", refused="a web page, perhaps an error or a login: open its address, and fetch it again")
    if head.startswith(b"<"):
        return Form("refused", refused="XML, perhaps a server's error: fetch it again, or write it as JSON lines")
    delimiter = tables.delimiter(head.decode("utf-8", "replace"), wanted)
    return Form("table", delimiter=delimiter) if delimiter else LINES


def _array(head: bytes) -> Form:
    """An array of objects. Where most have a line, and no line has two, a bad one is kept apart from the others."""
    if not ARRAY.match(head[:1_000].decode("utf-8", "replace")):
        return LINES
    lines = [line for line in map(_bare, head.split(b"\n")) if line][:LOOKS]
    items = [_value(b"[%b]" % line) for line in lines]
    of_one = sum(isinstance(some, list) and len(some) == 1 and isinstance(some[0], dict) for some in items)
    of_more = any(isinstance(some, list) and len(some) > 1 and isinstance(some[0], dict) for some in items)
    return Form("array of lines") if of_one * 2 >= len(lines) and not of_more else Form("array")


def _objects(head: str, wanted: set[str]) -> Form:
    """Lines, or objects that span several lines or share one (carriage returns alone are no line ends)."""
    first, _, rest = head.partition("\n")
    value, wrapped = _value(first), LIST_OF.match(head)
    if isinstance(value, dict):
        return _wrapped(wrapped[1]) if wrapped and not rest.strip() and not wanted & set(value) else LINES
    if isinstance(_value(first.rstrip().removesuffix(",")), dict):
        return Form("array of lines")  # without its brackets
    if _is_python(first):
        return Form("python")
    if any(isinstance(_value(line), dict) for line in head.split("\n")[1:] if line.startswith("{")):
        return LINES  # of which the first is bad
    try:
        value, end = json.JSONDecoder().raw_decode(head)
    except (ValueError, RecursionError):
        if wrapped:
            return _wrapped(wrapped[1])
        # One object longer than the head: its first line holds no more than how it begins.
        spans = (
            FIELD.match(head)
            and re.fullmatch(r'\{\s*("(?:[^"\\]|\\.)*"\s*:.*[,\[{]\s*)?', first.strip())
            and "\n" in head
        )
        value, end = {}, 0
        if not spans:
            return LINES
    if wrapped and not wanted & set(value):
        return _wrapped(wrapped[1])
    if end and not value:
        return LINES
    if end and not head[end:].strip() and not wanted & set(value) and (key := _key_of_rows(value)):
        return _wrapped(key)
    several = "\n" in head[:end].strip() or re.match(r"[\s,]*\{", head[end:])
    return Form("values") if not end or several else LINES


def _key_of_rows(value: dict[str, Any]) -> str:
    """The one key that holds a list of objects; "" where none or several do."""
    found = [key for key, some in value.items() if isinstance(some, list) and some and isinstance(some[0], dict)]
    return found[0] if len(found) == 1 else ""


def _wrapped(key: str) -> Form:
    return Form("wrapped", delimiter=key)


def _value(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_python(line: str) -> bool:
    if "'" not in line[:3]:
        return False
    try:
        return isinstance(ast.literal_eval(line.strip()), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def lines(name: str, blocks: Iterator[bytes], how: How = USUAL) -> Iterator[bytes]:
    """JSON lines of the file called `name`; of a table, those with the columns that are `wanted`.

    CatalogueError where it is something that nobody reads here.
    """
    head, blocks = peeked(blocks)
    form = recognise(head, how)
    if form.kind == "refused":
        raise CatalogueError(f"{name!r} is {form.refused}")
    if form.codec != "utf-8":
        blocks = _recoded(name, blocks, form.codec)
    if form.as_it_is:
        return blocks  # a mark at the beginning too: shards are known by these bytes
    blocks = _unmarked(blocks)
    if form.kind == "table":
        return tables.text(name, blocks, form.delimiter, how.wanted)
    if form.kind == "array of lines":
        return _item_lines(blocks)
    if form.kind == "python":
        return _python_lines(blocks)
    if form.kind == "wrapped":
        return _Splitter(in_array=True, alone=True).split(_unwrapped(blocks, form.delimiter))
    return blocks if form.kind == "lines" else _Splitter(in_array=form.kind == "array").split(blocks)


def peeked(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all blocks, those first ones included."""
    seen: list[bytes] = []
    size, wanted = 0, HEAD
    for block in blocks:
        seen.append(block)
        size += len(block)
        if wanted == HEAD and size >= HEAD and LONG.match(b"".join(seen)[:HEAD].replace(b"\0", b"")):
            wanted = FIRST  # or where its line ends
        if size >= wanted or (wanted == FIRST and b"\n" in block):
            break
    return b"".join(seen)[:wanted], chain(seen, blocks)


def _unmarked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a byte order mark; blocks are longer than one."""
    return chain((next(blocks, b"").removeprefix(MARK),), blocks)


def _recoded(name: str, blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """The text as UTF-8. Half a character at the end is left out: the line that it ends is cut."""
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CatalogueError(
            f"{name!r} is not the {codec.upper()} that it begins as ({error}): save it as UTF-8"
        ) from None


def _bare(line: bytes) -> bytes:
    """The item in one line of an array, without brackets and comma."""
    line = line.strip().removeprefix(MARK)
    if line.startswith((b"[", b",")):
        line = line[1:].lstrip()
    if line.endswith(b"]") and not line.startswith(b"["):
        line = line[:-1].rstrip()
    return line.removesuffix(b",").rstrip()


def _item_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """An array whose items stand on a line each; item n becomes line n."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        if bare := b"".join(line + b"\n" for line in map(_bare, whole) if line):
            yield bare
    if last := _bare(rest):
        yield last


def _python_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of Python dictionaries as JSON lines. Only literals are read; a line that is none is left as it is."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        if whole:
            yield b"".join(map(_literal, whole))
    if rest:
        yield _literal(rest).removesuffix(b"\n")


def _literal(line: bytes) -> bytes:
    if len(line) <= PYTHON:
        try:
            value = ast.literal_eval(line.decode("utf-8").strip())
            return json.dumps(value, default=str).encode() + b"\n"
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            pass
    return line + b"\n"


def _unwrapped(blocks: Iterator[bytes], key: str) -> Iterator[bytes]:
    """The blocks from the array on that `key` holds."""
    before = b""
    for block in blocks:
        before += block
        found = re.search(rb'"%b"\s*:\s*(?=\[)' % re.escape(key.encode()), before)
        if found:
            yield before[found.end() :]
            yield from blocks
            return


class _Splitter:
    """Cuts JSON text where a value ends: item n of an array, or the n-th of several values, becomes line n.

    It only looks for quotes, brackets and commas, so memory does not grow with an item, numbers stay as they are
    written, and an item that is no row goes to quarantine like a line. White space between values is left out.
    """

    def __init__(self, in_array: bool, alone: bool = False) -> None:
        self._alone = alone  # nothing after the array counts
        self._done = False
        self._level = int(in_array)  # of brackets around a value
        self._depth, self._inside = 0, False  # brackets open so far; within a string
        self._rest, self._ended = b"", True

    def split(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in chain(blocks, [b""]):
            data = self._rest + block
            escapes = len(data) - len(data.rstrip(b"\\")) if block else 0
            data, self._rest = data[: len(data) - escapes], data[len(data) - escapes :]
            if out := self._cut(data):
                yield out

    def _cut_at(self, data: bytes, end: int) -> bytes:
        """What is cut of the last bytes of the array."""
        self._done, self._alone = False, False
        out = self._cut(data[:end])
        self._done = True
        return out

    def _cut(self, data: bytes) -> bytes:
        import numpy as np

        plain = re.sub(rb"\\.", b"__", data, flags=re.DOTALL) if b"\\" in data else data
        codes = np.frombuffer(plain, np.uint8)
        if not len(codes) or self._done:
            return b""
        quotes = codes == 34
        within = ((np.cumsum(quotes, dtype=np.int32) + self._inside) & 1).astype(bool)
        outside = ~within & ~quotes
        opens = outside & ((codes == 123) | (codes == 91))
        closes = outside & ((codes == 125) | (codes == 93))
        depth = np.cumsum(opens.astype(np.int8) - closes, dtype=np.int32) + self._depth
        if self._alone and len(ended := np.flatnonzero(closes & (depth == 0))):
            self._done = True
            return self._cut_at(data, int(ended[0]) + 1)
        self._inside, self._depth = bool(within[-1]), int(depth[-1])
        out = np.frombuffer(data, np.uint8).copy()
        out[within & ((out == 10) | (out == 13))] = 32
        commas = outside & (codes == 44) & (depth <= self._level)
        brackets = self._level == 1 and ((opens & (depth == 1)) | (closes & (depth == 0)))
        keep = ~(outside & np.isin(np.arange(256), SPACE)[codes])
        ends = commas | brackets
        out[ends] = 10
        if not self._level:
            after = np.flatnonzero(closes & (depth == 0)) + 1
            out, keep = np.insert(out, after, 10), np.insert(keep, after, True)
        cut = re.sub(rb"\n+", b"\n", out[keep].tobytes())
        if self._ended:
            cut = cut.removeprefix(b"\n")
        self._ended = cut.endswith(b"\n") if cut else self._ended
        return cut
