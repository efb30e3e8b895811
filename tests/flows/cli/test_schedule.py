"""`shardtune schedule` on a real Prefect server: what it makes, that `register` leaves it, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from prefect.settings import PREFECT_API_URL

from deployments import register
from flows.cli.schedule import schedule
from tasks.core.errors import ShardtuneError
from tasks.orchestrator import api, switches
from tasks.recipe import allowed
from tasks.recipe.model import Recipe
from tests.kit.catalogues import lines

pytestmark = pytest.mark.usefixtures("orchestrator")
TUNES = {
    "local": {"kind": "local", "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    "openai": {"kind": "openai", "base_model": "gpt-4o-mini-2024-07-18"},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the server as they find one that a person names; its deployments are registered."""
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    register.register()
    for one in list(api.every("/deployments/filter", {"deployments": {"tags": {"all_": ["scheduled"]}}})):
        api.ask("DELETE", f"/deployments/{one['id']}")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A recipe file with its catalogue, which it names by an address that holds in its own folder alone."""
    (tmp_path / "shop.json").write_bytes(b"".join(lines(3)))
    recipe = {"name": "shop", "catalogue": {"uri": str(tmp_path / "shop.json")}, "tune": TUNES["local"]}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path / "shop.yaml"


def run(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(schedule, list(words), input=answer)


def well(*words: str, answer: str = "") -> Result:
    done = run(*words, answer=answer)
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def there(name: str = "scheduled-shop") -> dict[str, Any]:
    (found,) = api.every("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
    return found


def automations(id: str) -> list[dict[str, Any]]:
    return [one for one in api.every("/automations/filter") if id in json.dumps(one)]


def test_a_schedule_is_made_stays_when_the_files_change_and_is_removed(server, shop):
    words = ("--recipe", str(shop), "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--arrived", "--budget", "20")
    told = json.loads(well(*words, "--json").stdout)
    assert told["times"] == {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "arrived": True}
    assert (told["name"], told["pool"], told["budget_usd"], told["on"]) == ("shop", "cpu", 20.0, True)
    made = there()
    recipe = Recipe.model_validate(made["parameters"]["recipe"])
    assert recipe.catalogue.uri == str(shop.with_suffix(".json").resolve()) and recipe.budget_usd == 20
    assert made["enforce_parameter_schema"] and made["global_concurrency_limit"]["limit"] == 1
    (trigger,) = automations(made["id"])
    waits = trigger["trigger"]["match_related"]["prefect.resource.id"]
    assert waits == f"shardtune.catalogue:{shop.with_suffix('.json').resolve()}", "of this catalogue alone"
    (record,) = api.ask("POST", "/variables/filter", {"variables": {"name": {"any_": [switches.RECORD]}}})
    api.ask("PATCH", f"/variables/{record['id']}", {"value": record["value"] | {"state": "of other files"}})
    old = {"parameter_openapi_schema": {"type": "object", "properties": {}}, "enforce_parameter_schema": True}
    api.ask("PATCH", f"/deployments/{made['id']}", old)
    assert register.register() is not None, "as after an update"
    assert there() | {"updated": None} == made | {"updated": None}, "with the form of this version again"
    assert automations(made["id"]) == [trigger]

    assert "paused" in well("pause", "shop").stdout
    assert there()["paused"] and not automations(made["id"])[0]["enabled"]
    assert json.loads(well("list", "--json").stdout)[0]["on"] is False
    well("resume", "shop")
    assert not there()["paused"] and automations(made["id"])[0]["enabled"]

    well("--recipe", str(shop), "--cron", "30 4 * * 1")
    assert there()["id"] == made["id"] and automations(made["id"]) == [], "set anew, without --arrived"
    assert [one["schedule"]["cron"] for one in there()["schedules"]] == ["30 4 * * 1"]
    well("remove", "shop")
    assert "nothing is scheduled" in well("list").stdout
    with pytest.raises(ShardtuneError, match="no schedule of a recipe called 'shop'"):
        raise run("remove", "shop").exception


def test_failed_runs_are_told_to_a_block_that_is_there(server, shop):
    with pytest.raises(ShardtuneError, match=r"no notification block 'custom-webhook/shop'.*make one in Prefect"):
        raise run("--recipe", str(shop), "--arrived", "--notify", "custom-webhook/shop").exception
    from prefect.blocks.notifications import CustomWebhookNotificationBlock as Hook

    Hook(name="shop", url="https://hook.example/fail", json_data={"text": "{{body}}"}).save("shop", overwrite=True)
    told = json.loads(well("--recipe", str(shop), "--arrived", "--notify", "custom-webhook/shop", "--json").stdout)
    assert told["notifies"] and told["times"]["cron"] is None
    notice = next(one for one in automations(there()["id"]) if one["actions"][0]["type"] == "send-notification")
    assert "prefect.flow-run.Failed" in notice["trigger"]["expect"]
    well("remove", "shop")
    assert not [one for one in api.every("/automations/filter") if "scheduled-shop" in one["name"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say when"),
        (("--cron", "every night"), "--cron 'every night'.*is no time"),
        (("--cron", "0 3 * * *", "--timezone", "Mars/Base"), "is no time"),
        (("--cron", "0 3 * * *", "--set", f"tune={json.dumps(TUNES['openai'])}"), "add --budget"),
        (("--cron", "0 3 * * *", "--catalogue", "nowhere.json"), "no catalogue at"),
    ],
)
def test_what_cannot_be_scheduled_is_told_before_anything_is_made(server, shop, words, told):
    with pytest.raises(ShardtuneError, match=told):
        raise run("--recipe", str(shop), *words).exception
    assert not list(api.every("/deployments/filter", {"deployments": {"tags": {"all_": ["scheduled"]}}}))


def test_a_place_is_allowed_only_when_a_person_says_so(server, shop, monkeypatch):
    monkeypatch.setattr("flows.cli.schedule._ours", lambda: True)
    words = ("--recipe", str(shop), "--arrived")
    with pytest.raises(ShardtuneError, match="nothing was made"):
        raise run(*words, answer="n\n").exception
    monkeypatch.setenv(allowed.VARIABLE, "/data/catalogues")
    assert allowed.added() == []
    monkeypatch.delenv(allowed.VARIABLE)
    well(*words, answer="y\n")
    monkeypatch.setenv(allowed.VARIABLE, "/data/catalogues")
    allowed.check("catalogue.uri", str(shop.with_suffix(".json")))
    with pytest.raises(ShardtuneError, match="does not allow"):
        allowed.check("catalogue.uri", str(shop))
    assert "May the workers" not in well(*words).output, "asked once"
