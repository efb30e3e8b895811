"""Forms: questions of every form with the answer that is known, made from rows that were made up for it."""

from __future__ import annotations

import pytest

from tasks.answers import index
from tasks.answers.index import key_of
from tasks.core.errors import AnswerError
from tasks.evaluation import forms
from tasks.evaluation.exams import Exam
from tasks.evaluation.forms import ALONE, says
from tasks.examples.questions import Question
from tasks.examples.styles import conversation
from tests.kit.catalogues import line, run, source

KINDS = ("Kettle", "Rake", "Lantern", "Scarf", "Backpack", "Lamp")
MAKERS = ("Marrowgate", "Dovelli", "Vossbury", "Lumenford", "Harrowby", "Nettlebay", "Quillan")
ROWS = {f"B{n:03}": (
    f"{MAKERS[n % 7]} {KINDS[n % 6]} Model {n + 100}, Slate Gray Edition",
    f"A good thing, number {n}. It is made of {('copper', 'oak', 'linen')[n % 3]} and weighs {n + 2} pounds."
    if n % 4 else f"Number {n} of a long series that nobody has counted.",
) for n in range(60)}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    place = tmp_path_factory.mktemp("forms")
    lines = [line(uid, *row) for uid, row in ROWS.items()]
    index.update(place / "index", run(source(place, lines), place).prepared.shards)
    return index.Index(place / "index")


def question(uid: str) -> Question:
    title, content = ROWS[uid]
    turns = conversation("describe", title)
    return Question(uid=uid, line=1, shard=0, title=title, content=content, messages=turns, prompt_hash=uid)


UIDS = list(ROWS)
EXAM = Exam(seen=tuple(map(question, UIDS[:30])), unseen=tuple(map(question, UIDS[30:])))


def test_every_form_is_asked_and_always_the_same(opened):
    asked = forms.asked(EXAM, opened)
    assert len(asked) == 90 and asked == forms.asked(EXAM, opened)
    assert {one.form for one in asked} == set(forms.EVERY)
    assert {one.form for one in asked if one.group == "absent"} <= set(ALONE)
    assert len({(one.group, one.row.uid) for one in asked}) == 90


def test_the_known_answer_stands_in_the_row_and_not_in_the_question(opened):
    told = [one for one in forms.asked(EXAM, opened) if one.form == "attribute"]
    assert len(told) > 20
    for one in told:
        (values,) = one.values
        assert all(value in one.row.content for value in values) and not says(one.text, values)
        assert one.right == {key_of(one.row.title)}


def test_half_a_title_means_few_products_and_of_an_absent_one_none(opened):
    for one in forms.asked(EXAM, opened):
        if one.form == "half a title":
            assert key_of(one.row.title) in one.right and len(one.right) <= (1 if one.group == "absent" else forms.FEW)
            assert one.row.title not in one.text and one.row.title.split()[0] in one.text


def test_a_category_is_answered_by_all_that_have_it_and_two_products_by_both(opened):
    asked = forms.asked(EXAM, opened)
    for one in (o for o in asked if o.form == "category"):
        assert len(one.right) >= 2 and key_of(one.row.title) in one.right
    for one in (o for o in asked if o.form == "two products"):
        assert one.right == {key_of(row.title) for row in one.rows} and len(one.values) in (0, 2)


def test_only_titles_are_asked_where_only_titles_are_wanted(opened):
    assert {one.form for one in forms.asked(EXAM, opened, ("title",))} == {"title"}
    assert all(one.text == "" for one in forms.asked(EXAM, opened, ("title",)))


def test_a_part_has_its_share_of_every_group(opened):
    parts = forms.rounds(forms.asked(EXAM, opened))
    assert [len(part) for part in parts] == [24, 21, 45]
    assert {one.group for one in parts[0]} == {"seen", "unseen", "absent"}


def test_a_question_whose_row_is_gone_is_an_error(opened):
    lost = EXAM.seen[0].model_copy(update={"uid": "B99999"})
    with pytest.raises(AnswerError, match="'B99999'"):
        forms.asked(Exam(seen=(lost,), unseen=()), opened)


def test_a_description_tells_something_beside_the_title(opened):
    row = opened.by_uid("B001")
    assert forms.describes("It is made of oak and weighs 3 pounds.", row)
    assert not forms.describes("Product description", row) and not forms.describes(row.title, row)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [("It weighs 12 ounces.", "12 ounces", True), ("It weighs 120 ounces.", "12 ounces", False),
     ("It is heavy.", "12 ounces", False), ("A lid and a stuff sack.", "a stuff sack, a strap and a lid", True),
     ("A strap.", "a stuff sack, a patch kit and a lid", False), ("Made of Copper.", "hammered copper", False),
     ("By Ada Q. Brockhurst", "Ada Q. Brockhurst", True)],
)  # fmt: skip
def test_an_answer_is_said_with_all_its_numbers_and_most_of_its_words(text, value, said):
    assert says(text, [value]) is said
