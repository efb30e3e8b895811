"""Facts come back for the rows that are asked for; where none are carried there are none."""

from __future__ import annotations

from tasks.catalogue import facts
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
