"""Recipes by name or file, with overrides, and errors that name the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tasks.core import limits, redaction
from tasks.core.errors import RecipeError
from tasks.recipe.model import Recipe
from tasks.recipe.names import FOLDER as FOLDER
from tasks.recipe.names import names
from tasks.recipe.tuning import Tune

TUNES: dict[str, type[BaseModel]] = {str(m.model_fields["kind"].default): m for m in get_args(Tune)}
M = TypeVar("M", bound=BaseModel)
NAMED = 10  # findings in one error


def load(name: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe called `name`, or in the file of that path, or the default one, with `a.b=value` overrides.

    Raises RecipeError for a missing file, broken YAML, an unknown key, a wrong type or a value out of range.
    """
    return _made(_read(name) if name else {}, overrides)


def over(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with `a.b=value` overrides; raises as `load`."""
    return _made(recipe.model_dump(mode="json"), overrides)


def _made(values: dict[str, Any], overrides: Sequence[str]) -> Recipe:
    for override in overrides:
        _set(values, override)
    for refused in redaction.refusals(values):
        raise RecipeError(refused)
    tune = values.get("tune")
    if isinstance(tune, dict):
        kind = str(tune.get("kind", "local"))
        if kind not in TUNES:
            raise RecipeError(f"tune.kind = {limits.shown(kind)} is not allowed: choose one of {', '.join(TUNES)}")
        values = {**values, "tune": _validated(TUNES[kind], tune, "tune")}
    return _validated(Recipe, values)


def _validated(model: type[M], values: dict[str, Any], *at: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
        raise RecipeError("; ".join(_describe(one, model, at) for one in errors[:NAMED]) + more) from error


def _read(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    try:
        with path.open("rb") as stream:  # one byte more than is allowed is enough to refuse the file
            values = limits.yaml_value(stream.read(limits.BYTES + 1).decode("utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(names()) or "none"
        raise RecipeError(f"no recipe {name!r}: give the path of a YAML file or one of: {known}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"recipe {name!r} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {name!r} holds {limits.shown(values)}: write `key: value` lines")
    return values


def _set(values: dict[str, Any], override: str) -> None:
    """Put one `a.b=value` into `values`; the value is YAML, so numbers, lists and null are what they look like."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"override {limits.shown(override)} is no assignment: write a.b=value")
    *folders, last = key.split(".")
    for folder in folders:
        inner = values.setdefault(folder, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"override {limits.shown(override)}: {folder!r} is {limits.shown(inner)} and has no keys")
        values = inner
    try:
        values[last] = limits.yaml_value(text)
    except ValueError as error:
        shown = limits.shown(override)
        raise RecipeError(f"override {shown} has a value that cannot be read: {error}; quote it") from error


def _describe(error: Any, model: type[BaseModel], at: Sequence[str]) -> str:
    """One pydantic finding as a sentence: key, value, what is allowed."""
    key = ".".join(str(part) for part in [*at, *error["loc"]])
    if error["type"] == "extra_forbidden":
        return f"unknown key {limits.shown(key)}: allowed are {', '.join(_siblings(model, error['loc'][:-1]))}"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    return f"{key} = {limits.shown(error['input'])} is not allowed: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _siblings(model: Any, path: Sequence[str | int]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(option for option in options if hasattr(option, "model_fields"))
    return sorted(model.model_fields)
