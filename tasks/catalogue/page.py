"""Page: what was found of a catalogue as one HTML file that needs nothing else. Everything of a row is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.catalogue.quality import REPEATS, Quality

TITLES = {
    "changed": "Kept, and changed by cleaning",
    "duplicates": "Left out: the same title and content stands before",
    "same_uid": "Left out: another row has this uid",
    "shared_content": "Left out: the content stands under several titles, so it describes none",
}
_PIECES = re.compile(r"\s+|[^\s\w]|\w+")


def html(found: Quality) -> str:
    """The page."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    pages.globals |= {"marked": marked, "percent": _percent}
    prepared = found.prepared
    order = ["changed", *(rule for rule in prepared.dropped if rule not in REPEATS), *REPEATS]
    sections = [(TITLES.get(rule, f"Left out: {rule}"), found.examples.get(rule, [])) for rule in order]
    return pages.get_template("page.html").render(
        found=found,
        prepared=prepared,
        sections=[section for section in sections if section[1]],
        faults=[{key: one[key] for key in ("line", "uid", "rule", "snippet")} for one in found.faults],
        files=[shard.quarantine_uri for shard in prepared.shards if shard.quarantine_uri][:5],
        day=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip


def marked(one: str, other: str) -> Sequence[tuple[bool, str]]:
    """`one` in pieces: whether `other` lacks it, and its text."""
    a, b = _PIECES.findall(one), _PIECES.findall(other)
    made: list[tuple[bool, str]] = []
    for kind, start, end, _, _ in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if end > start:
            made.append((kind != "equal", "".join(a[start:end])))
    return made


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "\u2013"
