"""Flow prepare, whole, on a Prefect server: what it makes, and what it does not make again."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client

from deployments.demo import catalogue
from flows.prepare import prepare
from tasks.core.errors import CatalogueError, ExportError
from tasks.core.models import Prepared
from tasks.recipe.model import Recipe
from tests.kit.models import build, tune

pytestmark = pytest.mark.usefixtures("orchestrator")

LINES, PER = 1_000, 200


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest pool: this process."""
    monkeypatch.setenv("SHARDTUNE_WORKERS", "1")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A made-up catalogue of five full shards."""
    path = tmp_path / "catalogue.json"
    catalogue.write(str(path), LINES)
    return path


def recipe(source: Path, **changes: object) -> Recipe:
    """A recipe of small shards; `changes` replace whole parts of it."""
    whole = {"catalogue": {"uri": str(source), "lines_per_shard": PER}, "name": "test"} | changes
    return Recipe.model_validate(whole)


def wire(prepared: Prepared) -> dict[str, object]:
    """The result as other programs read it, but for how much of it was worked on in this run."""
    return prepared.model_dump(mode="json", exclude={"made"})


def rows(prepared: Prepared) -> list[dict[str, object]]:
    return [row for shard in prepared.shards for row in pq.read_table(shard.uri).to_pylist()]


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes under the same name, size and time."""
    told = path.stat()
    assert len(data) == told.st_size
    path.write_bytes(data)
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_is_accounted_for(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("SHARDTUNE_WORKERS", workers)
    path = tmp_path / "catalogue.json"
    catalogue.write(str(path), LINES, faults=True)  # every kind of bad line, one of 50 MB, and the last one cut short
    prepared = prepare(recipe(path))
    assert prepared.lines == LINES + len(catalogue.bad_lines()) + 1
    assert prepared.lines == prepared.kept + sum(prepared.dropped.values()) + prepared.quarantined
    assert (prepared.cut, prepared.made, len(prepared.shards)) == (True, 6, 6)
    told = [
        json.loads(t)
        for s in prepared.shards
        if s.quarantine_uri
        for t in Path(s.quarantine_uri).read_text().splitlines()
    ]
    assert Counter(one["rule"] for one in told) == {
        "malformed_json": 1, "wrong_type": 2, "missing_content": 1, "invalid_utf8": 1, "nul_byte": 1, "too_long": 1,
        "cut": 1,
    }  # fmt: skip
    assert [one["line"] for one in told] == [*range(1_001, 1_007), 1_010, 1_011]
    assert {"B0SURROGAT", "B0LONGTEXT"} <= {row["uid"] for row in rows(prepared)}
    assert len(rows(prepared)) == prepared.kept


def test_other_programs_find_what_the_readme_promises(source):
    told = wire(prepare(recipe(source)))
    assert {"lines", "kept", "dropped", "quarantined", "shards", "exports"} <= set(told)
    assert {"index", "uri", "lines", "kept", "digest"} <= set(told["shards"][0])
    assert {"format", "style", "split", "uri", "examples", "tokens", "digest"} <= set(told["exports"][0])
    assert Prepared.model_validate(told | {"made": 0})
    for export in told["exports"]:
        assert len(Path(export["uri"]).read_text().split("\n")) == export["examples"] + 1


def test_a_format_of_a_model_takes_the_template_of_the_recipe_s_own(source, tmp_path):
    mine = tune(build(tmp_path / "model", "llama")).model_dump(mode="json")
    done = prepare(recipe(source, tune=mine, export={"formats": ["chat"]}))
    assert {export.format for export in done.exports} == {"chat"} and all(e.tokens is not None for e in done.exports)
    with pytest.raises(ExportError, match="format 'chat' needs a base model"):
        prepare(recipe(source, export={"formats": ["chat"]}))


def test_a_second_run_only_notices(source):
    first = prepare(recipe(source))
    again = prepare(recipe(source))
    assert (first.made, again.made) == (5, 0)
    assert wire(again) == wire(first)


def test_an_appended_catalogue_does_only_its_new_shards(source, tmp_path):
    before = prepare(recipe(source))
    catalogue.write(str(tmp_path / "more.json"), PER + 50, seed=2)
    with source.open("ab") as out:
        out.write((tmp_path / "more.json").read_bytes())
    after = prepare(recipe(source))
    assert (after.made, len(after.shards)) == (2, 7)
    assert after.shards[:5] == before.shards
    assert after.exports[: len(before.exports)] == before.exports
    assert after.lines == LINES + PER + 50


def test_a_changed_rule_cleans_again_without_planning_again(tmp_path):
    catalogue.write(str(tmp_path / "plain.json"), LINES)
    packed = tmp_path / "catalogue.json.gz"
    packed.write_bytes(gzip.compress((tmp_path / "plain.json").read_bytes()))
    first = prepare(recipe(packed))
    rewrite(packed, b"\0" * packed.stat().st_size)  # whoever planned again would find nothing
    other = prepare(recipe(packed, clean={"min_content": 200}))
    assert (other.made, other.lines) == (5, first.lines)
    assert other.dropped["min_content"] > first.dropped.get("min_content", 0)
    assert [shard.source for shard in other.shards] == [shard.source for shard in first.shards]
    assert prepare(recipe(packed)).made == 0


def test_another_style_exports_again_and_cleans_nothing(source):
    first = prepare(recipe(source))
    other = prepare(recipe(source, export={"style": "sales"}))
    assert other.shards == first.shards
    assert {e.style for e in other.exports} == {"sales"}
    assert {e.uri for e in other.exports}.isdisjoint(e.uri for e in first.exports)


def test_a_deleted_artifact_is_made_again(source):
    lines = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join([*lines[:300], b"bad\n", *lines[301:]]))
    first = prepare(recipe(source))
    shard, export = first.shards[1], next(e for e in first.exports if e.shard == 1)
    everything = [Path(str(u)) for u in (shard.uri, shard.quarantine_uri, export.uri, export.rows_uri)]
    for lost in [[path] for path in everything] + [everything]:
        held = [path.read_bytes() for path in lost]
        for path in lost:
            path.unlink()
        assert wire(prepare(recipe(source))) == wire(first), lost
        assert [path.read_bytes() for path in lost] == held
    assert prepare(recipe(source)).made == 0


