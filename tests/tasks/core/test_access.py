"""The password of a root: made once, kept for its owner alone, given only to what talks to this root's servers."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.core import access, processes, settings, store
from tasks.core.errors import ServiceError

URLS = {"PREFECT_API_URL": "http://127.0.0.1:4200/api", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}


def test_it_is_made_once_even_by_several_at_once_and_only_its_owner_can_read_it():
    assert access.known() is None and access.client(URLS) == {}
    with ThreadPoolExecutor(8) as several:
        made = {future.result() for future in [several.submit(access.made) for _ in range(16)]}
    assert len(made) == 1 and access.known() in made and access.made() in made
    assert stat.S_IMODE(access.path().stat().st_mode) == 0o600
    assert len(access.made().password) >= 32
    assert [path.name for path in access.path().parent.iterdir() if path.name.endswith(".part")] == []


def test_each_process_is_given_what_it_needs():
    made = access.made()
    assert access.client({"PREFECT_API_URL": URLS["PREFECT_API_URL"]}) == {"PREFECT_API_AUTH_STRING": made.prefect}
    assert set(access.client(URLS)) == set(access.CLIENT)
    assert access.client({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}) == {}
    assert access.prefect_server(4200)[access.OWN] == f"admin:{made.password}"
    assert access.mlflow_server(5000)["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5000,localhost:5000"


def test_a_login_that_a_person_chose_wins_and_is_known_to_other_shells(monkeypatch):
    password = access.made().password
    monkeypatch.setenv(access.OWN, "me:my own words")
    assert access.prefect_server(4200)[access.OWN] == "me:my own words"
    monkeypatch.delenv(access.OWN)
    assert access.client(URLS)["PREFECT_API_AUTH_STRING"] == "me:my own words"
    assert access.made() == access.Access(f"admin:{password}", password)  # a next `up` without it


def test_a_command_logs_in_to_the_servers_of_its_root_and_to_no_others(monkeypatch):
    for name in (*access.CLIENT, *URLS):
        monkeypatch.delenv(name, raising=False)
    made = access.made()
    alive = {"prefect": {"url": URLS["PREFECT_API_URL"]}, "mlflow": {"url": URLS["MLFLOW_TRACKING_URI"]}}
    told = {name: child | processes.identity() for name, child in alive.items()}
    store.write_json(str(settings.local_root() / "service.json"), told)
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URLS["MLFLOW_TRACKING_URI"])
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody of another server")
    settings.log_in()
    assert "PREFECT_API_AUTH_STRING" not in os.environ
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == made.password


@pytest.mark.parametrize("text", ["", "{", "[]", '{"prefect": "admin:x"}', "null"])
def test_a_damaged_file_is_named(text):
    access.path().parent.mkdir(parents=True)
    access.path().write_text(text)
    access.path().chmod(0o600)
    with pytest.raises(ServiceError, match=r"access\.json.*damaged: remove the file"):
        access.made()


def test_a_file_that_others_could_read_is_not_used():
    access.path().parent.mkdir(parents=True)
    access.path().write_text(json.dumps({"prefect": "admin:x", "password": "x"}))
    access.path().chmod(0o644)
    with pytest.raises(ServiceError, match="another account can read or wrote"):
        access.client(URLS)
