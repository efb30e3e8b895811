"""Questions: over all shards, the same every time, each with the prompt its export line has."""

from __future__ import annotations

import json

import pytest

from tasks.core.models import CleanShard, Export
from tasks.examples.export import export
from tasks.examples.questions import draw
from tasks.examples.templates import prompt_hash
from tasks.recipe.model import Exporting
from tests.kit.rows import shard


@pytest.fixture
def prepared(tmp_path) -> tuple[list[Export], list[CleanShard]]:
    shards = [
        shard(tmp_path / str(n), [(f"Title {n}.{i}", f"Content {n}.{i}") for i in range(40)], index=n) for n in range(3)
    ]
    return [export(s, Exporting(), "openai", "train", None, str(tmp_path)) for s in shards], shards


def test_questions_come_from_all_shards_and_are_fixed(prepared):
    exports, shards = prepared
    drawn = draw(exports, shards, 24, seed=7)
    assert {q.shard for q in drawn} == {0, 1, 2}
    assert drawn == draw(list(reversed(exports)), shards, 24, seed=7)
    assert {q.title for q in drawn} != {q.title for q in draw(exports, shards, 24, seed=8)}
    assert len({q.title for q in drawn}) == 24


def test_a_question_holds_its_own_row_and_its_exported_prompt(prepared):
    exports, shards = prepared
    for question in draw(exports, shards, 5, seed=1):
        assert question.content == question.title.replace("Title", "Content")
        assert question.messages[0].content == f"What is the {question.title} product?"
        turns = {"messages": [m.model_dump() for m in question.messages]}
        assert question.prompt_hash == prompt_hash(json.dumps(turns, sort_keys=True, ensure_ascii=False))


def test_asking_for_more_than_there_is_gives_all(prepared):
    exports, shards = prepared
    assert len(draw(exports, shards, 500, seed=1)) == 120
