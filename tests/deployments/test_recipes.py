"""Every recipe loads, names itself, and its first line is the command that runs it."""

from __future__ import annotations

import pytest

from tasks import recipes

REPORTS = {"tinyllama-unsloth", "mistral-7b", "llama-7b", "gemma-2b", "opt-1.3b", "opt-125m"}


def test_every_local_model_of_the_reports_has_a_recipe():
    assert set(recipes.names()) >= REPORTS | {"demo"}


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_loads_and_names_itself(name):
    recipe = recipes.load(name)
    first = (recipes.FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert recipe.name == name
    assert recipe.description
    assert first.startswith(f"# shardtune finetune --recipe {name}")


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_the_reports_models_are_tuned_in_four_bits(name):
    tune = recipes.load(name).tune
    assert tune is not None and tune.load_in_4bit
    assert (tune.engine == "unsloth") == (name == "tinyllama-unsloth")
