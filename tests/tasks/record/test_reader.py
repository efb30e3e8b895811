"""Runs and artifacts, read from MLflow's own file and from its server as its client reads them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest
from mlflow import MlflowClient

from tasks.core import settings, store
from tasks.record import ledger, owing, reader
from tasks.record.names import EXPERIMENT, KEY, OWING
from tasks.record.reader import Wanted
from tests.kit import served

ASKED = {
    "all": Wanted(),
    "running": Wanted("RUNNING"),
    "failed since": Wanted("FAILED", 1),
    "one key": Wanted(value="b" * 32),
    "owed": Wanted("FINISHED", tag=OWING, value="owed"),
    "none": Wanted(value="e" * 32),
}


def filled(api: MlflowClient) -> dict[str, str]:
    """Runs of each kind, by MLflow's own client; the ids by name."""
    place = api.create_experiment(EXPERIMENT, artifact_location=settings.artifact_location())
    made = {}
    for name, status, tags in [
        ("at work", "RUNNING", {KEY: "a" * 32}),
        ("without a key", "RUNNING", {}),
        ("done", "FINISHED", {KEY: "b" * 32, OWING: "owed"}),
        ("failed", "FAILED", {KEY: "c" * 32}),
        ("deleted", "FINISHED", {KEY: "d" * 32}),
    ]:
        made[name] = api.create_run(place, run_name=name, tags=tags).info.run_id
        if status != "RUNNING":
            api.set_terminated(made[name], status)
    api.delete_run(made["deleted"])
    return made


@pytest.fixture(params=["file", "server"])
def made(request, monkeypatch, own_root):
    with served.server(own_root, monkeypatch) if request.param == "server" else nullcontext():
        yield filled(MlflowClient(tracking_uri=settings.tracking_uri()))


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_is_read_is_what_mlflows_client_says(asked, made):
    found = reader.rows(asked)
    assert found == sorted(reader._by_client(asked), key=lambda row: row.start)
    assert bool(found) == (asked.value != "e" * 32)


def test_an_artifact_is_read_as_it_was_written(made, own_root):
    (row,) = reader.rows(ASKED["one key"])
    # Not by MLflow's client: it keeps to the first server of a process.
    proxied = row.artifacts.startswith(reader.PROXIED)
    folder = (
        own_root / "mlartifacts" / row.artifacts.removeprefix(reader.PROXIED) if proxied else store.local(row.artifacts)
    )
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"a": "é"}', encoding="utf-8")
    assert reader.artifact(row, "result.json") == '{"a": "é"}'.encode()
    assert reader.artifact(row, "none.json") is None
    assert reader.experiment_of(row.run_id) == row.experiment


def test_an_artifact_is_read_from_a_folder_with_a_space_in_its_name(tmp_path):
    place = tmp_path / "a b%c"
    (place / "run").mkdir(parents=True)
    (place / "run" / "result.json").write_text("{}")
    row = reader.RunRow("run", "", 0, "1", "FINISHED", (place / "run").as_uri(), {})
    assert reader.artifact(row, "result.json") == b"{}"


def test_what_is_owed_is_owed_until_it_is_done(made):
    assert owing.owed() == ["b" * 32]
    owing.done(["a" * 32, "b" * 32])
    assert owing.owed() == []


def test_a_server_that_is_away_is_asked_again_where_it_is_worth_it(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    asked = []
    monkeypatch.setattr(reader, "_by_client", lambda wanted: asked.append(wanted) or iter(()))
    assert ledger.finished("b" * 32) is None and asked == [Wanted(value="b" * 32)]


def test_neither_flow_nor_record_imports_mlflow_before_it_is_used_and_prefect_comes_without_a_grammar():
    script = (
        "from tasks.core import imports\nwith imports.without(imports.GRAMMAR): import prefect\n"
        "import flows.finetune, flows.retrain, flows.sweep, sys; "
        "print([name for name in ('prefect', 'jsonschema', 'lark', 'mlflow') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "['prefect', 'jsonschema']"
