"""Batches: several shards in one call give what each gives alone, and a missing file is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.catalogue import batch
from tasks.recipe.model import Recipe
from tests.kit.catalogues import Done, line, lines, rows, run, source

DATA = [*lines(9), b"bad\n", *lines(9)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_batches_give_the_same_whatever_the_number_of_workers(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("SHARDTUNE_WORKERS", workers)
    done = run(source(tmp_path, DATA, 4), tmp_path, export={"formats": ["openai", "gemini"]})
    assert [[row["uid"] for row in rows(one.shard)] for one in done.finished] == [
        ["U0", "U1", "U2", "U3"], ["U4", "U5", "U6", "U7"], ["U8"], [], [],
    ]  # fmt: skip
    named = [(e.shard, e.format, e.split) for one in done.finished for e in one.exports]
    assert named == [(n, f, s) for n in range(5) for f in ("openai", "gemini") for s in ("train", "holdout")]


def files(done: Done) -> dict[str, list[str]]:
    """Every file that the cleaned and finished records of `done` stand for."""
    found = [one.hashes_uri for one in done.cleaned] + [
        str(one.quarantine_uri) for one in done.cleaned if one.quarantined
    ]
    made = [one.shard.uri for one in done.finished] + [
        u for o in done.finished for e in o.exports for u in (e.uri, e.rows_uri)
    ]
    made += [str(one.shard.quarantine_uri) for one in done.finished if one.shard.quarantined]
    return {"cleaned": found, "finished": made}


@pytest.mark.parametrize("step", ["cleaned", "finished"])
def test_a_file_that_is_gone_is_noticed(tmp_path, step):
    done = run(source(tmp_path, DATA, 4), tmp_path)
    records = getattr(done, step)
    assert not batch.gone(records)
    for uri in files(done)[step]:
        moved = Path(uri).rename(tmp_path / "moved")
        assert batch.gone(records), uri
        moved.rename(uri)
    assert not batch.gone(records)


def test_a_shard_that_was_only_cleaned_again_counts_as_made(tmp_path):
    done = run(source(tmp_path, DATA, 4), tmp_path)
    Path(done.cleaned[2].hashes_uri).unlink()
    assert [one.made for one in run(source(tmp_path, DATA, 4), tmp_path).finished] == [n == 2 for n in range(5)]


@pytest.mark.parametrize(
    "change",
    [
        {"clean": {"junk": False}},
        {"split": {"holdout_share": 0.2}},
        {"catalogue": {"uri": "x", "lines_per_shard": 5}},
        {"catalogue": {"uri": "x", "max_line_bytes": 5_000}},
    ],
)
def test_shards_cut_or_cleaned_otherwise_lie_in_another_folder(tmp_path, change):
    plan = run(source(tmp_path, [line()]), tmp_path).plan
    one, other = (
        Recipe.model_validate({"catalogue": {"uri": "x"}}),
        Recipe.model_validate({"catalogue": {"uri": "x"}} | change),
    )
    same = Recipe.model_validate({"catalogue": {"uri": "x"}, "export": {"style": "sales"}, "seed": 1})
    rules = [batch.rules_of(recipe.catalogue, recipe.clean, recipe.split) for recipe in (one, other, same)]
    folders = [
        batch.folder_of(plan, r.catalogue, rule, "root") for r, rule in zip((one, other, same), rules, strict=True)
    ]
    assert folders[0] == folders[2] != folders[1]
