"""Card: the data set card beside clean shards, so that `datasets.load_dataset(folder)` opens them as they lie.

Under the root a file holds the rows of every split, so they open as one split, `rows`. What is published has a file for
each split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import yaml

from tasks.core import store
from tasks.core.models import Prepared, Split

TEXT = """
# Clean product rows

Made by shardtune from a catalogue of {lines:,} lines: {kept:,} rows kept, {dropped:,} dropped by a rule,
{quarantined:,} in quarantine. One Parquet file is one shard, a run of consecutive catalogue lines.

| column | what |
|---|---|
| uid | the product's identifier, as in the catalogue |
| title, content | cleaned text; a content keeps its paragraphs |
| line | 1-based line in the catalogue |
| row_hash | xxh3-128 of title and content, 32 hex digits |
| split | train, holdout or reserved (shares its title or its content with held-out rows): train on train only |

| dropped by | rows |
|---|---|
{table}

| mended by | rows |
|---|---|
{mended}
"""
COLUMNS = ("uid", "title", "content", "line", "row_hash", "split")
FOOT = "<!-- shardtune wrote this page: "
_OLD = "Made by shardtune from a catalogue of"  # in pages from before they were signed


def text(prepared: Prepared, files: Mapping[Split, Sequence[str]] | None = None) -> str:
    """The card: its header names the files of each split, so files of other runs in the folder do not count."""
    named: dict[str, Sequence[str]] = {str(split): names for split, names in (files or {}).items()}
    named = named or {"rows": [shard.uri.rsplit("/", 1)[-1] for shard in prepared.shards if shard.kept]}
    found = [{"split": split, "path": list(names)} for split, names in named.items() if names]
    header = {
        "configs": [{"config_name": "default", "data_files": found}],
        "dataset_info": {"features": [{"name": n, "dtype": "int64" if n == "line" else "string"} for n in COLUMNS]},
    }
    counts = prepared.model_dump(include={"lines", "kept", "quarantined"})
    tables = {"table": _table(prepared.dropped), "mended": _table(prepared.mended)}
    body = TEXT.format(**counts, dropped=sum(prepared.dropped.values()), **tables)
    return signed(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{body}")


def _table(counts: Mapping[str, int]) -> str:
    return "\n".join(f"| {rule} | {count:,} |" for rule, count in counts.items()) or "| nothing | 0 |"


def signed(page: str) -> str:
    """The page with its own digest at its end, by which `is_ours` knows whether a person has changed it since."""
    return f"{page}\n{FOOT}{hashlib.sha256(page.encode()).hexdigest()[:32]} -->\n"


def is_ours(page: bytes) -> bool:
    """Whether shardtune wrote this page and nobody has changed it."""
    body, foot, _ = page.decode("utf-8", "replace").rpartition(f"\n{FOOT}")
    return signed(body).encode() == page if foot else _OLD in page.decode("utf-8", "replace")


def write(prepared: Prepared) -> str:
    """Write the card beside the shards, where it is not there already; returns its URI."""
    uri = store.join(prepared.shards[0].uri.rsplit("/", 1)[0], "README.md")
    data = text(prepared).encode()
    if not store.exists(uri) or read(uri) != data:
        with store.writing(uri) as out:
            out.write(data)
    return uri


def read(uri: str) -> bytes:
    with store.reading(uri) as stream:
        return stream.read()
