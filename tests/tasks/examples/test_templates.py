"""Templates and tokens: asking sends just the tokens that training saw, and the end token is learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.core.models import Message
from tasks.examples.export import export, truncated
from tasks.examples.templates import Rendering, ending, load_tokenizer, prompt_hash, render
from tasks.examples.tokens import IGNORED, encode, encode_prompt, lengths
from tasks.recipe.model import Exporting
from tests.kit.rows import shard

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<start>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>model\n{% endif %}"
)
ROWS = [(f"Kite {n}", f"Flies {n} feet high. " * (n + 1)) for n in range(12)]


def tokenizer_in(folder: Path, template: str | None, bos: str | None = None) -> str:
    """A small byte-level tokenizer whose pad token is its end token, saved as a model would have it."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|im_end|>", "<|im_start|>", "<s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        [c for _, c in ROWS], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet)
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token=bos
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("template", [CHATML, NO_SYSTEM])
def test_the_exported_prompt_is_the_rendered_one(tmp_path, template):
    rendering = Rendering(template="chat", tokenizer=tokenizer_in(tmp_path / "tok", template, "<s>"), max_length=64)
    made = export(shard(tmp_path, ROWS), Exporting(style="sales"), "chat", "train", rendering, str(tmp_path))
    tokenizer = load_tokenizer(rendering)
    for (title, content), text in zip(ROWS, Path(made.uri).read_text().splitlines(), strict=True):
        turns = [
            Message(role="system", content="Act as sales representative"),
            Message(role="user", content=title),
        ]
        line = json.loads(text)
        assert prompt_hash(line["prompt"]) == prompt_hash(render(turns, "chat", tokenizer))
        assert line["completion"] == f"{content}<|im_end|>"


def test_a_style_that_shows_rows_is_rendered_by_the_same_template(tmp_path):
    rendering = Rendering(template="chat", tokenizer=tokenizer_in(tmp_path / "tok", CHATML, "<s>"), max_length=64)
    rows = [("Copper Kettle", "The kettle weighs 32 ounces and will not rust."), ("Iron Kettle", "It is black.")]
    made = export(shard(tmp_path, rows), Exporting(style="facts"), "chat", "train", rendering, str(tmp_path))
    line = json.loads(Path(made.uri).read_text().splitlines()[0])
    assert "[U0] Copper Kettle\nThe kettle weighs" in line["prompt"] and "[U1] Iron Kettle" in line["prompt"]
    assert line["completion"] == "[U0] The kettle weighs 32 ounces and will not rust.<|im_end|>"


def test_a_refused_system_turn_is_folded_into_the_question(tmp_path):
    tokenizer = load_tokenizer(
        Rendering(template="chat", tokenizer=tokenizer_in(tmp_path, NO_SYSTEM, "<s>"), max_length=64)
    )
    turns = [Message(role="system", content="Sell."), Message(role="user", content="Kite")]
    assert render(turns, "chat", tokenizer) == "<s><start>user\nSell.\n\nKite<|im_end|>\n<start>model\n"


def test_alpaca_has_report_a_s_shape_and_ends_with_the_end_token(tmp_path):
    rendering = Rendering(template="alpaca", tokenizer=tokenizer_in(tmp_path / "tok", None), max_length=64)
    made = export(shard(tmp_path, ROWS), Exporting(style="sales"), "alpaca", "train", rendering, str(tmp_path))
    line = json.loads(Path(made.uri).read_text().splitlines()[0])
    assert "### Instruction:\nAct as sales representative\n\n### Input:\nKite 0\n\n### Response:\n" in line["prompt"]
    assert (line["instruction"], line["input"]) == ("Act as sales representative", "Kite 0")
    assert line["completion"].endswith("<|im_end|>")


def test_only_the_answer_and_its_end_are_learnt_though_pad_is_the_end_token(tmp_path):
    tokenizer = load_tokenizer(Rendering(template="chat", tokenizer=tokenizer_in(tmp_path, CHATML), max_length=64))
    prompt = render([Message(role="user", content="Kite?")], "chat", tokenizer)
    encoded = encode(prompt, "It flies." + ending("chat", tokenizer), tokenizer, 512)
    asked = encode_prompt(prompt, tokenizer)
    assert encoded.input_ids[: len(asked)] == asked
    assert set(encoded.labels[: len(asked)]) == {IGNORED}
    assert encoded.labels[len(asked) :] == encoded.input_ids[len(asked) :]
    assert encoded.labels[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert not encoded.truncated


def test_what_is_cut_is_counted_and_listed(tmp_path):
    rendering = Rendering(template="chat", tokenizer=tokenizer_in(tmp_path / "tok", CHATML), max_length=60)
    made = export(shard(tmp_path, ROWS), Exporting(), "chat", "train", rendering, str(tmp_path))
    tokenizer = load_tokenizer(rendering)
    examples = [json.loads(text) for text in Path(made.uri).read_text().splitlines()]
    cut = [encode(e["prompt"], e["completion"], tokenizer, 60).truncated for e in examples]
    assert 0 < made.truncated == sum(cut) < len(ROWS)
    assert [row["uid"] for row in truncated(made, 60)] == [f"U{n}" for n, is_cut in enumerate(cut) if is_cut]
    counted = lengths([e["prompt"] for e in examples], [e["completion"] for e in examples], tokenizer)
    assert made.tokens == sum(counted)
    assert counted == [len(encode(e["prompt"], e["completion"], tokenizer, 9999).input_ids) for e in examples]
