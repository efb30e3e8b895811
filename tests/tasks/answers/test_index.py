"""The index: rows by their words, words by their rows; shards come and go, a cut update is finished."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.answers import index
from tasks.answers.words import stems
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


@pytest.mark.parametrize(
    ("asked", "uid"),
    [
        ("turbo tube slide", "B001"),
        ("ballet dancers", "B002"),
        ("large kettles with wooden handles", "B004"),
        ("FIELD guides", "B005"),
    ],
)
def test_the_nearest_row_has_the_stems_asked(opened, asked, uid):
    found = opened.nearest(dict.fromkeys(stems(asked), 1.0), 3)
    assert found[0][0].uid == uid and [s for _, s in found] == sorted((s for _, s in found), reverse=True)


def test_words_are_told_by_how_many_rows_have_them(opened):
    assert [opened.frequency(stem) for stem in ("copper", "tutu", "zebra")] == [2, 1, 0]
    assert opened.weight("tutu") > opened.weight("copper")


@pytest.mark.parametrize(
    ("stem", "meant"),
    [("coper", ["copper"]), ("balelt", ["ballet"]), ("kettel", ["kettl"]), ("ketl", []), ("opper", []), ("12", [])],
)
def test_a_slip_of_the_pen_is_like_a_word_with_the_same_first_letter(opened, stem, meant):
    assert opened.alike(stem) == meant


def test_without_a_row_its_words_are_gone_too(opened):
    less = opened.without(opened.by_title("girls ballet TUTU, neon pink"))
    assert (len(less), less.frequency("tutu"), less.by_uid("B002"), less.alike("balelt")) == (4, 0, None, [])
    assert (len(opened), opened.frequency("tutu")) == (5, 1)


def test_a_sample_is_the_same_whatever_the_order_of_writing(opened, made, tmp_path):
    _, shards = made
    index.update(tmp_path / "one", shards[1:])
    index.update(tmp_path / "one", shards)
    uids = [row.uid for row in opened.sample(3, 7)]
    assert uids == [row.uid for row in index.Index(tmp_path / "one").sample(3, 7)] and len(uids) == 3


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
    (found,) = index.Index(tmp_path / "twice").by_title("Copper Tea Kettle")
    assert (found.uid, found.also) == ("B003", ("B099",))


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


def test_an_index_of_an_earlier_version_is_removed_and_others_stay(tmp_path, made, monkeypatch):
    _, whole = made
    with monkeypatch.context() as before:
        before.setattr(index, "VERSION", index.VERSION - 1)
        index.update(tmp_path / "old", whole)
        index.update(tmp_path / "old-of-another", whole[:1])
    index.update(tmp_path / "same", whole[1:])
    index.update(tmp_path / "new", whole[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old-of-another", "same"]


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


def test_only_these_rows_are_seen_and_a_word_is_as_rare_as_before(opened):
    few = opened.only(["B004", "B005"])
    assert [row.uid for row, _ in few.nearest({"copper": 1.0, "kettl": 1.0}, 5)] == ["B004"]
    assert few.by_uid("B003") is None and few.by_title("Copper Tea Kettle") == []
    assert few.frequency("copper") == opened.frequency("copper") and len(few) == len(opened)
    both = {row.uid: score for row, score in opened.nearest({"copper": 1.0}, 5)}
    assert few.nearest({"copper": 1.0}, 5)[0][1] == pytest.approx(both["B004"])
