"""Every recipe loads, names itself, and its first line is the command that runs it."""

from __future__ import annotations

import pytest

from tasks.recipe import loader

LOCAL = {"tinyllama-unsloth", "mistral-7b", "llama-7b", "gemma-2b", "opt-1.3b", "opt-125m"}


def test_every_local_model_of_the_reports_has_a_recipe():
    assert set(loader.names()) >= LOCAL | {"demo"}


def test_report_a_is_a_chain_of_two_shards_with_its_hyperparameters():
    for name in ("gpt-4o-mini", "azure-gpt-4o-mini"):
        recipe = loader.load(name)
        assert (recipe.chain, recipe.shards, recipe.export.style) == (True, (0, 1), "sales")
        assert recipe.tune.base_model == "gpt-4o-mini-2024-07-18"
        assert (recipe.tune.epochs, recipe.tune.batch_size, recipe.tune.learning_rate_multiplier) == (1, 8, 0.6)


def test_report_b_is_two_versions_of_one_gemini_tune():
    first, second = loader.load("gemini-describe"), loader.load("gemini-with-source")
    assert first.tune == second.tune and first.tune.epochs == 2
    assert (first.export.style, second.export.style) == ("describe", "describe-with-source")


@pytest.mark.parametrize("name", loader.names())
def test_a_recipe_loads_and_names_itself(name):
    recipe = loader.load(name)
    first = (loader.FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert recipe.name == name
    assert recipe.description
    assert first.startswith(f"# shardtune finetune --recipe {name}")


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_the_reports_models_are_tuned_in_four_bits(name):
    tune = loader.load(name).tune
    assert tune is not None and tune.load_in_4bit
    assert (tune.engine == "unsloth") == (name == "tinyllama-unsloth")