def test_the_first_of_two_shards_keeps_what_both_hold(source):
    some = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join(some[:PER] + some[: PER // 2]))
    prepared = prepare(recipe(source))
    first, second = prepared.shards
    assert second.kept == 0
    assert second.dropped["duplicates"] == sum(row["line"] <= PER // 2 for row in rows(prepared))
    kept = prepare(recipe(source, clean={"duplicates": "keep"}))
    assert kept.kept > prepared.kept
    assert "duplicates" not in kept.dropped
    assert first.uri != kept.shards[0].uri


def test_a_catalogue_that_changed_since_it_was_planned_is_planned_again(source):
    first = prepare(recipe(source))
    rewrite(source, source.read_bytes().replace(b'"content": "The ', b'"content": "One '))
    after = prepare(recipe(source, clean={"min_content": 21}))  # another rule, so that the bytes are read
    assert after.lines == first.lines
    assert [s.source for s in after.shards] != [s.source for s in first.shards]
    assert any(str(row["content"]).startswith("One ") for row in rows(after))
    assert not any(str(row["content"]).startswith("The ") for row in rows(after))


@pytest.mark.parametrize("data", [b"", b"bad\n"])
def test_a_catalogue_of_no_use_is_an_error(tmp_path, data):
    path = tmp_path / "catalogue.json"
    path.write_bytes(data)
    with pytest.raises(CatalogueError, match=r"is empty: give|holds no usable row: 1 lines, .*line 1, malformed_json"):
        prepare(recipe(path))


def test_a_person_sees_the_counts_in_prefect(source):
    prepared = prepare(recipe(source))
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": ["prepare-summary"]}}, "sort": "CREATED_DESC", "limit": 1}
        (shown,) = client.request("POST", "/artifacts/filter", json=wanted).json()
    for words in (str(source), f"| read | {LINES:,} |", f"| kept | {prepared.kept:,} |", "5 worked on in this run"):
        assert words in shown["data"]
