"""What a link is recorded to have cost, and what a budget is charged with: never less than may be billed."""

from __future__ import annotations

import pytest

from tasks import check, links, tune
from tasks.answers import asking
from tasks.backends.contract import Answer, Decoding, Quote, Status
from tasks.errors import BackendError
from tasks.recipe import Recipe
from tests.tasks.links import made, result

QUOTE = Quote(examples=9, tokens=100, usd_low=1.0, usd_high=2.2, answers_usd=0.2, basis="a list")


@pytest.mark.parametrize(
    ("facts", "usd", "told"),
    [
        ({"billed_usd": 1.5}, 1.7, "billed"),
        ({}, 2.2, "until a bill is known"),
        ({"estimated_usd": 1.1}, 2.2, "until a bill is known"),  # no bill, so not less than was quoted
        ({"estimated_usd": 4.0}, 4.2, "until a bill is known"),  # the tokens were more than was thought
    ],
)
def test_until_a_bill_is_known_the_cost_is_the_upper_end_of_the_quote(facts, usd, told):
    cost = tune._cost(QUOTE, Status(state="succeeded", facts=facts))
    assert cost["usd"] == pytest.approx(usd) and told in cost["usd_is"]


def test_a_job_without_a_result_may_have_cost_what_it_trained():
    assert tune.lost(Status(state="failed"), QUOTE) == 0.0
    assert tune.lost(Status(state="cancelled", step=3), QUOTE) == pytest.approx(2.0)
    assert tune.lost(Status(state="cancelled", step=3, facts={"billed_usd": 0.7}), QUOTE) == 0.7


def test_a_budget_cannot_be_promised_after_a_link_whose_cost_nobody_knows():
    recipe = Recipe(budget_usd=100)
    unknown = result(made(), "r", cost={"usd": None})
    with pytest.raises(BackendError, match=r"cost of an earlier link is unknown.*take the budget out"):
        check.affordable(made(), QUOTE, recipe, check.spent(unknown))
    check.affordable(made(), QUOTE, recipe, check.spent(result(made(), "r", cost={"usd": 97.0})))
    check.affordable(made(), QUOTE, Recipe(), check.spent(unknown))


def test_a_link_goes_on_from_a_model_or_not_at_all():
    nothing = result(made(), "r", model=None)
    with pytest.raises(BackendError, match="left no model to go on from"):
        links.after(made(), nothing)
    assert links.after(made(), result(made(), "r")).start == "ft:small:shop::1"


def test_arms_that_nobody_was_asked_have_no_scores():
    said = Answer(
        text="a drum", decoding=Decoding(), model_version="m", prompt_hash="", prompt_tokens=1, answer_tokens=2,
        seconds=0, finish="length",
    )  # fmt: skip
    row = result(made(), "r").answers[0].model_copy(update={"before": ""})
    assert set(asking.scores([row], ["after", "after_t0"])["seen"]) == {"after", "after_t0"}
    assert tune._drawn([said])["finish"] == {"length": 1}
