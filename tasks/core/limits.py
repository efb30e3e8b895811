"""Limits: YAML and JSON from outside, refused before they can fill the memory or the stack.

PyYAML and the json module take whatever they are given: a kilobyte of aliases stands for gigabytes, and some thousand
brackets end in a RecursionError. Here the parser's events are counted before anything is built.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

BYTES = 1_000_000
DEPTH = 50
NODES = 100_000  # each alias counted as often as it is repeated
SHOWN = 200  # characters of a value in an error
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times as fast


def yaml_value(text: str | bytes) -> Any:
    """Parse YAML. ValueError (one line) where it is broken, too long, nested too deep or expands to too many values."""
    _fits(text, BYTES)
    try:
        _counted(text)
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(_line(error)) from error


def json_value(text: str | bytes, most: int | None = BYTES) -> Any:
    """Parse JSON of at most `most` bytes. ValueError (one line) where it is broken, too long or nested too deep."""
    _fits(text, most)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def shown(value: object) -> str:
    """`repr(value)`, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"


def _fits(text: str | bytes, most: int | None) -> None:
    if most is not None and len(text) > most:
        raise ValueError(f"it has {len(text):,} bytes, more than the limit of {most:,}")


def _counted(text: str | bytes) -> None:
    """Raise ValueError where the value would be too deep or hold too many nodes."""
    sizes: dict[str, int] = {}  # nodes of each anchor, known once it is closed
    open_ones: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_ones.pop()
            if anchor:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_ones):
                raise ValueError(f"alias *{event.anchor} contains itself")
            nodes += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_ones.append((event.anchor, nodes - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if len(open_ones) > DEPTH:
            raise ValueError(f"it is nested deeper than {DEPTH} levels")
        if nodes > NODES:
            raise ValueError(f"its aliases stand for more than {NODES:,} values")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
