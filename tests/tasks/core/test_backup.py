"""Backup: the whole state, taken while it is written to, put back whole or not at all; a wrong byte is found."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from tasks.core import backup
from tasks.core.errors import BackupError
from tests.kit import bucket as buckets

FILES = {
    "shards/a.parquet": b"rows" * 1_000,
    "jobs/k/status.json": b"{}",
    "jobs/k/checkpoints/checkpoint-2/whole.json": b'{"step": 2}',
    "jobs/k/checkpoints/checkpoint-2/optimizer.pt": b"moments",
    "jobs/k/lock": b"",
    "locks/x.lock": b"",
    "index/rows/made-again": b"x",
    "mlartifacts/1/result.json": b'{"done": true}',
    "jobs/k/.status.json.1234.part": b"half",
}
OUT = {"jobs/k/lock", "locks/x.lock", "index/rows/made-again", "jobs/k/.status.json.1234.part"}


@pytest.fixture
def state(own_root: Path) -> Path:
    """A root with files and a database in WAL mode."""
    for name, data in FILES.items():
        (own_root / name).parent.mkdir(parents=True, exist_ok=True)
        (own_root / name).write_bytes(data)
    with closing(sqlite3.connect(own_root / "mlflow.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript("CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER);")
    return own_root


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".db" and not p.name.endswith(("-wal", "-shm"))
    }


def test_what_was_backed_up_is_what_is_restored(state, tmp_path):
    made = backup.backup(str(tmp_path / "kept"))
    assert {f.name for f in made.files} == set(FILES) - OUT | {"mlflow.db"}
    state.rename(tmp_path / "destroyed")
    found, aside = backup.restore(str(tmp_path / "kept"))
    assert (found, aside) == (made, None)
    assert contents(state) == {name: data for name, data in FILES.items() if name not in OUT}
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert not [*tmp_path.glob(".*"), *(tmp_path / "kept").rglob("*.part")]


def test_a_database_that_is_written_to_is_copied_at_one_moment(state, tmp_path):
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(state / "mlflow.db", timeout=60)) as db:
            n = 0
            while not stop.is_set():
                n += 1
                with db:
                    db.executemany("INSERT INTO a VALUES (?)", [(n,)] * 50)
                    db.executemany("INSERT INTO b VALUES (?)", [(n,)] * 50)
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    written.wait(60)
    try:
        for number in range(3):
            backup.backup(str(tmp_path / f"kept-{number}"))
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(3):
        with closing(sqlite3.connect(tmp_path / f"kept-{number}" / "here" / "mlflow.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            a, b = (db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in "ab")
        assert a == b > 0 and a % 50 == 0
        counts.append(a)
    assert counts == sorted(counts)


@pytest.mark.parametrize("name", ["here/shards/a.parquet", "here/mlflow.db", "manifest.json"])
def test_a_flipped_byte_is_found_before_anything_is_touched(state, tmp_path, name):
    backup.backup(str(tmp_path / "kept"))
    assert backup.check(str(tmp_path / "kept"))
    file = tmp_path / "kept" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    before = contents(state)
    with pytest.raises(BackupError, match=r"damaged|not as it was written"):
        backup.check(str(tmp_path / "kept"))
    with pytest.raises(BackupError, match=r"damaged|not as it was written"):
        backup.restore(str(tmp_path / "kept"), force=True)
    assert contents(state) == before and not list(tmp_path.glob(".root*"))


def test_what_is_missing_or_cut_short_is_no_backup(state, tmp_path):
    with pytest.raises(BackupError, match=r"no manifest\.json"):
        backup.check(str(tmp_path))
    backup.backup(str(tmp_path / "kept"))
    (tmp_path / "kept" / "here" / "jobs" / "k" / "status.json").unlink()
    with pytest.raises(BackupError, match=r"lacks 'jobs/k/status\.json'"):
        backup.restore(str(tmp_path / "kept"), force=True)


def test_a_backup_cut_short_is_written_over_and_a_whole_one_is_not(state, tmp_path):
    backup.backup(str(tmp_path / "kept"))
    with pytest.raises(BackupError, match="already holds a backup"):
        backup.backup(str(tmp_path / "kept"))
    (tmp_path / "kept" / "manifest.json").unlink()
    backup.backup(str(tmp_path / "kept"))
    assert backup.check(str(tmp_path / "kept"))
    with pytest.raises(BackupError, match="inside the state"):
        backup.backup(str(state / "kept"))


def test_state_that_is_there_is_only_put_aside_on_demand(state, tmp_path):
    backup.backup(str(tmp_path / "kept"))
    (state / "later.json").write_text("{}")
    with pytest.raises(BackupError, match=r"not empty.*--force"):
        backup.restore(str(tmp_path / "kept"))
    _, aside = backup.restore(str(tmp_path / "kept"), force=True)
    assert not (state / "later.json").exists() and (Path(aside) / "later.json").exists()


def test_another_root_is_refused_unless_the_old_path_leads_to_it(state, tmp_path, monkeypatch):
    backup.backup(str(tmp_path / "kept"))
    state.rename(tmp_path / "destroyed")
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path / "moved"))
    with pytest.raises(BackupError, match=r"its records hold that path.*link to"):
        backup.restore(str(tmp_path / "kept"))
    state.symlink_to(tmp_path / "moved")
    backup.restore(str(tmp_path / "kept"))
    assert (state / "shards" / "a.parquet").read_bytes() == FILES["shards/a.parquet"]


def test_names_that_lead_out_are_refused(state, tmp_path):
    backup.backup(str(tmp_path / "kept"))
    manifest = tmp_path / "kept" / "manifest.json"
    told = backup.Manifest.model_validate(json.loads(manifest.read_text()))
    evil = told.model_copy(update={"files": (*told.files, told.files[0].model_copy(update={"name": "../../evil"}))})
    manifest.write_text(evil.model_copy(update={"digest": evil.sealed()}).model_dump_json())
    with pytest.raises(BackupError, match="outside of the state"):
        backup.restore(str(tmp_path / "kept"), force=True)


def test_a_checkpoint_taken_away_meanwhile_is_not_whole_in_the_backup(state, tmp_path, monkeypatch):
    listed = backup._listed

    def then_rotated(here: Path):
        found = listed(here)
        (state / "jobs/k/checkpoints/checkpoint-2/optimizer.pt").unlink()
        return found

    monkeypatch.setattr(backup, "_listed", then_rotated)
    names = {f.name for f in backup.backup(str(tmp_path / "kept")).files}
    assert "jobs/k/checkpoints/checkpoint-2/whole.json" not in names and "jobs/k/status.json" in names


def test_object_storage_holds_the_root_and_the_backup(tmp_path, monkeypatch):
    with buckets.serving(monkeypatch) as bucket:
        monkeypatch.setenv("SHARDTUNE_ROOT", f"{bucket}/root")
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".shardtune" / "jobs").mkdir(parents=True)
        (tmp_path / ".shardtune" / "jobs" / "job.json").write_text("{}")
        fs = fsspec.filesystem("s3")
        fs.pipe("shop/root/shards/a", b"rows")
        made = backup.backup(f"{bucket}/kept/1")
        assert {(f.part, f.name) for f in made.files} == {("here", "jobs/job.json"), ("root", "shards/a")}
        assert any("MLflow" in line for line in made.elsewhere) is False
        with pytest.raises(BackupError, match="not empty"):
            backup.restore(f"{bucket}/kept/1")
        fs.rm("shop/root", recursive=True)
        (tmp_path / ".shardtune" / "jobs" / "job.json").unlink()
        backup.restore(f"{bucket}/kept/1")
        fs.invalidate_cache()
        assert fs.cat("shop/root/shards/a") == b"rows"
        assert (tmp_path / ".shardtune" / "jobs" / "job.json").exists()
