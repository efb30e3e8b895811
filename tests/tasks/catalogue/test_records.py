"""Records: what a step hands on is the same whether it was made now or found, so caches see no difference."""

from __future__ import annotations

from tasks.catalogue.records import Cleaned, Finished
from tests.kit.catalogues import lines, run, source


def test_whether_it_was_made_now_is_not_part_of_a_record_on_its_way(tmp_path):
    done = run(source(tmp_path, lines(3)), tmp_path)
    for record in (done.cleaned[0], done.finished[0]):
        assert record.made
        back = type(record).model_validate_json(record.model_dump_json())
        assert isinstance(back, Cleaned | Finished)
        assert not back.made
        assert back.model_dump() == record.model_dump()
