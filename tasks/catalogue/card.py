"""Card: the data set card beside the clean shards, so that `datasets.load_dataset(folder)` opens them as they lie."""

from __future__ import annotations

import yaml

from tasks import store
from tasks.models import Prepared

TEXT = """
# Clean product rows

Made by shardtune from a catalogue of {lines:,} lines: {kept:,} rows kept, {dropped:,} dropped by a rule,
{quarantined:,} in quarantine. One Parquet file is one shard, a run of consecutive catalogue lines.

| column | what |
|---|---|
| uid | the product's identifier, as in the catalogue |
| title, content | cleaned text |
| line | 1-based line in the catalogue |
| row_hash | xxh3-128 of title and content, 32 hex digits |
| split | train, holdout or reserved (shares its title or its content with held-out rows): train on train only |

| dropped by | rows |
|---|---|
{table}
"""


def text(prepared: Prepared) -> str:
    """The card: its header names the shards of this run, so files of other runs in the folder do not count."""
    names = [shard.uri.rsplit("/", 1)[-1] for shard in prepared.shards if shard.kept]
    header = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": names}]}],
        "dataset_info": {"features": [{"name": n, "dtype": "int64" if n == "line" else "string"} for n in COLUMNS]},
    }
    table = "\n".join(f"| {rule} | {count:,} |" for rule, count in prepared.dropped.items())
    counts = prepared.model_dump(include={"lines", "kept", "quarantined"})
    body = TEXT.format(**counts, dropped=sum(prepared.dropped.values()), table=table)
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{body}"


COLUMNS = ("uid", "title", "content", "line", "row_hash", "split")


def write(prepared: Prepared) -> str:
    """Write the card beside the shards, where it is not there already; returns its URI."""
    uri = store.join(prepared.shards[0].uri.rsplit("/", 1)[0], "README.md")
    data = text(prepared).encode()
    if not store.exists(uri) or _read(uri) != data:
        with store.writing(uri) as out:
            out.write(data)
    return uri


def _read(uri: str) -> bytes:
    with store.reading(uri) as stream:
        return stream.read()
