"""Registry: models by name. A recipe's models are versions of one registered model of the recipe's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tasks.answers.reply import Target
from tasks.backends import get_backend
from tasks.backends.contract import Link
from tasks.core.errors import AnswerError, RecipeError
from tasks.core.models import Finetuned, StyleName
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import Tune
from tasks.record import ledger

if TYPE_CHECKING:
    from mlflow.entities import Run

NAMED = re.compile(r"(?:(?P<name>[\w.-]+)@)?(?P<alias>champion|challenger)|(?P<model>[\w.-]+)/(?P<version>\d+)")


def base(tune: Tune, style: StyleName) -> Target:
    """The un-tuned base model of `tune`."""
    backend = get_backend(tune)
    return Target(
        name="base", tune=tune, style=style, digest=backend.base_digest(tune), endpoint=backend.endpoint(tune)
    )


def target(spec: str, name: str | None = None) -> tuple[Target, Recipe]:
    """The tuned model that `spec` means, and the recipe it was tuned by.

    `run:ID`, a link's key or the key's beginning is the model of that run. `champion`, `challenger`, `NAME@champion`
    and `NAME/2` are looked up in the registry; `name` completes the first two. Raises AnswerError where none is there.
    """
    if spec == "base":
        raise RecipeError("model 'base' is the base model of a recipe: name one with a 'tune'")
    run, version = _run(spec, name)
    result = ledger.load(run.info.run_id, "result.json", Finetuned)
    link = ledger.load(run.info.run_id, "link.json", Link)
    own = ledger.read(run.info.run_id, "recipe.json")
    if result is None or link is None or not own:
        raise AnswerError(
            f"model {spec!r}: run {run.info.run_id!r} has no tuned model yet: finish it with `shardtune finetune`"
        )
    target_model = Target(
        name=f"{own['name']} {result.key[:8]}" if ledger.KEYS.fullmatch(spec) or spec.startswith("run:") else spec,
        tune=link.tune,
        style=link.style,
        model=result.model,
        digest=result.model_digest,
        endpoint=link.endpoint,
        key=result.key,
        run_id=run.info.run_id,
        version=version,
        simulated=result.simulated,
    )
    return target_model, Recipe.model_validate(own)


def result(run_id: str) -> Finetuned:
    """What the run's job ended with; AnswerError where it has not ended."""
    found = ledger.load(run_id, "result.json", Finetuned)
    if found is None:
        raise AnswerError(f"run {run_id!r} has no tuned model yet: finish it with `shardtune finetune`")
    return found


def base_digest(run_id: str) -> str | None:
    """The digest of the base model's files that the run's link was tuned on; None where they lie on the hub."""
    link = ledger.load(run_id, "link.json", Link)
    return link.base_digest if link else None


def _run(spec: str, name: str | None) -> tuple[Run, str | None]:
    """The run that `spec` names, and the registered version where `spec` is one."""
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
            registered = api.get_model_version(named["model"], named["version"])
        else:
            found = named["name"] or name or _only(named["alias"])
            registered = api.get_model_version_by_alias(found, named["alias"])
    except MlflowException as error:
        raise AnswerError(f"model {spec!r} is not registered: `shardtune finetune --promote` registers one") from error
    return api.get_run(str(registered.run_id)), f"{registered.name}/{registered.version}"


def _only(alias: str) -> str:
    """The one registered model that has this alias."""
    names = [model.name for model in ledger.client().search_registered_models() if alias in model.aliases]
    if len(names) != 1:
        known = ", ".join(f"{name}@{alias}" for name in names) or "no model has it: `shardtune finetune --promote`"
        raise AnswerError(f"model {alias!r} of which recipe? {known}")
    return names[0]


def champions() -> dict[str, str]:
    """The version of each recipe's model that is champion, by the recipe's name."""
    known = ledger.client().search_registered_models()
    return {str(model.name): str(model.aliases["champion"]) for model in known if "champion" in model.aliases}
