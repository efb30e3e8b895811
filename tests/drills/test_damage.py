"""Damaged state is made anew, or refused with its path, and never served: all that is read without a model."""

from __future__ import annotations

from tests.drills import damage


def test_no_damaged_file_is_served(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_WORKERS", "1")
    found = damage.table(damage.Root(tmp_path, trains=False), ("catalogue", "lookups"))
    assert {cell for cell in found.items() if cell[1].startswith("BAD")} == set()
    told = {kind: {found[kind, way] for way in damage.WAYS} for kind, _ in found}
    for kind in ("shard: Parquet", "export: examples", "export: rows", "clean: quarantine", "index: files"):
        assert told[kind] == {"made anew"}
    assert told["backup: a file"] == {"refused with its path"}
