"""Ask: what a person gets for a question, from a real index and a model that says what it is told to."""

from __future__ import annotations

import pytest

from tasks.answers import ask, index
from tasks.answers.reply import Reply, Target, nobody
from tasks.backends.contract import Answer, Decoding
from tasks.examples.styles import ABSTAIN
from tasks.recipe import loader
from tasks.recipe.tuning import LocalTune
from tests.kit.catalogues import line, run, source

PRODUCTS = [
    line("B001", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils."),
    line("B002", "Copper Tea Kettle Large", "This large copper kettle holds four litres and has a wooden handle."),
    line("B003", "Field Guide", "The first volume of a field guide to birds of the northern shores."),
    line("B004", "Field Guide", "A field guide to mushrooms, with 120 drawings of them by the author."),
]
RECIPE = loader.load(None, ["evaluate.max_new_tokens=40", "ask.product_url='https://shop/{uid}'", "ask.rows=2"])
KETTLE = "What is the Copper Tea Kettle product?"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("index")
    index.update(tmp_path / "index", run(source(tmp_path, PRODUCTS), tmp_path).prepared.shards)
    return index.Index(tmp_path / "index")


class Model:
    """Says `text`, and keeps what it was asked."""

    def __init__(self, text: str, tokens: int = 9) -> None:
        self.text, self.tokens, self.talks, self.drawn = text, tokens, [], Decoding()

    def __call__(self, target, talks, drawn):
        self.talks, self.drawn = list(talks), drawn
        common = {"decoding": drawn, "model_version": "m1", "prompt_tokens": 5, "seconds": 0.1}
        return [
            Answer(text=self.text, answer_tokens=self.tokens, prompt_hash=f"h{n}", **common) for n in range(len(talks))
        ]


def asked(opened: index.Index, question: str, model: Model, style: str = "grounded", **more: object) -> Reply:
    target = Target(name="it", tune=LocalTune(base_model="b"), style=style)
    drawn = ask.decoding(RECIPE.evaluate, style, RECIPE.seed)
    (reply,) = ask.replies([question], target, opened, RECIPE.ask, drawn, model, **more)
    return reply


def test_a_supported_answer_comes_with_its_row(opened):
    reply = asked(opened, KETTLE, Model("[B001] A copper kettle that holds two litres."))
    assert (reply.state, reply.text, reply.problems) == ("answered", "A copper kettle that holds two litres.", ())
    source = reply.source
    assert (source.uid, source.line, source.shard, source.url) == ("B001", 1, 0, "https://shop/B001")
    assert source.quote == "A copper kettle that holds two litres and sings when the water boils."
    assert (reply.prompt_hash, reply.model_version, [s.name for s in reply.steps]) == (
        "h0",
        "m1",
        ["retrieve", "prompt", "generate", "check"],
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("[B001] A copper kettle that holds 5 litres.", "contradicted: number: the row has no 5"),
        ("[B003] A copper kettle that holds two litres.", "citation: B003"),
        ("[B999] A copper kettle that holds two litres.", "citation: B999"),
    ],
)
def test_an_unsupported_answer_says_what_does_not_hold(opened, said, problem):
    reply = asked(opened, KETTLE, Model(said))
    assert (reply.state, reply.problems) == ("quoted", (problem,))


def test_no_row_no_model_no_answer(opened):
    model = Model("A rake.")
    reply = asked(opened, "What is the Steel Garden Rake product?", model)
    assert (reply.state, reply.text, reply.source, model.talks) == ("none", ask.NONE_FITS, None, [])


def test_a_hidden_row_is_not_there(opened):
    reply = asked(opened, "What is the Field Guide product?", Model("x"), hidden=["Field Guide"])
    assert reply.state == "none"


def test_a_model_may_abstain_itself(opened):
    reply = asked(opened, KETTLE, Model(ABSTAIN))
    assert (reply.state, reply.source, [s.uid for s in reply.near]) == ("none", None, ["B001", "B002"])


def test_of_products_with_one_title_the_cited_one_is_checked_or_the_one_that_agrees(opened):
    question = "What is the Field Guide product?"
    assert asked(opened, question, Model("[B004] A field guide to mushrooms, with 120 drawings.")).source.uid == "B004"
    assert asked(opened, question, Model("A field guide to mushrooms, with 120 drawings.")).source.uid == "B004"
    assert asked(opened, question, Model("[B003] A guide with 120 drawings.")).state == "quoted"


def test_a_grounded_prompt_shows_rows_and_the_question_as_it_was_put(opened):
    model = Model("x")
    asked(opened, "How much does the Copper Tea Kettle hold?", model)
    shown = model.talks[0][-1].content
    assert shown.index("[B001] Copper Tea Kettle\n") < shown.index("[B002]") and "[B003]" not in shown
    assert shown.endswith("\n\nHow much does the Copper Tea Kettle hold?")
    assert model.drawn.repetition_penalty == 1.0


def test_a_closed_book_is_asked_for_the_title_of_the_row_whatever_the_slips(opened):
    model = Model("x")
    asked(opened, "Tell me about the feild guide!", model, style="describe")
    assert [m.content for m in model.talks[0]] == ["What is the Field Guide product?"]
    assert model.drawn.repetition_penalty == RECIPE.evaluate.repetition_penalty


def test_a_word_that_the_longest_answer_cut_in_two_is_left_out(opened):
    reply = asked(
        opened, "What is the Field Guide product?", Model("[B004] A field guide to mushrooms, with 12", tokens=40)
    )
    assert (reply.state, reply.text) == ("answered", "A field guide to mushrooms, with")


def test_many_questions_keep_their_order_and_go_to_the_model_together(opened):
    model = Model("A kettle of copper.")
    target = Target(name="it", tune=LocalTune(base_model="b"), style="grounded")
    questions = [KETTLE, "What is the Steel Garden Rake product?", "What is the Copper Tea Kettle Large product?"]
    replies = ask.replies(
        questions, target, opened, RECIPE.ask, ask.decoding(RECIPE.evaluate, "grounded", RECIPE.seed), model
    )
    assert [r.question for r in replies] == questions
    assert [r.prompt_hash for r in replies] == ["h0", None, "h1"] and len(model.talks) == 2


def test_without_a_model_the_row_is_quoted_with_its_place(opened):
    model = Model("x")
    nothing = nobody(RECIPE.tune, RECIPE.export.style)
    (reply,) = ask.replies(
        [KETTLE], nothing, opened, RECIPE.ask, ask.decoding(RECIPE.evaluate, "grounded", RECIPE.seed), model
    )
    assert (reply.state, reply.said, model.talks) == ("quoted", "", [])
    (quote,) = reply.quotes
    assert (quote.uid, quote.line, quote.start, quote.url) == ("B001", 1, 0, "https://shop/B001")
    assert reply.text == quote.text == "A copper kettle that holds two litres and sings when the water boils."
