"""Trial and comparison: each arm is marked by the row that is really asked about, and the table adds up."""

from __future__ import annotations

import pytest

from tasks.answers import ask, index
from tasks.answers.reply import Target
from tasks.backends.contract import Answer
from tasks.core.errors import AnswerError, ParityError
from tasks.evaluation import report, trial
from tasks.evaluation.comparison import GUARD, Compared, arms, rates, verdicts
from tasks.evaluation.exams import Exam
from tasks.examples.questions import Question
from tasks.examples.styles import conversation
from tasks.recipe import loader
from tasks.recipe.tuning import LocalTune, OpenAITune
from tests.kit.catalogues import line, run, source

RECIPE = loader.load(None, ["export.style=describe"])
STYLE = RECIPE.export.style
OWN, GROUNDED = (ask.decoding(RECIPE.evaluate, style, RECIPE.seed) for style in (STYLE, "grounded"))
WORDS = ("copper kettle", "steel rake", "field guide", "wooden flute", "paper lantern", "silk scarf")
ROWS = {f"B{n}": (f"{name.title()} {n}", f"This {name} is number {n} of a long series, made with care.")
        for n, name in enumerate(WORDS)}  # fmt: skip


def question(uid: str) -> Question:
    title, content = ROWS[uid]
    return Question(
        uid=uid,
        line=1,
        shard=0,
        title=title,
        content=content,
        messages=conversation("describe", title),
        prompt_hash=uid,
    )


EXAM = Exam(seen=tuple(question(u) for u in ("B0", "B1", "B2")), unseen=tuple(question(u) for u in ("B3", "B4", "B5")))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("index")
    lines = [line(uid, *row) for uid, row in ROWS.items()]
    index.update(tmp_path / "index", run(source(tmp_path, lines), tmp_path).prepared.shards)
    return index.Index(tmp_path / "index")


def target(name: str, **more: object) -> Target:
    return Target(name=name, tune=LocalTune(base_model="b"), style="describe", **more)


def model(knows, hashes=lambda uid: uid):
    """Says `knows(uid, content)` of the product whose title stands last in its prompt."""

    def generate(_, talks, drawn):
        made = []
        for talk in talks:
            uid = next(u for u, (title, _) in ROWS.items() if f"the {title} product?" in talk[-1].content)
            common = {"decoding": drawn, "model_version": "m1", "prompt_tokens": 5, "answer_tokens": 7, "seconds": 0.5}
            made.append(Answer(text=knows(uid, ROWS[uid][1]), prompt_hash=hashes(uid), **common))
        return made

    return generate


def truly(uid, content):
    return f"[{uid}] {content}"


def test_three_arms_on_three_groups(opened):
    asked = trial.asked(EXAM, opened)
    assert [a.group for a in asked] == ["seen"] * 3 + ["unseen"] * 3 + ["absent"] * 3
    liar = model(lambda uid, content: "A fine thing of 99 parts.")
    marks = trial.quoting(asked, opened, STYLE, RECIPE.ask) + trial.alone(target("base"), asked, STYLE, OWN, liar, True)
    marks += trial.retrieving(target("base"), asked, opened, STYLE, RECIPE.ask, GROUNDED, model(truly))
    table = {arm.name: arm.groups for arm in arms(marks)}
    for name in (trial.QUOTING, "base + retrieval"):
        for group in ("seen", "unseen"):
            assert table[name][group]["supported"] == table[name][group]["precision"] == 1.0
        assert (table[name]["absent"]["abstained"], table[name]["absent"]["unsupported"]) == (1.0, 0.0)
    assert table["base"]["seen"]["supported"] == 0.0
    assert (table["base"]["absent"]["unsupported"], table["base"]["absent"]["chrf"]) == (1.0, None)
    assert (table["base"]["seen"]["tokens"], table["base"]["seen"]["usd"]) == (12.0, 0.0)


def test_an_answer_about_another_product_is_shown_and_not_right(opened):
    asked = [a.model_copy(update={"row": opened.by_uid("B1")}) for a in trial.asked(EXAM, opened)[:1]]
    (mark,) = trial.retrieving(target("m"), asked, opened, STYLE, RECIPE.ask, GROUNDED, model(truly))
    assert (mark.shown, mark.right, mark.supported) == (True, False, False)
    assert rates([mark])["precision"] == 0.0


