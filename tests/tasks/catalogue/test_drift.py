"""Drift: near nothing between parts of one catalogue, far between two, and a bound that says why it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployments.demo import catalogue
from tasks.catalogue import batch, drift, settle
from tasks.catalogue.plan import plan
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard
from tasks.recipe import loader

FRENCH = "La table en bois de chêne mesure cent vingt centimètres et pèse neuf kilos, numéro {}."


def shards(path: Path, root: Path, per: int) -> list[CleanShard]:
    recipe = loader.load(None, [f"catalogue.uri={path}", f"catalogue.lines_per_shard={per}"])
    planned, rules = plan(recipe.catalogue, str(root)), batch.rules_of(recipe.catalogue, recipe.clean, recipe.split)
    cleaned = batch.cleaned(planned.shards, rules, str(root))
    found, folder = batch.repeats(cleaned, rules, str(root)), str(root / "settled")
    return [settle.settle(one, same, rules, folder, str(root))[0] for one, same in zip(cleaned, found, strict=True)]


def other(path: Path, many: int) -> Path:
    """A catalogue of another language."""
    rows = [{"uid": f"F{n}", "title": f"Table {n}", "content": FRENCH.format(n) * (1 + n % 5)} for n in range(many)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[CleanShard]:
    """Four shards of one catalogue."""
    place = tmp_path_factory.mktemp("drift")
    catalogue.write(str(place / "catalogue.json"), 1_200)
    return shards(place / "catalogue.json", place / "root", 300)


def test_parts_of_one_catalogue_do_not_drift(parts):
    for n in (2, 3):
        found = drift.measure(parts[n : n + 1], parts[:n])
        assert found is not None and found.largest[1] < 0.1, found
        assert found.new == (n,) and found.before == tuple(range(n))


def test_another_language_drifts_and_its_words_are_named(parts, tmp_path):
    new = shards(other(tmp_path / "other.json", 200), tmp_path / "root", 1_000)
    found = drift.measure(new, parts)
    assert found is not None and found.words > 0.3 and found.largest[0] == "words"
    assert {"bois", "centimètres"} & {word for word, _ in found.new_words}
    with pytest.raises(
        CatalogueError, match=r"words = 0\.\d+, more than catalogue.max_drift = 0.2 .*Nothing was started"
    ):
        drift.check(0.2, new, parts, "shop.csv")
    assert drift.check(1.0, new, parts, "shop.csv") == found


def test_a_shard_of_which_nothing_is_kept_drifts(parts, tmp_path):
    rows = [{"uid": f"B{n}", "title": "", "content": "nothing"} for n in range(99)]
    good = {"uid": "G", "title": "Good row", "content": "A row that is kept, for it says something."}
    path = tmp_path / "bad.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, good]))
    found = drift.measure(shards(path, tmp_path / "root", 1_000), parts)
    assert found is not None and found.largest == ("left_out", found.left_out) and found.left_out > 0.4


def test_a_sample_is_drawn_over_all_shards_and_is_the_same_each_time(parts):
    few = drift.sample(parts, 100)
    assert len(few) == 100 and drift.sample(parts, 100) == few
    assert len(drift.sample(parts, 10_000)) == sum(part.kept for part in parts)
    assert drift.measure(parts[:1], parts[:1]) is not None


@pytest.mark.parametrize(
    ("one", "other", "far"), [({"a": 2, "b": 2}, {"a": 1, "b": 1}, 0.0), ({"a": 3}, {"b": 5}, 1.0)]
)
def test_divergence_is_0_for_equal_shares_and_1_where_nothing_is_common(one, other, far):
    from collections import Counter

    assert drift.divergence(Counter(one), Counter(other)) == pytest.approx(far)


def test_words_of_scripts_without_spaces_are_characters():
    assert drift.words("Ein Tisch, 木の机") == ["ein", "tisch", "木", "の", "机"]
