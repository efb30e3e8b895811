"""prefect.yaml: every recipe has its deployment, entry points are flows, and forms are made from the recipe's model."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools.validation import validate
from prefect.utilities.templating import apply_values

from deployments import register, steps
from flows.finetune import finetune
from tasks.core import settings
from tasks.recipe import loader
from tasks.recipe.model import Recipe

DECLARED = register.declared()
DEPLOYMENTS = {one["name"]: one for one in DECLARED["deployments"]}
FORM = parameter_schema(finetune).model_dump()


def parameters(name: str) -> dict[str, Any]:
    """The parameters that `prefect deploy` gives to a deployment: what its build steps return, put in."""
    made: dict[str, Any] = {}
    for step in DEPLOYMENTS[name].get("build", DECLARED["build"]):
        for function, inputs in step.items():
            made |= import_object(function)(**inputs)
    return dict(apply_values(DEPLOYMENTS[name].get("parameters", {}), made))


def flow(name: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"], use_placeholder_flow=False)


def test_every_recipe_has_a_finetune_deployment_and_no_other():
    made = {name.removeprefix("finetune-") for name in DEPLOYMENTS if name.startswith("finetune-")}
    assert made == set(loader.names())


@pytest.mark.parametrize("name", [name for name in DEPLOYMENTS if name.startswith(("finetune-", "retrain-"))])
def test_a_recipe_reaches_its_deployment_whole(name):
    given = parameters(name)
    assert Recipe.model_validate(given["recipe"]) == loader.load(name.partition("-")[2])
    assert given["recipe"] == loader.load(name.partition("-")[2]).model_dump(mode="json")
    local = given["recipe"]["tune"]["kind"] == "local"
    assert given["wait"] is local, "a paid job is left to the sweep"
    assert DEPLOYMENTS[name]["concurrency_limit"]["limit"] == 1
    assert local or DEPLOYMENTS[name]["work_pool"]["name"] == "cpu"
    assert local == ("paid" not in DEPLOYMENTS[name]["tags"])


def test_a_flow_run_finds_what_the_command_line_sets(monkeypatch):
    monkeypatch.setattr(os, "environ", {n: v for n, v in os.environ.items() if n not in steps.ENVIRONMENT})
    settings.enter()
    shared = {n: v for n, v in steps.ENVIRONMENT.items() if n != "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"}
    assert {name: os.environ[name] for name in shared} == shared
    assert shared["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json" and shared["AWS_MAX_ATTEMPTS"] == "12"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_starts_a_flow_whose_form_takes_its_parameters(name):
    found, one = flow(name), DEPLOYMENTS[name]
    validate(parameters(name), parameter_schema(found).model_dump(), raise_on_error=True)
    assert one["work_pool"]["name"] in DECLARED["pools"]
    assert "Started twice" in one["description"] and "shardtune" in one["tags"]


def test_what_costs_money_starts_by_itself_only_when_a_person_has_said_so():
    for one in DEPLOYMENTS.values():
        if "paid" in one["tags"]:
            assert not any(schedule["active"] for schedule in one.get("schedules", []))
            assert not any(trigger["enabled"] for trigger in one.get("triggers", []))


SCHEDULED = [
    (name, {key: value for key, value in one.items() if key in ("cron", "interval", "anchor_date", "timezone")})
    for name, deployment in DEPLOYMENTS.items()
    for one in deployment.get("schedules", [])
]


@pytest.mark.parametrize("day", ["2026-10-25", "2026-11-01", "2027-03-14", "2027-03-28"])
@pytest.mark.parametrize(("name", "schedule"), SCHEDULED)
def test_no_clock_change_leaves_out_or_doubles_a_run(name, schedule, day):
    kind = CronSchedule if "cron" in schedule else IntervalSchedule
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(days=1)
    dates = asyncio.run(kind.model_validate(schedule).get_dates(300, start=start))
    assert len({(after - before).total_seconds() for before, after in pairwise(dates)}) == 1


@pytest.mark.parametrize("made", [True, False])
def test_a_schedule_is_on_only_where_its_catalogue_is_there(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = register.digest()
    if made:
        path = tmp_path / ".shardtune" / "demo" / "catalogue.json"
        path.parent.mkdir(parents=True)
        path.touch()
    assert steps.recipe("demo")["there"] is made
    assert (register.digest() != before) is made, "registered anew once it is there"


def fields(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every field of every model in the form: model, name, schema."""
    return [
        (model, name, field)
        for model, found in schema["definitions"].items()
        for name, field in found.get("properties", {}).items()
    ]


def test_every_field_of_the_form_has_a_title_and_help():
    definitions = FORM["definitions"]
    for model, name, field in fields(FORM):
        there = {**definitions.get(field.get("$ref", "").rpartition("/")[2], {}), **field}
        assert there.get("title"), (model, name)
        assert there.get("description") or name in {"resource_group", "management_url"}, (model, name)


def test_every_number_of_the_form_has_a_bound():
    for model, name, field in fields(FORM):
        for one in (field, *field.get("anyOf", [])):
            if one.get("type") in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum", "maximum", "enum"} & set(one), (model, name)
