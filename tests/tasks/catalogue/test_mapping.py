"""Records under their own names become rows; what they lack is left out, and numbers stay as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.catalogue import mapping, plan
from tasks.core.errors import CatalogueError
from tasks.recipe.fields import Fields
from tests.kit import catalogues

KETTLE = {
    "parent_asin": "00123", "product_name": "Copper Kettle", "size": "2 l", "features": ["It sings.", "", "It pours."],
    "description": "A copper kettle for the stove.", "details": {"Brand": "Sing & Sons", "Weight": 1.50},
    "variants": [{"sku": "K-1"}, {"sku": "K-2"}], "price": 19.90, "none": None, "blank": " ", "flag": True,
}  # fmt: skip
FIELDS = {"uid": "parent_asin", "title": "product_name", "content": ["description", "features", "Size: {size}"]}


def row(record: dict[str, Any] | str, **fields: Any) -> Any:
    line = record if isinstance(record, str) else json.dumps(record)
    made = mapping.of(Fields.model_validate({"uid": "parent_asin", **fields}))
    fast, slow = made.rows(line.encode()), made.row(line.encode())
    assert fast == [slow] or isinstance(slow, str), "both ways say the same"
    return slow


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ("description", "A copper kettle for the stove."),
        (["description", "features"], "A copper kettle for the stove.\nIt sings.\nIt pours."),
        (["description", "nowhere", "none", "blank"], "A copper kettle for the stove."),
        ("details.Brand", "Sing & Sons"),
        ("details", "Brand: Sing & Sons\nWeight: 1.5"),
        ("details.Brand.deeper", ""),
        ("variants.sku", "K-1\nK-2"),
        ("variants.1.sku", "K-2"),
        ("variants.7.sku", ""),
        ("Size: {size}", "Size: 2 l"),
        ("{details.Brand}: {size}", "Sing & Sons: 2 l"),
        ("Size: {width}", ""),
        (["Size: {width}", "{size}, {none}", "size"], "2 l"),
        ("With {features}", "With It sings., It pours."),
        ("price", "19.9"),
        ("flag", "true"),
    ],
)
def test_a_field_is_made_of_its_parts(parts, text):
    assert row(KETTLE, content=parts).content == text


@pytest.mark.parametrize(
    "written", ['"00123"', "123", "123.0", "1e5", "-1.50", "10000000000000000000000000", "1E400", "0.10"]
)
def test_an_identifier_stays_as_it_is_written(written, tmp_path):
    text = json.dumps({"id": "?", "title": "Kettle", "content": catalogues.CONTENT}).replace('"?"', written)
    assert mapping.of(Fields(uid=("id",))).row(text.encode()).uid == written.strip('"')
    own = catalogues.source(tmp_path, text.replace('"id"', '"uid"').encode() + b"\n")
    for catalogue in (own, catalogues.source(tmp_path / "mapped", text.encode() + b"\n")):
        fields = {} if catalogue is own else {"fields": Fields(uid=("id",))}
        done = catalogues.run(catalogue.model_copy(update=fields), tmp_path)
        assert catalogues.rows(done.finished[0].shard)[0]["uid"] == written.strip('"')


def test_a_key_that_looks_like_a_path_is_a_key():
    assert row({"parent_asin": "1", "a.b": "flat", "a": {"b": "nested"}}, content="a.b").content == "flat"
    assert row({"parent_asin": "1", "a": {"b": "nested"}}, content="a.b").content == "nested"


def test_a_record_without_an_identifier_goes_to_quarantine(tmp_path):
    lines = [b'{"id": 1, "title": "Kettle"}\n', b'{"title": "Kettle"}\n', b"[1]\n", b'{"id": 2\n', b'{"id": {}}\n']
    more = [f'{{"id": "K{n}", "title": "Kettle {n}"}}\n'.encode() for n in range(5)]
    catalogue = catalogues.source(tmp_path, lines + more)
    fields = Fields.model_validate({"uid": "id", "content": "A {title} of copper, for the stove."})
    done = catalogues.run(catalogue.model_copy(update={"fields": fields}), tmp_path)
    found = [(line, rule) for line, _, rule in catalogues.quarantine(done.finished[0].shard)]
    assert found == [(2, "missing_uid"), (3, "wrong_type"), (4, "malformed_json"), (5, "missing_uid")]
    assert [r["line"] for r in catalogues.rows(done.finished[0].shard)] == [1, 6, 7, 8, 9, 10]


def test_facts_are_carried(tmp_path):
    fields = Fields.model_validate(FIELDS | {"facts": {"price": "price", "brand": "details.Brand", "none": "none"}})
    catalogue = catalogues.source(tmp_path, json.dumps(KETTLE).encode() + b"\n")
    done = catalogues.run(catalogue.model_copy(update={"fields": fields}), tmp_path)
    (found,) = catalogues.rows(done.finished[0].shard)
    assert found["uid"] == "00123" and found["title"] == "Copper Kettle"
    assert found["content"] == "A copper kettle for the stove.\nIt sings.\nIt pours.\nSize: 2 l"
    assert json.loads(str(found["facts"])) == {"price": "19.9", "brand": "Sing & Sons"}


TABLE = 'Code;Name;"Text, long";Size\r\n007;Kettle;"Of copper; it sings, ""they say"".\r\nTwice.";2 l\r\n'


def test_a_table_under_its_own_names(tmp_path):
    catalogue = catalogues.source(tmp_path, TABLE.encode(), name="export.csv")
    fields = Fields.model_validate({"uid": "Code", "title": "Name", "content": ["Text, long", "Size: {Size}"]})
    done = catalogues.run(catalogue.model_copy(update={"fields": fields}), tmp_path)
    (found,) = catalogues.rows(done.finished[0].shard)
    assert found["content"] == 'Of copper; it sings, "they say".\nTwice.\nSize: 2 l'
    assert (found["uid"], found["title"], found["line"]) == ("007", "Kettle", 1)


def test_an_error_names_the_column_and_what_it_may_be(tmp_path):
    catalogue = catalogues.source(tmp_path, TABLE.encode(), name="export.csv")
    told = "has the columns 'Code', 'Name', 'Text, long', 'Size', and no 'Nmae': mend catalogue.fields.*may be 'Name'"
    with pytest.raises(CatalogueError, match=told):
        fields = Fields.model_validate({"uid": "Code", "title": "Nmae", "content": "Size"})
        plan.plan(catalogue.model_copy(update={"fields": fields}), str(tmp_path))


def test_what_is_mapped_is_part_of_a_shard(tmp_path):
    data = [
        json.dumps(
            {"uid": "A", "title": "Kettle", "content": catalogues.CONTENT, "more": "It pours tea for six."}
        ).encode()
        + b"\n"
    ]
    plain = catalogues.source(tmp_path, data)
    other = plain.model_copy(update={"fields": Fields.model_validate({"content": "more"})})
    one, three = (catalogues.run(each, tmp_path).finished[0].shard for each in (plain, other))
    assert one.source == plan.plan(plain, str(tmp_path)).shards[0].digest
    assert three.source != one.source and three.uri != one.uri
    assert "fields" not in plan.plan(plain, str(tmp_path)).shards[0].model_dump(mode="json")


@pytest.mark.parametrize(
    "fields", [{"uid": []}, {"content": ""}, {"name": "x"}, {"facts": {"a b": "x"}}, {"title": "x" * 501}]
)
def test_what_is_no_mapping_is_refused(fields):
    with pytest.raises(ValidationError):
        Fields.model_validate(fields)


def test_deep_and_large_values_are_bounded(tmp_path):
    deep: Any = "end"
    for _ in range(60):
        deep = {"a": [deep]}
    assert row({"parent_asin": "1", "deep": deep}, content="deep").content == ""
    line = b'{"id": "1", "title": "T", "content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    catalogue = catalogues.source(
        tmp_path, [line, b'{"id": "2", "title": "T", "content": "%b"}\n' % catalogues.CONTENT.encode()]
    )
    fields = Fields.model_validate({"uid": "id"})
    done = catalogues.run(catalogue.model_copy(update={"fields": fields}), tmp_path)
    assert catalogues.quarantine(done.finished[0].shard) == [(1, "1", "malformed_json")]
    assert Path(str(done.finished[0].shard.quarantine_uri)).stat().st_size < 2_000
