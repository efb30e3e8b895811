"""Open and failed links, read from MLflow's own file and from its server as its client reads them."""

from __future__ import annotations

import sqlite3

import pytest
from mlflow import MlflowClient

from tasks.core import settings
from tasks.core.errors import DamagedError, ServiceError
from tasks.record import address, overview, reader
from tasks.record.names import EXPERIMENT, KEY, REASON, STATE


@pytest.fixture
def runs() -> dict[str, str]:
    """One run of each kind in the root's store, by MLflow's own client; the ids by name."""
    api = MlflowClient(tracking_uri=settings.tracking_uri())
    place = api.create_experiment(EXPERIMENT)
    made = {}
    for name, status, tags in [
        ("at work", "RUNNING", {KEY: "a" * 32, STATE: "running"}),
        ("without a key", "RUNNING", {}),
        ("done", "FINISHED", {KEY: "b" * 32}),
        ("failed", "FAILED", {KEY: "c" * 32, "shardtune.state": "failed", REASON: "out of memory"}),
    ]:
        made[name] = api.create_run(place, run_name=name, tags=tags).info.run_id
        if status != "RUNNING":
            api.set_terminated(made[name], status)
    deleted = api.create_run(place, run_name="deleted", tags={KEY: "d" * 32}).info.run_id
    api.delete_run(deleted)
    return made


def test_the_file_says_what_mlflows_client_says(runs):
    (at_work,), (failed,) = overview.open_runs(), overview.failed_runs(7)
    assert (at_work.key, at_work.run_id, at_work.state) == ("a" * 32, runs["at work"], "running")
    assert (failed.run_id, failed.state, failed.reason) == (runs["failed"], "failed", "out of memory")
    assert overview.failed_runs(0) == []


def test_a_file_is_found_whatever_its_address_asks_of_sqlite(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{settings.tracking_uri()}?timeout=30")
    assert [held.key for held in overview.open_runs()] == ["a" * 32]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}?timeout=30")
    assert overview.open_runs() == [] and not (tmp_path / "none.db").exists()


def test_a_person_is_led_to_the_address_that_a_browser_can_open(runs, monkeypatch):
    """Workers of a stack know MLflow by a name that only they can resolve."""
    monkeypatch.setenv(settings.PAGES_VARIABLE, "https://mlflow.example.org/")
    monkeypatch.setattr(settings, "tracking_uri", lambda: "http://mlflow:5000")
    row = reader.RunRow(runs["at work"], "at work", 0, "1", "RUNNING", "", {KEY: "a" * 32})
    assert overview._open_run(row).url == f"https://mlflow.example.org/#/experiments/1/runs/{runs['at work']}"
    monkeypatch.setattr(reader, "experiment_of", lambda _: "1")
    assert address.page("r") == "https://mlflow.example.org/#/experiments/1/runs/r"
    monkeypatch.delenv(settings.PAGES_VARIABLE)
    assert address.page("r") == "http://mlflow:5000/#/experiments/1/runs/r"


def test_without_a_file_nothing_is_open(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert overview.open_runs() == [] and not (tmp_path / "none.db").exists()


def test_a_file_of_another_version_is_left_to_mlflow(runs, monkeypatch):
    monkeypatch.setattr(reader, "_in_file", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("no column")))
    assert [held.key for held in overview.open_runs()] == ["a" * 32]


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"x" * 5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(DamagedError, match=r"mlflow\.db.*shardtune restore"):
        overview.open_runs()


def test_a_server_that_is_away_is_named(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9.*does not answer"):
        overview.open_runs()
