"""The demo: which questions it asks, and the table that it ends with."""

from __future__ import annotations

from deployments.demo import __main__ as demo
from tasks.answers.index import IndexedRow
from tasks.answers.reply import Target
from tasks.evaluation.comparison import Arm, Compared
from tasks.evaluation.forms import TrialQuestion
from tasks.examples.questions import Question
from tasks.recipe import loader
from tasks.recipe.tuning import LocalTune


def question(group: str, form: str, uid: str) -> TrialQuestion:
    row = IndexedRow(uid=uid, title=uid, content="It is red.", line=1, shard=0, digest="d")
    asked = Question(uid=uid, line=1, shard=0, title=uid, content="It is red.", messages=(), prompt_hash="")
    return TrialQuestion(group=group, form=form, text=uid, question=asked, rows=(row,), right=frozenset({uid}))


def test_one_question_of_each_form_is_asked_about_unseen_products_first():
    told = [question("seen", "title", "A"), question("unseen", "title", "B"), question("absent", "attribute", "C"),
            question("seen", "category", "D"), question("unseen", "two products", "E")]  # fmt: skip
    assert [one.text for one in demo.of_each_form(told)] == ["B", "D", "E", "A"]


def test_the_table_joins_the_groups_that_have_a_row(capsys):
    def rates(point: float | None, declined: float) -> dict[str, float | None]:
        return {
            "right_product": None,
            "to_the_point": point,
            "answered": point,
            "false_shown": 0.0,
            "declined": declined,
        }

    groups = {"seen": rates(1.0, 0.0), "unseen": rates(0.0, 1.0), "absent": rates(None, 0.75)}
    target = Target(name="0" * 32, tune=LocalTune(base_model="b"), style="facts")
    compared = Compared(
        key="k", recipe="r", catalogue="c", measure="answered", targets=(target,), decodings={}, verdicts=(),
        questions={"seen": 3, "unseen": 1, "absent": 1}, arms=(Arm(name=f"{'0' * 32} with rows", groups=groups),),
    )  # fmt: skip
    demo.table(compared, {"0" * 32: "tuned"})
    printed = capsys.readouterr().out
    assert "4 questions with a row, and 1 whose row is hidden" in printed
    line = next(line for line in printed.splitlines() if line.startswith("tuned with rows"))
    assert line.split() == ["tuned", "with", "rows", "-", "75%", "75%", "0%", "25%", "75%"]


def test_its_recipe_teaches_what_it_shows():
    recipe = loader.load(demo.RECIPE)
    assert (recipe.export.style, recipe.catalogue.uri) == ("facts", loader.load("demo").catalogue.uri)
