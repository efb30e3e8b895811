"""The commands that keep a chain up to date: an arrival is told to the server, or the reason why not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from prefect.settings import PREFECT_API_URL

from flows.cli import operate
from tasks.core.errors import CatalogueError, ShardtuneError
from tests.kit.catalogues import lines

PATIENCE = 120.0


def arrived(*words: str) -> Result:
    return CliRunner().invoke(operate.arrived, list(words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.json"
    path.write_bytes(b"".join(lines(3)))
    return path


@pytest.mark.parametrize("plain", [True, False])
def test_an_arrival_is_an_event_that_the_server_keeps(file, orchestrator, monkeypatch, plain):
    """Told without Prefect's client, and by it where a setting wants it."""
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    monkeypatch.setattr("tasks.orchestrator.api.plain", lambda: plain)
    told = json.loads(arrived(str(file), "--json").stdout)
    assert told["resource"] == "shardtune.catalogue" and told["uri"] == str(file)
    wanted = {"filter": {"event": {"name": ["shardtune.catalogue.arrived"]}}}
    end = time.monotonic() + PATIENCE
    kept: list[dict] = []
    while not (mine := [one for one in kept if one["id"] == told["event"]]):
        assert time.monotonic() < end
        time.sleep(0.1)
        kept = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=wanted).json()["events"]
    (event,) = mine
    assert event["resource"]["prefect.resource.id"] == "shardtune.catalogue"
    assert event["payload"] == {"uri": str(file)}
    assert event["related"][0] == {
        "prefect.resource.id": f"shardtune.catalogue:{file}",
        "prefect.resource.role": "catalogue",
    }


def test_where_nothing_is_nothing_is_told(tmp_path):
    failed = arrived(str(tmp_path / "nowhere.json"))
    assert isinstance(failed.exception, CatalogueError) and "no catalogue at" in str(failed.exception)


@pytest.mark.parametrize(
    ("address", "told"),
    [(None, "set PREFECT_API_URL.*shardtune retrain"), ("http://127.0.0.1:9/api", "did not accept the event.*check")],
)
def test_without_a_server_it_says_what_to_do(file, address, told, monkeypatch):
    if address:
        monkeypatch.setenv("PREFECT_API_URL", address)
    failed = arrived(str(file))
    with pytest.raises(ShardtuneError, match=told):
        raise failed.exception


def test_what_was_done_is_told_to_a_person(capsys):
    from tasks.core.models import Retrained

    operate.shown(
        Retrained(
            chain="shop", new=(), waiting=None, results=(), last=None, seconds=1.2, detail="nothing new: chain 'shop'"
        )
    )
    assert capsys.readouterr().out == "nothing new: chain 'shop'\n1 s outside training\n"
