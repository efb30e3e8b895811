"""Trial and comparison: each answer counts by what a person sees of it, and the table adds up."""

from __future__ import annotations

import pytest

from flows.cli import show
from tasks.answers import ask, index
from tasks.answers.reply import Target
from tasks.backends.contract import Answer
from tasks.core.errors import ParityError
from tasks.evaluation import forms, report, trial
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
METALS = ("copper", "steel", "paper", "maple", "silk", "linen")
WORDS = ("copper kettle", "steel rake", "field guide", "wooden flute", "paper lantern", "silk scarf")
ROWS = {f"B{n}": (f"{name.title()} {n}", f"This {name} is number {n} of a long series. It is made of {METALS[n]} and "
                  f"weighs {n + 2} pounds.") for n, name in enumerate(WORDS)}  # fmt: skip


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
            uid = next(u for u, (title, _) in ROWS.items() if title in talk[-1].content.rpartition("\n\n")[2])
            common = {"decoding": drawn, "model_version": "m1", "prompt_tokens": 5, "answer_tokens": 7, "seconds": 0.5}
            made.append(Answer(text=knows(uid, ROWS[uid][1]), prompt_hash=hashes(uid), **common))
        return made

    return generate


def truly(uid, content):
    return f"[{uid}] {content}"


def titles(opened) -> list[forms.TrialQuestion]:
    return forms.asked(EXAM, opened, ("title",))


def with_rows(opened, asked, generate, name: str = "base"):
    return trial.with_rows(target(name), asked, opened, STYLE, RECIPE.ask, GROUNDED, generate)


def test_three_arms_on_three_groups(opened):
    asked = titles(opened)
    assert [a.group for a in asked] == ["seen"] * 3 + ["unseen"] * 3 + ["absent"] * 3
    liar = model(lambda uid, content: "A fine thing of 99 parts.")
    marks = trial.quotes(asked, opened, STYLE, RECIPE.ask) + trial.alone(target("base"), asked, STYLE, OWN, liar, True)
    marks += with_rows(opened, asked, model(truly))
    table = {arm.name: arm.groups for arm in arms(marks)}
    for name, own in ((trial.QUOTES, 0.0), ("base with rows", 1.0)):
        for group in ("seen", "unseen"):
            rates_of = table[name][group]
            assert (rates_of["right_product"], rates_of["to_the_point"], rates_of["answered"]) == (1.0, 1.0, own)
            assert (rates_of["false_shown"], rates_of["declined"]) == (0.0, 0.0)
        absent = table[name]["absent"]
        assert (absent["declined"], absent["false_shown"], absent["right_product"]) == (1.0, 0.0, None)
    alone = table["base"]["seen"]
    assert (alone["answered"], alone["false_shown"], alone["right_product"]) == (0.0, 1.0, None)
    assert (table["base"]["absent"]["false_shown"], table["base"]["absent"]["chrf"]) == (1.0, None)
    assert (alone["tokens"], alone["usd"]) == (12.0, 0.0)


def test_what_the_model_says_beside_the_row_is_not_shown_and_a_quote_may_answer(opened):
    weight = attribute(opened, "B1", "how heavy is the Steel Rake 1?", "3 pounds")
    (lied,) = with_rows(opened, [weight], model(lambda uid, content: f"[{uid}] It weighs 99 pounds."))
    assert (lied.to_the_point, lied.answered, lied.false_shown, lied.declined) == (True, False, False, False)
    (true,) = with_rows(opened, [weight], model(lambda uid, content: f"[{uid}] It weighs 3 pounds."))
    assert (true.to_the_point, true.answered) == (True, True)
    other = attribute(opened, "B1", "what is the Steel Rake 1", "a long handle")
    (beside,) = with_rows(opened, [other], model(lambda uid, content: f"[{uid}] It weighs 3 pounds."))
    assert (beside.right_product, beside.to_the_point, beside.answered) == (True, False, False)


def attribute(opened, uid: str, text: str, value: str) -> forms.TrialQuestion:
    row = opened.by_uid(uid)
    common = {"question": question(uid), "rows": (row,), "right": frozenset({index.key_of(row.title)})}
    return forms.TrialQuestion(group="seen", form="attribute", text=text, values=((value,),), **common)


def test_an_answer_about_another_product_is_false_and_no_right_one(opened):
    elsewhere = titles(opened)[0].model_copy(update={"right": frozenset({index.key_of("Steel Rake 1")})})
    (mark,) = with_rows(opened, [elsewhere], model(truly))
    assert (mark.right_product, mark.to_the_point, mark.answered, mark.false_shown) == (False, False, False, True)
    absent = titles(opened)[-1].model_copy(update={"question": question("B0")})  # hides another row than is asked for
    (shown,) = with_rows(opened, [absent.model_copy(update={"text": "what is the Silk Scarf 5"})], model(truly))
    assert (shown.false_shown, shown.declined, shown.right_product) == (True, False, None)


