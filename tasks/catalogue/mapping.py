"""Mapping: records under their own names to rows, as `catalogue.fields` says.

What a record does not have is left out: a null, an empty text, an empty list, a number that is none. Numbers stay as
they are written. Lists are joined; an object becomes lines of `key: value`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tasks.recipe.fields import NAMED, Fields, names

DEPTH = 16  # levels of a value that are looked into
JOINED = {"uid": "-", "title": " ", "content": "\n"}
FACT = ", "


class Row(msgspec.Struct, gc=False):
    """One catalogue line; its other keys are skipped. A whole number as `uid` becomes its digits."""

    uid: str | int
    title: str
    content: str


class Mapped(Row, gc=False):
    """A row with its facts, as a JSON object of texts."""

    facts: str = "{}"


def keys(named: Sequence[str]) -> tuple[str, ...]:
    """The keys of a record that may hold what is named: a path's own name, and its first step."""
    found = [key for name in named for key in (name, name.partition(".")[0])]
    return tuple(dict.fromkeys(key for key in found if key))


class Mapping:
    """What `fields` makes of a record."""

    def __init__(self, fields: Fields) -> None:
        self.keys = keys(fields.named)
        record = msgspec.defstruct(
            "Record", [(f"k{n}", Any, None) for n in range(len(self.keys))],
            rename={f"k{n}": key for n, key in enumerate(self.keys)}, gc=False,
        )  # fmt: skip
        self._decoder = msgspec.json.Decoder(record, float_hook=str)
        self._uid, self._title, self._content = (
            self._field(getattr(fields, name), joint) for name, joint in JOINED.items()
        )
        self._facts = {name: self._field(parts, FACT) for name, parts in fields.facts.items()}
        name = re.escape(json.dumps(fields.uid[0].rpartition(".")[2])).encode()
        self.uid = re.compile(name + rb'\s*:\s*(?:"([^"\\]{1,64})"|(-?[0-9]{1,64})\b)')

    def rows(self, data: bytes) -> list[Row]:
        """The rows of whole lines; ValueError where one is no JSON object."""
        return [self._row(msgspec.structs.astuple(record)) for record in self._decoder.decode_lines(data)]

    def row(self, line: bytes) -> Row | str:
        """The row of one line, or the rule that it breaks."""
        try:
            value = json.loads(line, parse_float=str)
        except (ValueError, RecursionError):
            return "malformed_json"
        return self.of(value) if isinstance(value, dict) else "wrong_type"

    def of(self, record: dict[str, Any]) -> Row | str:
        """The row of one record, or the rule that it breaks."""
        row = self._row([record.get(key) for key in self.keys])
        return row if row.uid else "missing_uid"

    def _row(self, values: Sequence[Any]) -> Row:
        row = self._uid(values).strip(), self._title(values), self._content(values)
        if not self._facts:
            return Row(*row)
        facts = {name: text.strip() for name, field in self._facts.items() if (text := field(values))}
        return Mapped(*row, json.dumps(facts, ensure_ascii=False))

    def _field(self, parts: Sequence[str], joint: str) -> Callable[[Sequence[Any]], str]:
        found = [self._part(part, joint) for part in parts]
        if len(found) == 1:
            return found[0]
        return lambda values: joint.join(text for part in found if (text := part(values)))

    def _part(self, part: str, joint: str) -> Callable[[Sequence[Any]], str]:
        if not NAMED.search(part):
            return self._named(part, joint)
        pieces = NAMED.split(part)
        texts = [self._named(name, ", " if joint == "\n" else joint) for name in names(part)]

        def filled(values: Sequence[Any]) -> str:
            told = [text(values) for text in texts]
            pieces[1::2] = told
            return "".join(pieces) if all(told) else ""

        return filled

    def _named(self, name: str, joint: str) -> Callable[[Sequence[Any]], str]:
        """The text of a column: of the key of that very name, or at the end of the path."""
        whole, (first, *rest) = self.keys.index(name), name.split(".")
        start = self.keys.index(first) if rest and first else whole

        def text(values: Sequence[Any]) -> str:
            value = values[whole]
            if value is None and rest:
                value = at(values[start], rest)
            if type(value) is not str:
                return flat(value, joint)
            return "" if value.isspace() else value

        return text


def at(value: Any, path: Sequence[str]) -> Any:
    """What lies at the end of `path` in `value`; of each item where there is a list on the way."""
    for n, key in enumerate(path):
        if isinstance(value, list):
            if key.isdecimal() and len(key) < 6:
                value = value[int(key)] if int(key) < len(value) else None
                continue
            return [at(item, path[n:]) for item in value]
        value = value.get(key) if isinstance(value, dict) else None
    return value


def flat(value: Any, joint: str, depth: int = 0) -> str:
    """`value` as text; "" for what says nothing."""
    if isinstance(value, str):
        return "" if value.isspace() else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or depth > DEPTH or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, list):
        return joint.join(text for item in value if (text := flat(item, joint, depth + 1)))
    if isinstance(value, dict):
        return joint.join(f"{key}: {text}" for key in value if (text := flat(value[key], ", ", depth + 1)))
    return str(value)


def of(fields: Fields) -> Mapping:
    """The mapping of these fields."""
    return _made(fields.model_dump_json())


@lru_cache(maxsize=8)
def _made(fields: str) -> Mapping:
    return Mapping(Fields.model_validate_json(fields))
