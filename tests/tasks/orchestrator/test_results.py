"""Results: what is kept is kept in one way, and a pickle that somebody laid among Prefect's results does not run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from prefect._internal.result_records import ResultRecord, ResultRecordMetadata
from prefect.serializers import Serializer

TOP = Path(__file__).parents[3]
FOLDERS = [TOP / "tasks", TOP / "tasks" / "orchestrator", TOP / "flows"]


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("kind", ["pickle", "compressed/pickle", None])
def test_a_pickle_among_the_results_does_not_run(tmp_path, kind):
    written = Serializer(type=kind or "pickle")
    record = ResultRecord(result=1, metadata=ResultRecordMetadata(serializer=written, storage_key="k"))
    data = written.dumps(Evil(tmp_path / "ran"))
    told = record.model_copy(update={"result": data.decode()}).model_dump_json(serialize_as_any=True)
    if kind is None:
        told = re.sub(r'"serializer":\s*\{[^}]*\},?', "", told)
    with pytest.raises(ValueError, match="is a pickle, which may run code"):
        ResultRecord.deserialize(told.encode())
    assert not (tmp_path / "ran").exists()


def test_every_task_that_keeps_its_result_keeps_it_so():
    for path in (path for folder in FOLDERS for path in folder.rglob("*.py") if path.name != "results.py"):
        text = path.read_text()
        assert "persist_result=True" not in text and "result_serializer" not in text, f"{path}: use results.KEPT"
