"""Exports: the bytes are those of json.dumps, the words those of the reports, and nothing is made twice."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core.errors import ExportError
from tasks.examples.export import export
from tasks.recipe.model import Exporting
from tests.kit.rows import shard

ROWS = [("Blue Kite", 'Flies "high" \\ far, 12 ft'), ("Salt Mill", "Grinds salt ½ café"), ("Lamp", "Lights up.\tOnce")]


def lines(uri: str) -> list[str]:
    return Path(uri).read_text(encoding="utf-8").split("\n")[:-1]


def test_report_a_is_a_sales_chat(tmp_path):
    made = export(shard(tmp_path, ROWS), Exporting(style="sales"), "openai", "train", None, str(tmp_path))
    assert json.loads(lines(made.uri)[0]) == {
        "messages": [
            {"role": "system", "content": "Act as sales representative"},
            {"role": "user", "content": "Blue Kite"},
            {"role": "assistant", "content": 'Flies "high" \\ far, 12 ft'},
        ]
    }
    assert made.examples == 3


def test_report_b_asks_on_amazon_and_gives_its_source_line(tmp_path):
    made = export(
        shard(tmp_path, ROWS), Exporting(style="describe-with-source"), "gemini", "train", None, str(tmp_path)
    )
    user, model = json.loads(lines(made.uri)[1])["contents"]
    assert user == {"role": "user", "parts": [{"text": 'What is product "Salt Mill" on Amazon?'}]}
    assert model["parts"][0]["text"].startswith("Grinds salt ½ café\n***\n**Source:** 'trn.json' file in dataset [The")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(*[st.text(st.characters(exclude_categories=("Cs",)))] * 2), max_size=6))
def test_lines_are_what_json_dumps_writes(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("export")
    made = export(shard(folder, rows), Exporting(style="describe"), "openai", "train", None, str(folder))
    expected = [
        {
            "messages": [
                {"role": "user", "content": f"What is the {title} product?"},
                {"role": "assistant", "content": content},
            ]
        }
        for title, content in rows
    ]
    assert Path(made.uri).read_bytes() == b"".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in expected
    )


def test_the_rows_beside_it_name_uid_and_line(tmp_path):
    made = export(shard(tmp_path, ROWS), Exporting(), "openai", "train", None, str(tmp_path))
    rows = pq.read_table(made.rows_uri)
    assert rows["uid"].to_pylist() == ["U0", "U1", "U2"]
    assert rows["line"].to_pylist() == [1, 2, 3]


def test_a_sample_is_fixed_and_in_line_order(tmp_path):
    many = [(f"Title {n}", f"Content {n}") for n in range(50)]
    made = export(shard(tmp_path, many), Exporting(train_per_shard=10), "openai", "train", None, str(tmp_path / "a"))
    again = export(shard(tmp_path, many), Exporting(train_per_shard=10), "openai", "train", None, str(tmp_path / "b"))
    picked = pq.read_table(made.rows_uri)["line"].to_pylist()
    assert len(picked) == 10 and picked == sorted(picked) and picked != list(range(1, 11))
    assert made.digest == again.digest


def test_a_second_call_makes_nothing_and_a_deleted_file_is_made_again(tmp_path):
    one = shard(tmp_path, ROWS)
    made = export(one, Exporting(), "openai", "train", None, str(tmp_path))
    before = Path(made.uri).stat().st_mtime_ns
    assert export(one, Exporting(), "openai", "train", None, str(tmp_path)) == made
    assert Path(made.uri).stat().st_mtime_ns == before
    Path(made.uri).unlink()
    assert export(one, Exporting(), "openai", "train", None, str(tmp_path)) == made
    assert Path(made.uri).exists()


def test_a_local_format_needs_a_base_model(tmp_path):
    with pytest.raises(ExportError, match=r"tune\.base_model"):
        export(shard(tmp_path, ROWS), Exporting(), "chat", "train", None, str(tmp_path))
