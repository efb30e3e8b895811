"""The index: the right row for titles, slips of the pen and sentences; shards come and go, a cut update is finished."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.answers import index
from tasks.core.errors import AnswerError
from tasks.recipe import loader
from tests.kit.catalogues import line, run, source

PRODUCTS = [
    line("B001", "5 Ft Turbo Tube Slide Yellow", "A bright yellow slide of plastic for a play set, five feet high."),
    line("B002", "Girls Ballet Tutu Neon Pink", "High quality 3 layer ballet tutu, 12 inches in length, for dancers."),
    line("B003", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils."),
    line("B004", "Copper Tea Kettle Large", "This large copper kettle holds four litres and has a wooden handle."),
    line("B005", "Field Guide Vol 2", "The second volume of a field guide to birds of the northern shores."),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Clean shards and their index, made once: no test changes them."""
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(folder))
        shards = run(source(folder, PRODUCTS, per=3), folder).prepared.shards
        assert index.update(folder / "index", shards) == 2
        yield folder, shards


@pytest.fixture(scope="module")
def opened(made):
    return index.Index(made[0] / "index")


def best(opened: index.Index, subject: str, **more: str) -> tuple[str, bool]:
    found = opened.candidates(subject, **more)
    return found[0].row.uid, found[0].fits


@pytest.mark.parametrize(
    ("subject", "uid"),
    [
        ("5 Ft Turbo Tube Slide Yellow", "B001"),
        ("girls ballet tutu neon pink!", "B002"),
        ("Girls Balelt Tutu Neon Pink", "B002"),
        ("Turbo Tube Slide", "B001"),
        ("Copper Tea Kettle", "B003"),
        ("large copper kettle holds four litres and has a wooden handle", "B004"),
    ],
)
def test_the_product_is_found(opened, subject, uid):
    assert best(opened, subject) == (uid, True)


@pytest.mark.parametrize("subject", ["Steel Garden Rake", "Field Guide Vol 3", "Copper", "the", "?!"])
def test_a_product_that_is_not_there_fits_nothing(opened, subject):
    assert not any(found.fits for found in opened.candidates(subject))


def test_a_hidden_title_is_as_if_it_were_not_there(opened):
    found = opened.candidates("Girls Ballet Tutu Neon Pink", hidden="GIRLS ballet tutu, neon pink")
    assert "B002" not in [c.row.uid for c in found] and not any(c.fits for c in found)


def test_a_row_says_where_it_comes_from(opened):
    row = opened.by_uid("B005")
    assert row is not None and (row.line, row.shard) == (5, 1)
    assert opened.by_uid("B999") is None


def test_rows_with_the_same_title_and_content_are_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path))
    twice = [
        *PRODUCTS,
        line("B099", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils."),
    ]
    done = run(source(tmp_path, twice), tmp_path, clean={"duplicates": "keep"})
    index.update(tmp_path / "twice", done.prepared.shards)
    found = index.Index(tmp_path / "twice").candidates("Copper Tea Kettle")
    assert (found[0].row.uid, found[0].row.also) == ("B003", ("B099",))


def test_a_grown_catalogue_adds_only_its_new_shard_and_a_shrunk_one_loses_its_rows(tmp_path, made):
    _, whole = made
    folder = tmp_path / "grown"
    assert index.update(folder, whole[:1]) == 1
    assert index.update(folder, whole) == 1 and len(index.Index(folder)) == 5
    assert index.update(folder, whole) == 0
    index.update(folder, whole[1:])
    assert len(index.Index(folder)) == 2 and index.Index(folder).by_uid("B001") is None


def test_an_update_that_died_after_its_commit_doubles_nothing(tmp_path, made):
    _, whole = made
    folder = tmp_path / "died"
    index.update(folder, whole[:1])
    kept = Path(folder, "shards.json").read_bytes()
    index.update(folder, whole)
    Path(folder, "shards.json").write_bytes(kept)  # as if killed before this was written
    assert index.update(folder, whole) == 2  # its files are not those that were written down: all is made anew
    assert len(index.Index(folder)) == 5
    assert index.update(folder, whole) == 0


def test_an_index_that_is_not_there_or_broken_says_what_to_do(tmp_path, made):
    with pytest.raises(AnswerError, match="no index at"):
        index.Index(tmp_path / "nowhere")
    folder = shutil.copytree(made[0] / "index", tmp_path / "index")
    shutil.rmtree(folder / "rows")
    (folder / "rows").mkdir()
    with pytest.raises(AnswerError, match="remove the folder"):
        index.Index(folder)


def test_recipes_whose_clean_shards_differ_have_an_index_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.json").write_bytes(b"".join(PRODUCTS))
    one = loader.load(None, ["catalogue.uri=c.json"])
    same = loader.load(None, [f"catalogue.uri={tmp_path}/c.json", "evaluate.seen=3"])
    other = loader.load(None, ["catalogue.uri=c.json", "clean.junk=false"])
    folders = [index.folder_of(recipe.catalogue, recipe.clean, recipe.split) for recipe in (one, same, other)]
    assert folders[0] == folders[1] != folders[2]