def test_a_prompt_that_is_not_the_one_of_the_export_stops_the_comparison(opened):
    asked = trial.asked(EXAM, opened)
    with pytest.raises(ParityError, match="export has 'B0'"):
        trial.alone(target("m"), asked, STYLE, OWN, model(truly, lambda uid: "other"), True)
    assert trial.alone(target("m"), asked, STYLE, OWN, model(truly, lambda uid: "other"), False)


def test_two_models_must_be_asked_by_the_same_prompts(opened):
    asked = trial.asked(EXAM, opened)
    one = trial.retrieving(target("one"), asked, opened, STYLE, RECIPE.ask, GROUNDED, model(truly))
    other = trial.retrieving(
        target("other"), asked, opened, STYLE, RECIPE.ask, GROUNDED, model(truly, lambda uid: "other")
    )
    trial.same_prompts([*one, *one])
    with pytest.raises(ParityError, match="'other"):
        trial.same_prompts([*one, *other])


def test_a_question_whose_row_is_gone_is_an_error(opened):
    lost = EXAM.seen[0].model_copy(update={"uid": "B99"})
    with pytest.raises(AnswerError, match="'B99'"):
        trial.asked(Exam(seen=(lost,), unseen=()), opened)


def test_an_answer_whose_price_is_unknown_is_not_free(opened):
    asked = trial.asked(EXAM, opened)[:1]
    known = target("m").model_copy(update={"tune": OpenAITune(base_model="gpt-4o-mini-2024-07-18")})
    (mark,) = trial.alone(known, asked, STYLE, OWN, model(truly), False)
    assert 0 < mark.usd < 0.001
    unknown = known.model_copy(update={"tune": OpenAITune(base_model="nobody-knows")})
    (mark,) = trial.alone(unknown, asked, STYLE, OWN, model(truly), False)
    assert mark.usd is None and rates([mark])["usd"] is None


def compared(opened, knows) -> tuple[Compared, list]:
    wide = [a.model_copy(update={"question": a.question, "row": a.row}) for a in trial.asked(EXAM, opened)]
    marks = trial.alone(target("base"), wide, STYLE, OWN, model(lambda u, c: "Nine hundred <b>99</b> parts."), True)
    marks += trial.alone(target("tuned"), wide, STYLE, OWN, model(knows), True)
    many = [m.model_copy(update={"uid": f"{m.uid} {n}"}) for m in marks for n in range(10)]
    made = Compared(
        key="k", recipe="shop", catalogue="c.json", measure="supported", targets=(target("base"), target("tuned")),
        decodings={"alone": {"temperature": 0.0}}, questions={"seen": 30, "unseen": 30, "absent": 30}, arms=arms(many),
        verdicts=verdicts(many, "supported", 1),
    )  # fmt: skip
    return made, many


def test_a_model_that_got_the_right_rows_is_better_and_lies_less(opened):
    made, _ = compared(opened, lambda uid, content: content)
    assert (made.said("tuned", "base", "supported").word, made.said("base", "tuned", "supported").word) == (
        "better",
        "worse",
    )
    assert made.said("tuned", "base", "supported").questions == 60  # absent products are the guard's
    assert (made.said("tuned", "base", GUARD).word, made.said("tuned", "base", GUARD).questions) == ("better", 90)
    with pytest.raises(LookupError):
        made.said("tuned", "nobody", "supported")


def test_the_report_needs_nothing_beside_it_and_believes_no_answer(opened):
    made, marks = compared(opened, lambda uid, content: content)
    page = report.html(made, marks)
    assert "data:image/png;base64," in page and "<script" not in page
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1].split("Catalogue")[0]
    assert "&lt;b&gt;99&lt;/b&gt;" in page and "<b>99</b>" not in page
    assert "tuned vs base: better by supported" in page
    assert page.count("<tr><td>tuned</td>") >= 3
    assert "US$" not in page and "none costs money" in page  # a column of zeros tells nothing
    arms = [a.model_copy(update={"groups": {g: r | {"usd": 0.01} for g, r in a.groups.items()}}) for a in made.arms]
    assert "<td>0.010000</td>" in report.html(made.model_copy(update={"arms": tuple(arms)}), marks)
