"""Recipes: overrides land where they should, and every refusal names the key, the value and what is allowed."""

from __future__ import annotations

import pytest

from tasks.core.errors import RecipeError
from tasks.recipe import loader


def test_overrides_are_yaml_values_at_their_keys():
    recipe = loader.load(None, ["clean.duplicates=keep", "export.formats=[openai, gemini]", "seed=7", "shards=[0,2]"])
    assert recipe.clean.duplicates == "keep"
    assert recipe.export.formats == ("openai", "gemini")
    assert (recipe.seed, recipe.shards) == (7, (0, 2))


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("nope=1", ["unknown key 'nope'", "allowed are", "catalogue"]),
        ("clean.nope=1", ["unknown key 'clean.nope'", "min_content"]),
        ("clean.min_title=0", ["clean.min_title = 0", "greater than or equal to 1"]),
        ("clean.unescape=maybe", ["clean.unescape = 'maybe'", "boolean"]),
        ("split.holdout_share=0.9", ["split.holdout_share = 0.9", "less than or equal to 0.7"]),
        ("export.style=poem", ["export.style = 'poem'", "'describe'"]),
        ("tune={base_model: m, nope: 1}", ["unknown key 'tune.nope'", "gradient_accumulation"]),
        ("tune={kind: openai, base_model: m, nope: 1}", ["unknown key 'tune.nope'", "learning_rate_multiplier"]),
        ("tune={base_model: m, lora: {nope: 1}}", ["unknown key 'tune.lora.nope'", "alpha, dropout"]),
        ("tune={kind: openai, base_model: m, epochs: 51}", ["tune: epochs = 51 is not allowed: 1 to 50, or auto"]),
        ("tune={kind: gemini, base_model: m, batch_size: 4}", ["batch_size is not allowed", "service chooses it"]),
        ("tune={kind: gemini, base_model: m, learning_rate: 0.001}", ["learning_rate_multiplier"]),
        ("tune={kind: nobody, base_model: m}", ["tune.kind = 'nobody'", "local, openai, gemini"]),
        ("no-equals", ["'no-equals'", "a.b=value"]),
    ],
)
def test_a_refusal_names_key_value_and_what_is_allowed(override, parts):
    with pytest.raises(RecipeError) as refused:
        loader.load(None, [override])
    assert all(part in str(refused.value) for part in parts), refused.value
    assert ";" not in str(refused.value)


def test_a_tune_without_kind_is_local():
    assert loader.load(None, ["tune={base_model: m}"]).tune.kind == "local"


def test_a_file_is_read_and_a_missing_one_is_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ncatalogue: {uri: here.json}\n")
    assert loader.load(str(file)).catalogue.uri == "here.json"
    with pytest.raises(RecipeError, match="no recipe 'absent'"):
        loader.load("absent")


def test_broken_yaml_is_one_line(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("name: [unclosed\n")
    with pytest.raises(RecipeError) as refused:
        loader.load(str(file))
    assert "\n" not in str(refused.value)


# A kilobyte that stands for gigabytes: the "billion laughs" as it is published for XML, in YAML.
LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{x}: &{x} [{', '.join(['*' + y] * 9)}]\n" for y, x in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "aliases stand for more than"),
        ("a: &a [*a]\n", "contains itself"),
        ("name: " + "[" * 20_000, "deeper than 50 levels"),
        ("name: " + "{a: " * 60 + "}" * 60, "deeper than 50 levels"),
        ("- a\n" * 300_000, "limit of 1,000,000"),
        ("name: 2026-99-99\n", "month must be in 1..12"),
        ("seed: " + "9" * 5_000, "4300 digits"),
        ("name: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("name: " + "x" * 900_000, "900,002 characters"),
        ("".join(f"key{n}: 1\n" for n in range(5_000)), "and 4990 more"),
    ],
)
def test_yaml_that_would_fill_memory_or_stack_is_refused_in_a_short_line(text, reason, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    for load in (lambda: loader.load(str(file)), lambda: loader.load(None, [f"name={text}"])):
        with pytest.raises(RecipeError) as refused:
            load()
        assert len(str(refused.value)) < 6_000 and "\n" not in str(refused.value).strip()
    with pytest.raises(RecipeError, match=reason):
        loader.load(str(file))


def test_anchors_and_merges_of_a_usual_size_are_read(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("evaluate: &few {seen: 2, unseen: 2}\ncompare: {<<: *few}\n")
    recipe = loader.load(str(file))
    assert (recipe.evaluate.seen, recipe.compare.seen) == (2, 2)