def test_a_prompt_that_is_not_the_one_of_the_export_stops_the_comparison(opened):
    asked = titles(opened)
    with pytest.raises(ParityError, match="export has 'B0'"):
        trial.alone(target("m"), asked, STYLE, OWN, model(truly, lambda uid: "other"), True)
    assert trial.alone(target("m"), asked, STYLE, OWN, model(truly, lambda uid: "other"), False)


def test_two_models_must_be_asked_by_the_same_prompts(opened):
    asked = titles(opened)
    one = with_rows(opened, asked, model(truly), "one")
    other = with_rows(opened, asked, model(truly, lambda uid: "other"), "other")
    trial.same_prompts([*one, *one])
    with pytest.raises(ParityError, match="'other"):
        trial.same_prompts([*one, *other])


def test_a_model_is_asked_with_rows_in_its_own_style_and_a_base_in_the_recipe_s():
    tuned = target("t", model="m")
    assert trial.opened(tuned, "facts") == "grounded"  # tuned on describe, which shows no rows
    assert trial.opened(tuned.model_copy(update={"style": "facts"}), "grounded") == "facts"
    assert trial.opened(target("base"), "facts") == "facts"


def test_an_answer_whose_price_is_unknown_is_not_free(opened):
    asked = titles(opened)[:1]
    known = target("m").model_copy(update={"tune": OpenAITune(base_model="gpt-4o-mini-2024-07-18")})
    (mark,) = trial.alone(known, asked, STYLE, OWN, model(truly), False)
    assert 0 < mark.usd < 0.001
    unknown = known.model_copy(update={"tune": OpenAITune(base_model="nobody-knows")})
    (mark,) = trial.alone(unknown, asked, STYLE, OWN, model(truly), False)
    assert mark.usd is None and rates([mark])["usd"] is None


def compared(opened, knows) -> tuple[Compared, list]:
    asked = titles(opened)
    marks = trial.alone(target("base"), asked, STYLE, OWN, model(lambda u, c: "Nine hundred <b>99</b> parts."), True)
    marks += trial.alone(target("tuned"), asked, STYLE, OWN, model(knows), True)
    many = [m.model_copy(update={"uid": f"{m.uid} {n}"}) for m in marks for n in range(10)]
    made = Compared(
        key="k", recipe="shop", catalogue="c.json", measure="answered", targets=(target("base"), target("tuned")),
        decodings={"alone": {"temperature": 0.0}}, questions={"seen": 30, "unseen": 30, "absent": 30}, arms=arms(many),
        verdicts=verdicts(many, "answered", 1),
    )  # fmt: skip
    return made, many


def test_a_model_that_got_the_right_rows_is_better_and_lies_less(opened):
    made, _ = compared(opened, lambda uid, content: content)
    assert made.said("tuned", "base", "answered").word == "better"
    assert made.said("base", "tuned", "answered").word == "worse"
    assert made.said("tuned", "base", "answered").questions == 60  # absent products are the guard's
    assert (made.said("tuned", "base", GUARD).word, made.said("tuned", "base", GUARD).questions) == ("better", 90)
    with pytest.raises(LookupError):
        made.said("tuned", "nobody", "answered")


def test_the_report_needs_nothing_beside_it_and_believes_no_answer(opened):
    made, marks = compared(opened, lambda uid, content: content)
    page = report.html(made, marks)
    assert "data:image/png;base64," in page and "<script" not in page
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1].split("Catalogue")[0]
    assert "&lt;b&gt;99&lt;/b&gt;" in page and "<b>99</b>" not in page
    assert "tuned vs base: better by &#39;answered in own checked words&#39;" in page
    assert page.count("<tr><td>tuned</td>") >= 3
    assert "US$" not in page and "none costs money" in page  # a column of zeros tells nothing
    arms = [a.model_copy(update={"groups": {g: r | {"usd": 0.01} for g, r in a.groups.items()}}) for a in made.arms]
    assert "<td>0.010000</td>" in report.html(made.model_copy(update={"arms": tuple(arms)}), marks)


def test_every_answer_is_in_one_part_of_a_bar(opened):
    made, marks = compared(opened, truly)
    for arm in made.arms:
        for held in arm.groups.values():
            assert sum(report.outcomes(held).values()) == pytest.approx(1.0)
    assert {report.outcome(mark) for mark in marks} == {"answered to the point", "false shown"}


def test_a_comparison_of_an_older_version_is_read_and_shown(opened, capsys):
    made, _ = compared(opened, truly)
    old = {"supported": 0.4, "precision": 1.0, "abstained": 0.1, "unsupported": 0.5, "chrf": 20.0, "tokens": 9.0}
    record = made.model_dump(mode="json") | {"measure": "supported"}
    record["arms"] = [{"name": arm["name"], "groups": {"seen": old, "unseen": old}} for arm in record["arms"]]
    read = Compared.model_validate(record)
    read = read.model_copy(update={"verdicts": (made.verdicts[0].model_copy(update={"measure": "supported"}),)})
    show.compared(read)
    printed = capsys.readouterr().out
    assert "tuned vs base: better by 'supported'" in printed and printed.count(" -") > 10
