"""Rows: what is learnt of an example, what was lost of it, and which rows are measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tasks.backends.local import rows
from tasks.core import store
from tasks.core.errors import TrainingError
from tasks.core.models import Export
from tasks.examples.tokens import IGNORED
from tasks.recipe.tuning import LocalTune
from tests.kit.links import made

WORDS = ["</s>", "<s>", "what", "is", "drum", "red", "blue", "?", *(f"w{n}" for n in range(40))]
END = 0
PROMPT = "what is drum ?"  # 4 tokens
ANSWER = "red blue </s>"  # 3 tokens, the end token among them


@pytest.fixture(scope="module")
def tokenizer():
    """One token a word; the pad token is the end token."""
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", pad_token="</s>", unk_token="?")


def export(place: Path, pairs: list[tuple[str, str]]) -> Export:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs))
    return made().train[0].model_copy(update={"uri": str(place), "digest": store.file_digest(str(place))})


@pytest.fixture
def link(tmp_path):
    def linked(train=(), holdout=(), seed=1, heldout_rows=4, **tune):
        values = {"base_model": "b", "max_length": 16} | tune
        return made(
            train=tuple(export(tmp_path / f"train-{n}.jsonl", pairs) for n, pairs in enumerate(train)),
            holdout=tuple(export(tmp_path / f"holdout-{n}.jsonl", pairs) for n, pairs in enumerate(holdout)),
            tune=LocalTune(**values),
            seed=seed,
            heldout_rows=heldout_rows,
        )

    return linked


def ids(text):
    return [WORDS.index(word) for word in text.split()]


def test_the_answer_and_its_end_token_are_learnt_and_the_prompt_is_not(link, tokenizer):
    found = rows.train(link([[(PROMPT, ANSWER)]]), tokenizer)
    assert found.examples[0]["input_ids"].tolist() == ids(f"{PROMPT} {ANSWER}")
    assert found.examples[0]["labels"].tolist() == [IGNORED] * 4 + ids(ANSWER)
    assert found.examples[0]["labels"][-1] == END == tokenizer.pad_token_id
    assert (found.truncated, found.empty, found.lengths) == (0, 0, [7])


def test_all_tokens_are_learnt_where_the_recipe_asks_for_it(link, tokenizer):
    found = rows.train(link([[(PROMPT, ANSWER)]], loss_on="all"), tokenizer)
    assert found.examples[0]["labels"].tolist() == ids(f"{PROMPT} {ANSWER}")


def test_all_exports_are_read_in_order(link, tokenizer):
    shards = [[(PROMPT, f"w{3 * shard + n} </s>") for n in range(3)] for shard in range(2)]
    found = rows.train(link(shards), tokenizer)
    assert [e["input_ids"][4] for e in found.examples] == ids("w0 w1 w2 w3 w4 w5")
    assert list(rows.lines(link(shards).train)) == shards[0] + shards[1]


def answer(words):
    """A completion of this many tokens."""
    return " ".join(["red"] * (words - 1) + ["</s>"])


def test_cut_and_empty_examples_are_counted(link, tokenizer):
    fits, cut, gone = (PROMPT, answer(12)), (PROMPT, answer(13)), ("what " * 16, answer(3))
    found = rows.train(link([[fits, cut, gone, gone, cut, cut]]), tokenizer)
    assert (len(found.examples), found.truncated, found.empty) == (4, 5, 2)
    assert found.lengths == [16, 16, 16, 16]
    whole, short = found.examples[0], found.examples[1]
    assert whole["labels"][-1] == END and END not in short["labels"]


def test_an_example_whose_only_label_is_its_first_token_is_empty(link, tokenizer):
    # Nothing foretells the first token, so its label counts for no loss.
    found = rows.train(link([[("", "red"), ("", "red </s>"), (PROMPT, "</s>")]]), tokenizer)
    assert [e["input_ids"].tolist() for e in found.examples] == [ids("red </s>"), ids(f"{PROMPT} </s>")]
    assert found.empty == 1


@pytest.mark.parametrize("pairs", [[("what " * 16, ANSWER)] * 3, [("what " * 40, ANSWER)], [(PROMPT, "")]])
def test_data_without_any_label_stops_with_the_reason(link, tokenizer, pairs):
    with pytest.raises(TrainingError, match=rf"all labels are masked.*{len(pairs)} examples.*max_length=16"):
        rows.train(link([pairs]), tokenizer)


HELD = [[(f"w{n} ?", f"w{n} red </s>") for n in range(start, start + 20)] for start in (0, 20)]


def first(found):
    return [int(e["input_ids"][0]) for e in found.examples]


def test_the_same_rows_are_held_out_for_the_same_seed_and_no_more_than_asked_for(link, tokenizer):
    one = rows.heldout(link(holdout=HELD, heldout_rows=8), tokenizer)
    again = rows.heldout(link(holdout=HELD, heldout_rows=8), tokenizer)
    assert first(one) == first(again) and len(set(first(one))) == 8
    assert first(one) == sorted(first(one))  # in the order of the exports
    assert first(rows.heldout(link(holdout=HELD, heldout_rows=8, seed=2), tokenizer)) != first(one)
    assert len(rows.heldout(link(holdout=HELD, heldout_rows=100), tokenizer).examples) == 40
    assert rows.heldout(link(), tokenizer).examples == []


def test_held_out_rows_are_drawn_over_all_exports_whatever_their_order(link, tokenizer):
    drawn = first(rows.heldout(link(holdout=HELD, heldout_rows=12), tokenizer))
    assert min(drawn) < ids("w20")[0] <= max(drawn)
    turned = first(rows.heldout(link(holdout=HELD[::-1], heldout_rows=12), tokenizer))
    assert sorted(turned) == drawn
    # Fewer rows are a part of more rows.
    assert set(first(rows.heldout(link(holdout=HELD, heldout_rows=5), tokenizer))) < set(drawn)


def test_held_out_loss_is_on_the_answer_whatever_is_learnt(link, tokenizer):
    found = rows.heldout(link(holdout=[[(PROMPT, ANSWER)]], loss_on="all"), tokenizer)
    assert found.examples[0]["labels"].tolist() == [IGNORED] * 4 + ids(ANSWER)
