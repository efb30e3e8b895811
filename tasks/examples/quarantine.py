"""Quarantine: an export without some of its lines, which are listed beside it with their reasons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tasks.core import store
from tasks.core.models import Export, Finding
from tasks.examples.export import read_rows, write_rows

SNIPPET = 200  # characters of a bad line


def uids(export: Export) -> list[str]:
    """The product of each line."""
    return [str(uid) for uid in read_rows(export, ["uid"])["uid"].to_pylist()]


def without(export: Export, bad: set[int], findings: Sequence[Finding], name: str) -> tuple[Export, str]:
    """The export without its bad lines, beside it under `name`, and the quarantine file that lists them.

    Its tokens are those of the examples that stay, where they are known of each.
    """
    base = f"{export.uri.removesuffix('.jsonl')}-{name}"
    reasons: dict[int, list[str]] = {}
    for f in findings:
        if f.line and f.level == "error":
            reasons.setdefault(f.line, []).append(f"{f.rule}: {f.message}")
    hasher, names, quarantined = hashlib.sha256(), uids(export), []
    with store.reading(export.uri) as stream, store.writing(f"{base}.jsonl", derived=True) as good:
        for line, raw in enumerate(stream, 1):
            if line not in bad:
                hasher.update(raw)
                good.write(raw)
                continue
            snippet = raw.decode("utf-8", "replace")[:SNIPPET]
            uid = names[line - 1] if line <= len(names) else None
            quarantined.append({"line": line, "uid": uid, "rule": "; ".join(reasons[line]), "snippet": snippet})
    rows = read_rows(export)
    kept = rows.take([n for n in range(rows.num_rows) if n + 1 not in bad])
    with store.writing(f"{base}.quarantine.jsonl") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in quarantined)
    counts = kept["tokens"].to_pylist()
    changed = {
        "uri": f"{base}.jsonl",
        "rows_uri": f"{base}.rows.parquet",
        "digest": store.learn(f"{base}.jsonl", hasher.hexdigest()[:32]),
        "rows_digest": write_rows(f"{base}.rows.parquet", kept),
        "tokens": None if None in counts else sum(counts),
        "tokens_high": None,
    }
    return (
        export.model_copy(update=changed | {"examples": export.examples - len(quarantined)}),
        f"{base}.quarantine.jsonl",
    )
