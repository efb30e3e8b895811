"""The card: clean shards open as they lie, and only those of this run."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import yaml

from tasks.catalogue import card
from tests.kit.catalogues import line, lines, run, source

DATA = [*lines(12), line("B0BLANK", title=""), b"bad\n"]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`datasets.load_dataset` with a cache of its own."""
    return lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_the_folder_opens_as_it_lies(tmp_path, load):
    prepared = run(source(tmp_path, DATA, 5), tmp_path).prepared
    folder = Path(card.write(prepared)).parent
    found = load(folder)
    assert list(found) == ["rows"]  # train, holdout and reserved rows in one file
    assert found["rows"]["uid"] == [f"U{n}" for n in range(12)]
    assert found["rows"].column_names == list(card.COLUMNS)
    assert [str(found["rows"].features[n].dtype) for n in card.COLUMNS] == ["string"] * 3 + ["int64"] + ["string"] * 2


def test_shards_of_an_earlier_run_and_shards_without_rows_do_not_count(tmp_path, load):
    before = run(source(tmp_path, DATA, 5), tmp_path).prepared
    card.write(before)
    after = run(source(tmp_path, [*lines(4, 50), *lines(2, 4), *[b"bad\n"] * 5, *lines(2, 80)], 5), tmp_path).prepared
    folder = Path(card.write(after)).parent
    assert Path(before.shards[0].uri).parent == folder
    assert [s.kept for s in after.shards] == [5, 1, 2]
    assert load(folder)["rows"]["uid"] == ["U50", "U51", "U52", "U53", "U4", "U5", "U80", "U81"]
    bad = source(tmp_path, [*lines(1), *[b"bad\n"] * 6], 5).model_copy(update={"max_quarantined_share": 1.0})
    empty = run(bad, tmp_path).prepared
    assert [s.kept for s in empty.shards] == [1, 0]
    assert Path(empty.shards[1].uri).name not in card.text(empty)
    assert load(Path(card.write(empty)).parent)["rows"]["uid"] == ["U0"]


def test_the_card_tells_what_became_of_every_line(tmp_path):
    prepared = run(source(tmp_path, DATA, 5), tmp_path).prepared
    text = card.text(prepared)
    header = yaml.safe_load(text.split("---")[1])
    assert header["configs"][0]["data_files"][0]["path"] == [Path(s.uri).name for s in prepared.shards]
    assert "14 lines: 12 rows kept, 1 dropped by a rule,\n1 in quarantine" in text
    assert "| blank_title | 1 |" in text


def test_a_card_that_says_the_same_is_left_alone(tmp_path):
    prepared = run(source(tmp_path, DATA, 5), tmp_path).prepared
    path = Path(card.write(prepared))
    written = path.stat().st_mtime_ns, path.stat().st_ino
    card.write(prepared)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    path.write_text("something else")
    card.write(prepared)
    assert path.read_text() == card.text(prepared)
