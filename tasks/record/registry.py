"""Registry: models by name. A recipe's models are versions of one registered model of the recipe's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.answers.reply import Target
from tasks.backends import get_backend
from tasks.backends.contract import Link
from tasks.core.errors import AnswerError, RecipeError
from tasks.core.models import Finetuned
from tasks.recipe.model import Recipe
from tasks.record import ledger

if TYPE_CHECKING:
    from mlflow.entities import Run

NAMED = re.compile(r"(?:(?P<name>[\w.-]+)@)?(?P<alias>champion|challenger)|(?P<model>[\w.-]+)/(?P<version>\d+)")


def target(spec: str, recipe: Recipe | None = None) -> tuple[Target, Recipe]:
    """The model that `spec` means, and the recipe it is asked by: `recipe`, or the one it was tuned by.

    `base` is the base model of `recipe`; `run:ID`, a link's key or its beginning is what that run made; `champion`,
    `challenger`, `NAME@champion` and `NAME/2` are looked up in the registry. Raises AnswerError where nothing is there.
    """
    if spec == "base":
        if recipe is None or recipe.tune is None:
            raise RecipeError("model 'base' is the base model of a recipe: name one with a 'tune'")
        backend = get_backend(recipe.tune)
        known = {"digest": backend.base_digest(recipe.tune), "endpoint": backend.endpoint(recipe.tune)}
        return Target(name=spec, tune=recipe.tune, style=recipe.export.style, **known), recipe
    run, version = _run(spec, recipe)
    made, by = ledger.held(run.info.run_id, "result.json", Finetuned), ledger.held(run.info.run_id, "link.json", Link)
    own = ledger.read(run.info.run_id, "recipe.json")
    if made is None or by is None or not own:
        raise AnswerError(f"model {spec!r}: run {run.info.run_id!r} has no tuned model yet: finish it with finetune")
    found = Target(
        name=f"{own['name']} {made.key[:8]}" if ledger.KEYS.fullmatch(spec) or spec.startswith("run:") else spec,
        tune=by.tune,
        style=by.style,
        model=made.model,
        digest=made.model_digest,
        endpoint=by.endpoint,
        key=made.key,
        run_id=run.info.run_id,
        version=version,
        simulated=made.simulated,
    )
    return found, recipe or Recipe.model_validate(own)


def _run(spec: str, recipe: Recipe | None) -> tuple[Run, str | None]:
    """The run behind a name, and the registered version that led to it."""
    from mlflow.exceptions import MlflowException

    api = ledger.client()
    if ledger.KEYS.fullmatch(spec):
        spec = f"run:{ledger.run_id(ledger.whole(spec))}"
    if spec.startswith("run:"):
        try:
            return api.get_run(spec.removeprefix("run:")), None
        except MlflowException as error:
            raise AnswerError(f"model {spec!r}: MLflow has no such run; `shardtune finetune` prints its id") from error
    named = NAMED.fullmatch(spec)
    if named is None:
        raise AnswerError(f"model {spec!r} is not a name: base, run:ID, KEY, champion, NAME@champion or NAME/VERSION")
    try:
        if named["model"]:
            held = api.get_model_version(named["model"], named["version"])
        else:
            name = named["name"] or (recipe.name if recipe else _only(named["alias"]))
            held = api.get_model_version_by_alias(name, named["alias"])
    except MlflowException as error:
        raise AnswerError(f"model {spec!r} is not registered: `shardtune finetune --promote` registers one") from error
    return api.get_run(str(held.run_id)), f"{held.name}/{held.version}"


def _only(alias: str) -> str:
    """The one registered model that has this alias."""
    names = [model.name for model in ledger.client().search_registered_models() if alias in model.aliases]
    if len(names) != 1:
        known = ", ".join(f"{name}@{alias}" for name in names) or "no model has it: `shardtune finetune --promote`"
        raise AnswerError(f"model {alias!r} of which recipe? {known}")
    return names[0]
