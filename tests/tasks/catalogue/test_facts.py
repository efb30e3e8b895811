"""Facts come back for the rows that are asked for; where none are carried there are none."""

from __future__ import annotations

import pytest

from tasks.catalogue import facts
from tasks.core.errors import RecipeError
from tasks.core.models import CleanShard
from tasks.recipe.fields import Fields
from tests.kit import catalogues


def test_facts_of_rows_are_read_back(tmp_path):
    rows = [line.replace(b'"}', b'", "price": %d.50}' % n) for n, line in enumerate(catalogues.lines(25))]
    catalogue = catalogues.source(tmp_path, rows)
    fields = Fields.model_validate({"facts": {"price": "price", "brand": "brand"}})
    done = catalogues.run(catalogue.model_copy(update={"fields": fields}), tmp_path)
    found = facts.of(done.prepared.shards, [(0, 3), (2, 21), (2, 24), (1, 3)])
    assert found == {3: {"price": "2.50"}, 21: {"price": "20.50"}, 24: {"price": "23.50"}}
    plain = catalogues.run(catalogue, tmp_path)
    assert facts.of(plain.prepared.shards, [(0, 3)]) == {}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[CleanShard, ...]:
    """Rows of two brands in two sizes."""
    place = tmp_path_factory.mktemp("facts")
    rows = [
        line.replace(b'"}', b'", "brand": "%s", "size": "%d"}' % ((b"Acme ", b"Birch")[n % 2], n % 3))
        for n, line in enumerate(catalogues.lines(25))
    ]
    fields = Fields.model_validate({"facts": ["brand", "size"]})
    found = catalogues.source(place, rows).model_copy(update={"fields": fields})
    return catalogues.run(found, place).prepared.shards


def test_rows_with_every_fact_are_found_whatever_the_case(shards):
    acme, birch = (facts.having(shards, [f"brand={name}"]) for name in ("acme", " BIRCH"))
    assert len(acme) == 13 and len(birch) == 12 and not acme & birch
    assert facts.having(shards, ["brand=Acme", "size=0"]) < acme


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (["brand"], "'brand' is no condition: write NAME=VALUE"),
        (["maker=Acme"], "'maker' is no fact; there are brand, size"),
        (["brand=Cedar"], "no row has 'brand=Cedar': the commonest of brand are 'Acme', 'Birch'"),
    ],
)
def test_what_no_row_has_is_told_with_what_there_is(shards, where, told):
    with pytest.raises(RecipeError, match=told):
        facts.having(shards, where)
