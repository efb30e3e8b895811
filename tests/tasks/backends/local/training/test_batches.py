"""The order of examples depends on seed and epoch alone; no layout loses a token or lets one example see another."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from tasks.backends.local.training.batches import Order, Packed, Padded, collator, isolated
from tasks.examples.tokens import IGNORED

END = 2  # the end token, which also fills up: the hard case
VOCABULARY = 64
many = settings(max_examples=60, deadline=None)


@st.composite
def examples(draw, longest=12):
    """Examples as `rows` makes them: a masked prompt, an answer with labels that closes with the end token."""
    made = []
    for _ in range(draw(st.integers(1, 9))):
        body = draw(st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=longest - 1))
        asked = draw(st.integers(0, len(body)))
        ids = [*body, END]
        made.append({"input_ids": ids, "labels": [IGNORED] * asked + ids[asked:]})
    return made


def order(lengths, size=4, seed=1, grouped=True, epoch=0):
    """The order of one epoch, as a new process that starts in this epoch makes it."""
    sampler = Order(lengths, size, seed, grouped)
    sampler.set_epoch(epoch)
    return list(sampler)


LENGTHS = [7 * n % 101 for n in range(83)]


@many
@given(st.lists(st.integers(1, 500), max_size=300), st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_an_epoch_holds_every_example_once(lengths, size, epoch, grouped):
    assert sorted(order(lengths, size, 3, grouped, epoch)) == list(range(len(lengths)))
    assert len(Order(lengths, size, 3, grouped)) == len(lengths)


@pytest.mark.parametrize("grouped", [True, False])
def test_blanks_come_last_and_move_no_example(grouped):
    filled = Order(LENGTHS, 4, 1, grouped, 1)
    assert list(filled) == [*order(LENGTHS, grouped=grouped), len(LENGTHS)] and len(filled) == len(LENGTHS) + 1


@pytest.mark.parametrize("grouped", [True, False])
def test_seed_and_epoch_alone_decide_the_order(grouped):
    sampler = Order(LENGTHS, 4, 1, grouped)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    torch.manual_seed(99)
    # A resumed process meets epoch 2 without having been through the ones before.
    assert [order(LENGTHS, grouped=grouped, epoch=n) for n in range(3)] == epochs
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert order(LENGTHS, seed=2, grouped=grouped) != epochs[0]


def batches(numbers, lengths, size):
    return [[lengths[n] for n in numbers[at : at + size]] for at in range(0, len(numbers), size)]


@many
@given(st.lists(st.integers(1, 500), min_size=1, max_size=150), st.integers(1, 9))
def test_grouped_batches_hold_like_lengths(lengths, size):
    made = batches(order(lengths, size), lengths, size)
    whole = [b for b in made if len(b) == size]
    assert [len(b) for b in made[:-1]] == [size] * (len(made) - 1)  # a short batch comes last
    pool = sorted(whole, key=lambda b: (min(b), max(b)))
    if len(whole) <= 50:  # one pool: no two batches overlap in length
        assert all(max(a) <= min(b) for a, b in pairwise(pool))


def test_grouping_saves_filling_and_keeps_long_batches_all_over_the_epoch():
    lengths = [1 + n for n in range(2_000)]
    filling = [
        sum(max(b) * len(b) - sum(b) for b in batches(order(lengths, 8, grouped=g), lengths, 8)) for g in (True, False)
    ]
    assert filling[0] < filling[1] / 20
    means = [sum(b) / len(b) for b in batches(order(lengths, 8), lengths, 8)]
    half = len(means) // 2
    assert abs(sum(means[:half]) / half - sum(means[half:]) / half) < 200
    assert means != sorted(means) and means != sorted(means, reverse=True)


@many
@given(examples())
def test_padded_filling_has_neither_attention_nor_label(given_examples):
    made = Padded(END)(given_examples)
    ids, mask, labels = made["input_ids"], made["attention_mask"], made["labels"]
    assert ids.shape == mask.shape == labels.shape and ids.shape[1] % 8 == 0
    assert ids.shape[1] - max(len(e["input_ids"]) for e in given_examples) < 8
    for row, example in enumerate(given_examples):
        size = len(example["input_ids"])
        assert ids[row, :size].tolist() == example["input_ids"]
        assert labels[row, :size].tolist() == example["labels"]
        assert mask[row].tolist() == [1] * size + [0] * (ids.shape[1] - size)
        assert set(labels[row, size:].tolist()) <= {IGNORED}
        # The answer's own end is learnt although the filling is the same token.
        assert labels[row, size - 1] == END and mask[row, size - 1] == 1
    total = sum(len(e["input_ids"]) for e in given_examples)
    assert made["counts"] == {"examples": len(given_examples), "tokens": total}


def unpacked(made):
    """The runs of positions 0, 1, 2, … of every row: ids and labels. Filling is a run of its own."""
    for ids, labels, positions in zip(made["input_ids"], made["labels"], made["position_ids"], strict=True):
        starts = [*(positions == 0).nonzero().flatten().tolist(), len(positions)]
        assert starts[0] == 0
        for a, b in pairwise(starts):
            assert positions[a:b].tolist() == list(range(b - a))
            yield ids[a:b].tolist(), labels[a:b].tolist()


@many
@given(examples(), st.integers(12, 40))
def test_packed_examples_stay_whole_and_none_foretells_the_next(given_examples, length):
    made = Packed(0, length)(given_examples)
    assert made["input_ids"].shape[1] <= length
    found = list(unpacked(made))
    kept = [(ids, labels) for ids, labels in found if ids[0] != 0]
    filling = [(ids, labels) for ids, labels in found if ids[0] == 0]
    # The first label of an example is foretold by the token before it, which belongs to another.
    wanted = [(e["input_ids"], [IGNORED, *e["labels"][1:]]) for e in given_examples]
    assert sorted(kept) == sorted(wanted)
    assert all(set(ids) == {0} and set(labels) == {IGNORED} for ids, labels in filling)
    assert "attention_mask" not in made
    assert made["counts"] == {
        "examples": len(given_examples),
        "tokens": sum(len(e["input_ids"]) for e in given_examples),
    }


def test_packing_uses_fewer_rows_than_examples():
    short = [{"input_ids": [5] * 9 + [END], "labels": [5] * 9 + [END]} for _ in range(12)]
    assert Packed(0, 40)(short)["input_ids"].shape == (3, 40)


def test_the_recipe_names_the_collator():
    made = collator("packed", 1, 7)
    assert isinstance(made, Packed) and (made.pad, made.length) == (1, 7)
    assert [type(collator(name, 1, 7)) for name in ("grouped", "plain")] == [Padded, Padded]


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.1, **shape))


class Deaf(torch.nn.Module):
    """A model that does not listen to positions which start again: what comes before is seen."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, **options):
        mask = torch.ones_like(input_ids)
        return self.model(input_ids=input_ids, attention_mask=mask, position_ids=options["position_ids"])


def test_isolated_says_yes_where_packed_examples_are_kept_apart_and_no_where_not(llama):
    assert isolated(llama, VOCABULARY)
    assert not isolated(Deaf(llama), VOCABULARY)


def test_isolated_leaves_the_model_as_it_was(llama):
    llama.train()
    isolated(llama, VOCABULARY)
    assert llama.training and all(m.training for m in llama.modules())


def loss(model, batch):
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "counts")}
    with torch.no_grad():
        logits = model.eval()(**inputs, use_cache=False).logits
    return cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


@settings(max_examples=10, deadline=None)
@given(given_examples=examples())
def test_packed_padded_and_single_examples_have_the_same_loss(llama, given_examples):
    alone = sum(loss(llama, Padded(END)([e])) for e in given_examples)
    assert torch.allclose(loss(llama, Padded(END)(given_examples)), alone, rtol=1e-4)
    assert torch.allclose(loss(llama, Packed(END, 24)(given_examples)), alone, rtol=1e-4)
