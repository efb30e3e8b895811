"""The sampler: batches change nothing, answers stop at the end token, and decoding is what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GenerationConfig

from tasks.backends.contract import Decoding
from tasks.backends.local.sampler import Sampler, closing, ends
from tasks.core.errors import BackendError
from tasks.core.models import Message
from tests.kit.models import build, tokenizer, tune

QUESTIONS = ["What is the Drum?", "What is the very long and winding Tent product of the sea?", "What?"]
TALKS = [[Message(role="user", content=q)] for q in QUESTIONS]


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    path = build(tmp_path_factory.mktemp("sampler") / "llama", "llama")
    return Sampler(path, None, tune(path), "v1")


def texts(answers):
    return [a.text for a in answers]


def test_an_answer_in_a_batch_is_the_answer_alone(sampler):
    together = sampler.answer(TALKS, Decoding(max_new_tokens=8))
    alone = [sampler.answer([talk], Decoding(max_new_tokens=8))[0] for talk in TALKS]
    assert texts(together) == texts(alone)
    assert [a.prompt_tokens for a in together] == [a.prompt_tokens for a in alone]
    assert together[0].prompt_tokens < together[1].prompt_tokens
    assert all(a.answer_tokens <= 8 and a.model_version == "v1" for a in together)


def test_a_drawn_answer_is_decided_by_its_seed(sampler):
    warm = Decoding(temperature=1.5, max_new_tokens=12, seed=1)
    assert texts(sampler.answer(TALKS, warm)) == texts(sampler.answer(TALKS, warm))
    assert texts(sampler.answer(TALKS, warm)) != texts(sampler.answer(TALKS, warm.model_copy(update={"seed": 2})))
    assert texts(sampler.answer(TALKS, Decoding(max_new_tokens=12))) == texts(
        sampler.answer(TALKS, Decoding(max_new_tokens=12, seed=9))
    )


def test_an_answer_is_cut_at_the_end_token(sampler, monkeypatch):
    (free,) = sampler.answer(TALKS[:1], Decoding(max_new_tokens=8))
    monkeypatch.setattr(sampler, "ends", [*sampler.ends, _third(sampler)])
    (cut,) = sampler.answer(TALKS[:1], Decoding(max_new_tokens=8))
    assert free.answer_tokens > cut.answer_tokens and free.text.startswith(cut.text)


def _third(sampler: Sampler) -> int:
    """The last token of the free answer's greedy path that did not come before."""
    from tasks.examples.templates import render
    from tasks.examples.tokens import encode_prompt

    prompt = encode_prompt(render(TALKS[0], sampler.rendering.template, sampler.tokenizer), sampler.tokenizer)
    return sampler._generate([prompt], Decoding(max_new_tokens=8))[0][2]


def test_ends_are_what_training_closed_with_and_the_models_own():
    class Own:
        eos_token_id = (7, 9)

    made = tokenizer(chat=True, pad_is_end=False)
    Own.eos_token_id = [7, 9]
    assert ends(made, "chat", Own) == [made.eos_token_id, 7, 9]
    Own.eos_token_id = None
    assert ends(made, "alpaca", Own) == [made.eos_token_id]


def test_a_blank_before_the_end_token_is_no_end():
    made = tokenizer(chat=True, pad_is_end=False)
    made.chat_template = "{% for m in messages %}[INST] {{ m['content'] }} {{ eos_token }}{% endfor %}"
    assert ends(made, "chat", GenerationConfig()) == [made.eos_token_id]


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_an_end_that_is_no_token_stops_an_answer_by_its_text(sampler, monkeypatch):
    made = tokenizer(chat=True, pad_is_end=False)
    assert closing(made, "chat") == ""
    made.chat_template = CHATML
    assert (closing(made, "chat"), ends(made, "chat", GenerationConfig())) == ("<|im_end|>", [made.eos_token_id])
    (free,) = sampler.answer(TALKS[:1], Decoding(max_new_tokens=12))
    monkeypatch.setattr(sampler, "closing", free.text[4:6])  # what this model says of itself
    (cut,) = sampler.answer(TALKS[:1], Decoding(max_new_tokens=12))
    assert cut.text == free.text.partition(free.text[4:6])[0].strip() and cut.answer_tokens < free.answer_tokens


def test_words_of_the_prompt_are_not_punished(sampler):
    # Every token stands in the prompt: a penalty on it would change the answer.
    asked = [[Message(role="user", content="".join(map(chr, range(33, 127))) + sampler.tokenizer.decode(range(300)))]]
    (free,), (punished,) = (
        sampler.answer(asked, Decoding(max_new_tokens=1, repetition_penalty=penalty)) for penalty in (1.0, 2.0)
    )
    assert free.text == punished.text


@pytest.mark.parametrize("name", ["llama", "gemma", "qwen"])
def test_the_prompt_that_is_sent_is_the_tokenizers_own(tmp_path, name, monkeypatch):
    from transformers import AutoTokenizer

    from tests.kit.published import write

    path = write(tmp_path / "tok", name)
    told = AutoTokenizer.from_pretrained(path)
    build(tmp_path / "m", "llama", published=path)
    asked = Sampler(str(tmp_path / "m"), None, tune(str(tmp_path / "m")))
    sent = []
    monkeypatch.setattr(asked, "_generate", lambda prompts, drawn: sent.extend(prompts) or [[] for _ in prompts])
    asked.answer([[Message(role="user", content="red drum")], [Message(role="user", content="</s><bos>")]], Decoding())
    whole = told.apply_chat_template([{"role": "user", "content": "red drum"}], add_generation_prompt=True)
    assert sent[1 if len(sent[0]) > len(sent[1]) else 0] == list(whole["input_ids"])


def test_a_base_that_cannot_be_loaded_is_named(tmp_path: Path):
    path = build(tmp_path / "cut", "llama")
    (Path(path) / "model.safetensors").unlink()
    with pytest.raises(BackendError, match=r"holds no model\.safetensors"):
        Sampler(path, None, tune(path))
