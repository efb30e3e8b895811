"""What is proposed for files of other tools: rows as a person would map them, and the recipe that init writes runs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flows.cli.init import init
from tasks.catalogue.propose import propose
from tasks.core.errors import CatalogueError, RecipeError
from tasks.recipe import loader
from tasks.recipe.model import Catalogue
from tests.kit import catalogues, exports


def made(uri, folder, *arguments):
    """The recipe that `init --yes` writes, and what it said."""
    out = folder / "own.yaml"
    done = CliRunner().invoke(init, [str(uri), "--yes", "--out", str(out), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return loader.load(str(out)), done.output


@pytest.mark.parametrize("shape", exports.EXPORTS)
def test_a_file_of_another_tool_becomes_rows_without_an_edit(tmp_path, shape):
    write, uid = exports.EXPORTS[shape]
    recipe, told = made(write(tmp_path), tmp_path)
    done = catalogues.run(recipe.catalogue, tmp_path)
    found = catalogues.rows(done.finished[0].shard)
    first, product = found[0], exports.products()[0]
    assert (first["uid"], done.prepared.quarantined, len(found)) == (uid, 0, len(exports.products()))
    assert str(first["title"]).startswith(product["name"])
    assert product["text"] in str(first["content"]) and "img.example" not in str(first)
    assert f"{uid}  {product['name']}" in told and "are kept; left out: " in told


def test_half_a_character_is_no_error(tmp_path):
    data = b'{"asin": "1", "name": "Kettle \\ud83d", "about": "A copper kettle for two people, \\ud83d they say."}\n'
    recipe, _ = made(catalogues.source(tmp_path, data).uri, tmp_path)
    assert catalogues.run(recipe.catalogue, tmp_path).prepared.kept == 1


def test_facts_are_found_and_shown(tmp_path):
    recipe, told = made(exports.amazon_2023(tmp_path), tmp_path)
    facts = {"price": ("price",), "brand": ("store",), "category": ("categories",)}
    assert recipe.catalogue.fields is not None
    assert {k: recipe.catalogue.fields.facts[k] for k in facts} == facts
    assert "price: 10.5, brand: Orrin, category: Home, Kitchen" in told


def test_a_catalogue_of_the_usual_names_needs_no_mapping(tmp_path):
    uri = catalogues.source(tmp_path, catalogues.lines(5)).uri
    recipe, _ = made(uri, tmp_path)
    assert recipe.catalogue.fields is None and recipe.catalogue.uri == uri


def test_texts_in_lists_are_mapped_though_their_names_are_usual(tmp_path):
    made_of = {"title": "Copper Kettle", "content": [catalogues.CONTENT]}
    data = [json.dumps({"uid": n} | made_of).encode() + b"\n" for n in (1, 2)]
    recipe, _ = made(catalogues.source(tmp_path, data).uri, tmp_path)
    assert catalogues.run(recipe.catalogue, tmp_path).prepared.kept == 1  # the other has the same content


def test_the_address_of_a_product_is_found(tmp_path):
    assert made(exports.merchant(tmp_path), tmp_path)[0].ask.product_url == "https://shop.example/p/{uid}"
    recipe, _ = made(path := exports.pandas_csv(tmp_path), tmp_path, "--force")
    assert recipe.ask.product_url == f"{path}#{{uid}}"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("sku;name;opis\n1;Łyżka;Duża łyżka do zupy ze stali, mała ząbkowana krawędź, świetna\n", "cp1250"),
        ("sku;name;text\n1;Кружка;Большая кружка из глины для чая и кофе\n", "cp1251"),
        ("sku;name;text\n1;Tasse à café;Une tasse à café de 350 ml, 3,50 €, très légère\n", "cp1252"),
    ],
)
def test_an_encoding_is_found(tmp_path, text, encoding):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    recipe, told = made(tmp_path / "a.csv", tmp_path)
    assert recipe.catalogue.encoding == encoding and f"read as {encoding}" in told
    (row,) = catalogues.rows(catalogues.run(recipe.catalogue, tmp_path).finished[0].shard)
    assert row["title"] == text.split("\n")[1].split(";")[1]


def test_without_a_description_the_other_columns_are_named_one_by_one(tmp_path):
    rows = "\n".join(f"S{n},Stool {n},oak,{n + 40} cm" for n in range(5))
    (tmp_path / "a.csv").write_text(f"sku,name,material,seat_height\n{rows}\n")
    found = propose(Catalogue(uri=str(tmp_path / "a.csv"))).fields
    assert found.content == ("Material: {material}", "Seat height: {seat_height}")


def test_without_names_that_tell_the_texts_do(tmp_path):
    rows = "\n".join(f'{n},Oak Stool No {n},"A stool of oak, number {n}, that carries a heavy man."' for n in range(9))
    (tmp_path / "a.csv").write_text(f"c1,c2,c3\n{rows}\n")
    found = propose(Catalogue(uri=str(tmp_path / "a.csv"))).fields
    assert (found.uid, found.title, found.content) == (("c1",), ("c2",), ("c3",))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "holds no record"),
        (b'{"a": 1}\n{"a": 2}\n', "no column that looks like a title.*'a'"),
        (
            b'{"P1": {"name": "Oak Stool"}, "P2": {"name": "Iron Lamp"}}',
            "a product under each key, such as 'P1'.*to_entries",
        ),
    ],
)
def test_what_is_no_catalogue_says_so(tmp_path, data, told):
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(CatalogueError, match=told):
        propose(Catalogue(uri=str(tmp_path / "a.jsonl")))


def test_a_recipe_that_is_there_is_not_written_over(tmp_path):
    uri = catalogues.source(tmp_path, catalogues.lines(5)).uri
    made(uri, tmp_path)
    with pytest.raises(RecipeError, match="is there: give --name, --out, or --force"):
        made(uri, tmp_path)


def test_a_person_may_say_otherwise(tmp_path, monkeypatch):
    path = exports.pandas_csv(tmp_path)
    given = "\nnowhere\n\n\nproduct_name, product_id\nproduct_description, 'Price: {price}'\n"
    monkeypatch.setattr("flows.cli.init._interactive", lambda: True)
    done = CliRunner().invoke(init, [str(path), "--out", str(tmp_path / "a.yaml")], input=given, catch_exceptions=False)
    assert "no column is called 'nowhere'" in done.output
    fields = loader.load(str(tmp_path / "a.yaml")).catalogue.fields
    assert fields is not None and fields.title == ("product_name", "product_id")
    assert fields.content == ("product_description", "Price: {price}")
