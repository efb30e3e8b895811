"""Fitting: an example that is too long is left out, shortened or split, and never loses its end."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from tasks.core.models import Message
from tasks.examples.fitting import fitted
from tasks.examples.templates import completion, ending, render
from tasks.examples.tokens import IGNORED
from tests.kit.published import write

# As a publisher writes it.
BLURB = (
    'He asked: "Who goes there?" Nobody answered. Dr. Ames, 3.5 miles from home, walked on — and on! '
    "Then it rained…\nIt rained for days. 水が降った。雨。Costs $4.99 </s> or <|im_end|> less."
)


@pytest.fixture(scope="module", params=["llama", "smollm2", "gemma"])
def read(request, tmp_path_factory):
    """Fits the blurb under some limit; the tokenizer, and the token that ends an answer."""
    found = AutoTokenizer.from_pretrained(write(tmp_path_factory.mktemp("fit") / "tok", request.param))
    prompt = render([Message(role="user", content="What is <s> it?")], "chat", found)
    closing = ending("chat", found)

    def under(room, then, said=BLURB, loss_on="answer"):
        ready = completion(said, "chat", found)
        (whole,) = fitted(prompt, ready, closing, found, 99_999, loss_on, then)
        head = sum(
            label == IGNORED for label in fitted(prompt, ready, closing, found, 99_999, "answer", then)[0].labels
        )
        return whole, fitted(prompt, ready, closing, found, head + room, loss_on, then), head

    return under, found


def answers(made, found):
    return [found.decode([n for n in one.labels if n != IGNORED]).removesuffix(found.eos_token).strip() for one in made]


def test_what_fits_stays_as_it_is_and_what_does_not_is_left_out(read):
    under, _ = read
    whole, made, _ = under(9_999, "drop")
    assert made == [whole]
    assert under(60, "drop")[1] == [] and under(len(whole.input_ids) - under(60, "drop")[2], "drop")[1] == [whole]


@pytest.mark.parametrize("room", [12, 40, 77])
def test_a_cut_answer_keeps_its_end(read, room):
    under, found = read
    whole, (one,), head = under(room, "cut")
    end = whole.input_ids[-1]
    assert len(one.input_ids) <= head + room and one.input_ids[-1] == one.labels[-1] == end
    assert one.input_ids[:head] == whole.input_ids[:head] and one.labels[:head] == [IGNORED] * head
    assert one.input_ids[head:-2] == whole.input_ids[head:][: len(one.input_ids) - head - 2]
    assert "\ufffd" not in found.decode(one.input_ids) and one.input_ids[head:].count(end) == 1


@pytest.mark.parametrize("room", [40, 120])
def test_a_split_answer_is_whole_again_and_every_part_has_its_end(read, room):
    under, found = read
    whole, made, head = under(room, "split")
    assert len(made) > 1 and all(len(one.input_ids) <= head + room for one in made)
    assert all(
        one.input_ids[-1] == whole.input_ids[-1] and one.input_ids[:head] == whole.input_ids[:head] for one in made
    )
    said = [text.removesuffix("<end_of_turn>") for text in answers(made, found)]
    assert "".join("".join(said).split()) == "".join(BLURB.split())
    if room == 120:
        assert all(part[-1] in '.!?"…。' for part in said)


@pytest.mark.parametrize(
    "said", ["水が降った。雨が三日も続いた。川は静かに流れる。" * 6, "水が降った雨が三日も続いた川は静かに流れる" * 6]
)
def test_a_text_without_spaces_loses_nothing_when_it_is_split(read, said):
    under, found = read
    _, made, head = under(60, "split", said)
    assert len(made) > 1 and all(len(one.input_ids) <= head + 60 for one in made)
    told = [text.removesuffix("<end_of_turn>") for text in answers(made, found)]
    assert "".join("".join(told).split()) == said
    assert "。" not in said or all(part.endswith("。") for part in told)


@pytest.mark.parametrize("then", ["cut", "split"])
def test_a_prompt_that_leaves_no_room_is_left_out(read, then):
    assert read[0](1, then)[1] == []


def test_all_tokens_may_be_learnt_of_a_part_too(read):
    under, _ = read
    assert all(IGNORED not in one.labels for one in under(60, "split", loss_on="all")[1])
