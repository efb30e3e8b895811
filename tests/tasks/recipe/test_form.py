"""The run form: what stands on its first screen, what it refuses, and that its values make the same recipe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect._internal.schemas.validators import validate_values_conform_to_schema
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from deployments import register
from tasks.recipe import form
from tasks.recipe.model import Recipe


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    """Every deployment as the server gets it."""
    return {one["name"]: one for one in register.deployments()}


def fields(made: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The recipe's part of a form."""
    return dict(made[name]["parameter_openapi_schema"]["properties"]["recipe"])


def opened(one: dict[str, Any]) -> dict[str, Any]:
    """The parameters where a person has opened "Advanced" and changed nothing."""
    made = json.loads(json.dumps(one))  # so that no two places of it are one object
    tab = made["parameter_openapi_schema"]["properties"]["recipe"]["properties"]["advanced"]["anyOf"][1]
    return {**made["parameters"], "recipe": {**made["parameters"]["recipe"], "advanced": tab["default"]}}


def test_the_first_screen_has_what_people_change(made):
    local = fields(made, "finetune-demo")["properties"]
    assert list(local) == ["name", "catalogue", "tune", "shards", "budget_usd", "promote", "advanced"]
    assert list(local["catalogue"]["properties"]) == ["uri"]
    assert list(local["tune"]["properties"]) == ["base_model", "epochs", "max_steps", "learning_rate"]
    paid = fields(made, "retrain-gpt-4o-mini")["properties"]
    assert list(paid) == ["name", "catalogue", "tune", "budget_usd", "promote", "advanced"]
    assert list(paid["tune"]["properties"]) == ["base_model", "epochs", "learning_rate_multiplier"]
    assert list(fields(made, "prepare")["properties"]) == ["name", "catalogue", "advanced"]
    for name in ("ask", "compare"):
        assert list(fields(made, name)["properties"]) == ["catalogue", "tune", "advanced"]


def test_every_form_takes_the_values_of_its_deployment_whole_and_opened(made):
    for one in made.values():
        schema = one["parameter_openapi_schema"]
        is_valid_schema(schema)
        validate_values_conform_to_schema(one.get("parameters"), schema, ignore_required=True)  # as the server does
        missing = [error.message for error in validate(one.get("parameters", {}), schema)]
        assert missing in ([], ["'uri' is a required property"]), one["name"]
        recipe = one.get("parameters", {}).get("recipe")
        if recipe:
            assert [error.message for error in validate(opened(one), schema)] == missing
            assert Recipe.model_validate(opened(one)["recipe"]) == Recipe.model_validate(recipe), one["name"]


def test_parameters_of_before_the_form_are_taken_as_they_are(made):
    """A schedule, an automation or a script that sends a whole recipe."""
    schema = made["finetune-demo"]["parameter_openapi_schema"]
    whole = Recipe.model_validate(made["finetune-demo"]["parameters"]["recipe"]).model_dump(mode="json")
    assert validate({"recipe": whole, "again": False, "wait": True}, schema) == []
    assert validate({"questions": ["?"], "recipe": None, "style": None}, made["ask"]["parameter_openapi_schema"]) == []


@pytest.mark.parametrize(
    "path",
    [
        ("recipe", "budget_usd"),
        ("recipe", "tune", "epochs"),
        ("recipe", "tune", "wait_hours"),
        ("recipe", "clean", "min_title"),
        ("recipe", "advanced", "clean", "min_title"),
        ("recipe", "advanced", "tune", "lora", "r"),
        ("recipe", "advanced", "catalogue", "lines_per_shard"),
        ("recipe", "unknown"),
        ("recipe", "advanced", "unknown"),
    ],
)
def test_a_bad_value_is_refused_at_its_place_shown_or_not(made, path):
    parameters = opened(made["finetune-demo"])
    at: Any = parameters
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = -1
    (error,) = validate(parameters, made["finetune-demo"]["parameter_openapi_schema"])
    assert tuple(error.path) == (path[:-1] if path[-1] == "unknown" else path)


def test_every_bad_value_is_told_at_once(made):
    parameters = opened(made["finetune-demo"])
    parameters["recipe"] |= {"budget_usd": -1, "name": "Not A Name"}
    parameters["recipe"]["advanced"]["seed"] = "x"
    told = {error.path[-1] for error in validate(parameters, made["finetune-demo"]["parameter_openapi_schema"])}
    assert told == {"budget_usd", "name", "seed"}
    shown = fields(made, "finetune-demo")["properties"]["budget_usd"]
    assert "minimum" not in shown and shown["then"] == {"minimum": 0}, "a browser would stop at the first"


def test_what_is_opened_replaces_and_a_box_that_is_emptied_is_the_default():
    whole = {"catalogue": {"uri": "a", "delimiter": ";"}, "tune": {"base_model": "m", "max_length": 64}, "seed": 1}
    made = Recipe.model_validate({**whole, "advanced": {"tune": {"batch_size": 2}}})
    assert made.catalogue.uri == "a" and made.catalogue.delimiter is None and made.seed == 3407
    assert made.tune is not None and (made.tune.base_model, made.tune.max_length) == ("m", 512)
    assert made.tune.batch_size == 2
    assert Recipe.model_validate({**whole, "advanced": {}}) == Recipe.model_validate(whole)


def test_each_value_of_a_recipe_has_one_place_in_the_form(made):
    """Not shown twice, and not lost: first screen and "Advanced" are all of it together."""
    first, more = fields(made, "finetune-demo")["properties"], None
    more = made["finetune-demo"]["parameter_openapi_schema"]["definitions"]["Advanced"]["properties"]
    assert {*first} & {*more} == {"catalogue", "tune"} and {*first} | {*more} == {*Recipe.model_fields, form.KEY}
    for section in form.SECTIONS:
        shown, rest = {*first[section]["properties"]}, {*more[section]["properties"]}
        assert not shown & rest
