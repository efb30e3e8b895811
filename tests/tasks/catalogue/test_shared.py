"""Shared contents: a text under many unlike titles is dropped, by the shards so far; sizes of one product stay."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.catalogue import duplicates, shared
from tasks.catalogue.records import Rules
from tasks.recipe.model import Cleaning
from tests.kit.catalogues import cleaned, line, lines, run, source

BLURB = "Oak Press has printed books of law, medicine and engineering for over one hundred years."
TITLES = ("Contract Law", "Bridges of Steel", "The Human Heart", "Roman Roads")


def dropped(folder, data, per, bound=3):
    rules = Cleaning(shared_content=bound, same_uid="keep")
    some = cleaned(folder, data, Rules(clean=rules), per)
    found = duplicates.find(some, rules, str(folder))
    return [(one.dropped, duplicates.positions(one).tolist()) for one in found]


def blurbs(*titles):
    return [line(f"B{n}", title, BLURB) for n, title in enumerate(titles)]


@pytest.mark.parametrize("room", [1, 1_000_000])
def test_a_shard_drops_what_it_and_those_before_it_have_shown_to_be_shared(tmp_path, monkeypatch, room):
    monkeypatch.setattr(duplicates, "ROOM", room)  # one row at a time: several slices
    data = [*blurbs(TITLES[0]), *lines(2), *blurbs(*TITLES[1:3]), *lines(1, 2), *blurbs(TITLES[3]), *lines(2, 3)]
    told = {"shared_content": 2}, {"shared_content": 1}
    assert dropped(tmp_path, data, 3) == [({}, []), (told[0], [0, 1]), (told[1], [0])]
    # A grown catalogue leaves its old shards as they are.
    assert dropped(tmp_path, [*data, *blurbs(*TITLES)], 3)[:3] == dropped(tmp_path, data, 3)
    assert dropped(tmp_path, data, 9) == [({"shared_content": 4}, [0, 3, 4, 6])]
    assert dropped(tmp_path, data, 9, bound=5) == [({}, [])]
    assert dropped(tmp_path, data, 9, bound=None) == [({}, [])]


def test_sizes_of_one_product_and_repeated_rows_are_one_title(tmp_path):
    sizes = blurbs(*(f"Merino Wool Base Layer Shirt, {size}" for size in ("S", "M", "L", "XL", "blue", "green")))
    assert dropped(tmp_path, sizes, 10) == [({}, [])]
    short = blurbs(*(f"iPhone Case {colour}" for colour in ("Black", "Pink", "Blue", "Red")))
    assert dropped(tmp_path, short, 10) == [({}, [])]
    for mugs in (
        ("Mug Red", "Mug Blue", "Mug Green"),
        ("Red Mug", "Blue Mug", "Green Mug"),
        ("The Mug (Oak)", "Mug: Pine", "Mug Elm"),
        ("Mug S", "Mug M", "Mug XL", "Large Mug"),
    ):
        assert dropped(tmp_path, blurbs(*mugs), 10) == [({}, [])]
    laws = blurbs("Contract Law", "Criminal Law", "Roman Law")
    assert dropped(tmp_path, laws, 10) == [({"shared_content": 3}, [0, 1, 2])]
    assert dropped(tmp_path, blurbs("Red", "Blue", "Green"), 10) == [({"shared_content": 3}, [0, 1, 2])]
    colours = blurbs(
        *(f"\u8010\u514b\u6c14\u57ab\u8dd1\u978b{one}\u8272" for one in "\u7ea2\u84dd\u7eff\u9ed1")
    )  # without spaces
    assert dropped(tmp_path, colours, 10) == [({}, [])]
    books = blurbs("\u5408\u540c\u6cd5\u5165\u95e8", "\u94a2\u94c1\u6865\u6881", "\u4eba\u4f53\u5fc3\u810f")
    assert dropped(tmp_path, books, 10) == [({"shared_content": 3}, [0, 1, 2])]
    again = blurbs("Contract Law", "Contract Law", "CONTRACT LAW!", "Bridges of Steel")
    assert dropped(tmp_path, again, 10) == [({"duplicates": 1}, [1])]


def test_rows_without_a_content_share_none(tmp_path):
    rules = Rules(clean=Cleaning(blank_content=False, shared_content=3))
    blank = [line(f"B{n}", title, "") for n, title in enumerate((*TITLES, TITLES[0]))]
    (found,) = duplicates.find(cleaned(tmp_path, blank, rules, 10), rules.clean, str(tmp_path))
    assert found.dropped == {"duplicates": 1}


def test_the_counts_add_up(tmp_path):
    data = [
        *blurbs(*TITLES),
        *blurbs(TITLES[0]),
        *lines(3),
        line("U9", "Caf&#xC3;&#xA9; cup", "A cup for caf&#xC3;&#xA9; with a wide rim."),
    ]
    prepared = run(source(tmp_path, data, 4), tmp_path / "root").prepared
    assert (prepared.lines, prepared.kept, prepared.quarantined) == (9, 4, 0)
    assert prepared.dropped == {"duplicates": 1, "shared_content": 4}
    assert prepared.mended == {"mojibake": 1}


def test_titles_are_compared_by_their_words():
    found = shared.words(
        ["Red-Mug", "red  MUG", "", "!?", "Cr\u00e8me \u00c9clair", "cr\u00e8me \u00e9clair", "a\0b", "b a"]
    )
    assert found[0] == found[1] != 0  # a colour says which one it is of its product
    assert not found[2:4].any()
    assert found[4] == found[5]
    assert found[6] == found[7]
    assert np.array_equal(shared.words(["Roman Roads"] * 3), np.repeat(shared.words(["Roman Roads"]), 3))
