"""Tokens: what a published tokenizer makes of a text is what is trained on and asked; text from outside stays text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tasks.backends.local import rows
from tasks.core.models import Message
from tasks.examples import templates
from tasks.examples.export import export
from tasks.examples.templates import Rendering, completion, render, shape
from tasks.examples.tokens import IGNORED, Reader, Text, encode, encode_prompt, joined, lengths, reader
from tasks.recipe.model import Exporting
from tests.kit.published import PUBLISHED, write
from tests.kit.rows import shard
from tests.tasks.examples.test_templates import tokenizer_in

ANSWER = "It holds a red drum. Made for the sea!"
# Of many makers; each tokenizer's own are added to them.
MARKERS = (
    "<|im_end|>\n<|im_start|>system", "[INST]", "[/INST]", "<<SYS>>", "<s>", "</s>", "<start_of_turn>user",
    "<|eot_id|>", "<bos>", "<eos>", "<pad>", "<unk>", "<|endoftext|>", "<think>", "</think>", "<tool_call>",
    "### Response:",
    "\u2581</s>", "<|im_<|im_end|>end|>", "\U000f5a17" "0\U000f5a18",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("published")
    return {name: AutoTokenizer.from_pretrained(write(place / name, name)) for name in PUBLISHED}


def kind(tokenizer: Any) -> templates.Kind:
    return "chat" if tokenizer.chat_template else "alpaca"


def asked(content: str, system: str | None = None) -> list[Message]:
    first = [Message(role="system", content=system)] if system else []
    return [*first, Message(role="user", content=content)]


def example(tokenizer: Any, question: str, answer: str, template: templates.Kind | None = None) -> list[int]:
    template = template or kind(tokenizer)
    prompt = render(asked(question), template, tokenizer)
    return encode(prompt, completion(answer, template, tokenizer), tokenizer, 9_999).input_ids


@pytest.mark.parametrize("name", PUBLISHED)
def test_ids_are_those_that_the_tokenizer_gives_for_the_whole_text(tokenizers, name):
    tokenizer, question = tokenizers[name], "What is the red drum?"
    if kind(tokenizer) == "alpaca":
        text = render(asked(question), "alpaca", tokenizer) + ANSWER + tokenizer.eos_token
        whole = tokenizer(text)["input_ids"]
    else:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": ANSWER}]
        # A template of Qwen 3 shows an empty thought in what was said, but not in what it asks for.
        said = tokenizer.apply_chat_template(turns, tokenize=False).replace("<think>\n\n</think>\n\n", "")
        head = tokenizer(said, add_special_tokens=False)["input_ids"]
        front = tokenizer("a")["input_ids"][: -len(tokenizer("a", add_special_tokens=False)["input_ids"])]
        whole = head if head[: len(front)] == front else front + head
    ours = example(tokenizer, question, ANSWER)
    assert whole[: len(ours)] == ours and not tokenizer.decode(whole[len(ours) :]).strip()
    assert ours[-1] == (tokenizer.eos_token_id if name != "gemma" else tokenizer.convert_tokens_to_ids("<end_of_turn>"))
    assert ours[: len(reader(tokenizer).head)] == reader(tokenizer).head


def test_what_stands_in_front_is_asked_of_the_tokenizer(tokenizers):
    heads = {name: reader(tokenizer).head for name, tokenizer in tokenizers.items()}
    assert heads["opt"] == [tokenizers["opt"].eos_token_id] == tokenizers["opt"]("")["input_ids"]
    assert all(heads[name] == [tokenizers[name].bos_token_id] for name in ("llama", "mistral", "tinyllama", "gemma"))
    assert heads["smollm2"] == heads["qwen"] == []


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_no_marker_from_outside_becomes_a_control_token(tokenizers, name, template):
    tokenizer = tokenizers[name]
    if template == "chat" and not tokenizer.chat_template:
        return
    controls = set(reader(tokenizer).controls.values()) - {tokenizer.unk_token_id}
    clean = [n for n in example(tokenizer, "plain", "plain", template) if n in controls]
    for marker in [*MARKERS, *reader(tokenizer).controls]:
        text = f"{marker} mug{marker}of {marker}"
        ids = example(tokenizer, text, text, template)
        assert [n for n in ids if n in controls] == clean, (name, marker)
        # Nothing of it is lost; to some tokenizers this letter is a blank.
        assert tokenizer.decode(ids).replace("\u2581", " ").count(text.replace("\u2581", " ")) == 2, (name, marker)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("style", ["describe", "sales", "grounded"])
def test_every_way_reads_the_same_ids(tokenizers, name, style, tmp_path):
    found = tokenizers[name]
    drawn = Rendering(template=kind(found), tokenizer=found.name_or_path, max_length=4_000)
    own = list(reader(found).controls)
    given = [(f"Drum {n} {own[n % len(own)]}", f"Holds{own[-1]} {n} screws. {MARKERS[n]}") for n in range(6)]
    given += [(f"Kite {n}", f"Flies {n} feet high, {n} at night.") for n in range(3)]
    made = export(shard(tmp_path, given), Exporting(style=style), drawn.template, "train", drawn, str(tmp_path))
    pairs = list(rows.lines([made]))
    counted = lengths([p for p, _ in pairs], [c for _, c in pairs], found)
    assert made.tokens == sum(counted)
    controls = set(reader(found).controls.values()) - {found.unk_token_id}
    kinds = set()
    for (prompt, closed), many in zip(pairs, counted, strict=True):
        trained = encode(prompt, closed, found, 9_999)
        assert len(trained.input_ids) == many and trained.input_ids[:-1] != []
        sent = encode_prompt(prompt, found)
        assert trained.input_ids[: len(sent)] == sent and trained.labels[: len(sent)] == [IGNORED] * len(sent)
        kinds.add(tuple(n for n in trained.input_ids if n in controls))
    assert len(kinds) == 1  # the template's own, whatever stands in the row
    if style == "describe":
        for (title, _), (prompt, _) in zip(given, pairs, strict=True):
            question = render(asked(f"What is the {title} product?"), drawn.template, found)
            assert (question, question.literal) == (prompt, prompt.literal)


def test_a_line_says_what_is_literal_only_where_it_must(tokenizers, tmp_path):
    drawn = Rendering(template="chat", tokenizer=tokenizers["qwen"].name_or_path, max_length=400)
    given = [("Kite <|im_end|>", "Flies."), ("Kite", "It flies high."), ("Drum", "Rolls </s> <tool_call>.")]
    made = export(shard(tmp_path, given), Exporting(), "chat", "train", drawn, str(tmp_path))
    written = [json.loads(line) for line in Path(made.uri).read_text().splitlines()]
    assert "literal" not in written[1] and list(written[1]) == ["prompt", "completion"]
    (start, end), *others = written[0]["literal"]["prompt"]
    assert written[0]["prompt"][start:end] == "<|im_end|>" and not others and not written[0]["literal"]["completion"]
    assert [written[2]["completion"][a:b] for a, b in written[2]["literal"]["completion"]] == ["<tool_call>"]


def test_joined_texts_keep_their_places():
    both = joined("ab", Text.of("<s>", [(0, 3)]), "c", Text.of("x</s>", [(1, 5)]))
    assert both == "ab<s>cx</s>" and [both[a:b] for a, b in both.literal] == ["<s>", "</s>"]


def test_a_completion_of_unknown_places_is_text_but_for_its_end(tokenizers):
    found = tokenizers["smollm2"]
    end = found.eos_token_id
    assert encode("q", "It is <|im_end|> old<|im_end|>", found, 99).input_ids.count(end) == 1
    assert lengths(["q"], ["It is <|im_end|> old<|im_end|>"], found) == [
        len(encode("q", "It is <|im_end|> old<|im_end|>", found, 99).input_ids)
    ]


def test_words_that_somebody_taught_the_tokenizer_stay_words(tmp_path):
    found = AutoTokenizer.from_pretrained(tokenizer_in(tmp_path, None))
    found.add_tokens(["Shardtune", "   ", "<brand>"])
    own = Reader(found)
    assert {"Shardtune", "   "}.isdisjoint(own.controls) and "<brand>" in own.controls
    number = found.convert_tokens_to_ids("Shardtune")
    assert number in own.ids(own.text("A Shardtune mug")) and number in own.ids(own.text("A Shardtune <brand> mug"))
    assert found.convert_tokens_to_ids("<brand>") not in own.ids(own.text("A Shardtune <brand> mug"))


def test_a_tokenizer_without_a_fast_backend_reads_markers_by_letters(tokenizers):
    class Slow:
        """A tokenizer written in Python, which knows no split into text and tokens."""

        def __init__(self, inner):
            self.inner, self.backend_tokenizer = inner, None

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __call__(self, text, **options):
            options.pop("split_special_tokens", None)
            return self.inner(text, **options)

    found = Reader(Slow(tokenizers["smollm2"]))
    ids = found.ids(joined("<|im_start|>user\n", found.text("A mug <|im_end|> of <repo_name>tea"), "<|im_end|>"))
    controls = [n for n in ids if n in found.controls.values()]
    assert tokenizers["smollm2"].convert_ids_to_tokens(controls) == ["<|im_start|>", "<|im_end|>"]
    assert tokenizers["smollm2"].decode(ids) == "<|im_start|>user\nA mug <|im_end|> of <repo_name>tea<|im_end|>"


def test_letters_that_a_normaliser_makes_a_marker_of_are_text(tmp_path):
    from tokenizers import AddedToken, normalizers

    found = AutoTokenizer.from_pretrained(tokenizer_in(tmp_path, None))
    found.backend_tokenizer.normalizer = normalizers.NFKC()
    found.add_tokens([AddedToken("<turn>", normalized=True, special=True)])
    number = found.convert_tokens_to_ids("<turn>")
    assert number in found("A \uff1cturn\uff1e mug")["input_ids"]  # full-width brackets
    assert number not in Reader(found).ids(Reader(found).text("A \uff1cturn\uff1e mug"))


THINK = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
DROPS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }}\n{% elif m['role'] == 'assistant' %}"
    "ASSISTANT: {{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:"
    "{% endif %}"
)
OPEN = "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n\n{% endfor %}"


def fast(template: str, eos: str | None = "<|im_end|>") -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator([ANSWER], trainers.BpeTrainer(special_tokens=["<|im_end|>"], initial_alphabet=alphabet))
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos)
    made.chat_template = template
    return made


@pytest.mark.parametrize("name", ["think", "deepseek_r1_distill", "qwen3_5_think"])
def test_a_thought_that_a_prompt_opens_is_closed_before_the_answer_and_told(name):
    from tests.kit.published import from_trl

    found = fast(THINK if name == "think" else from_trl(name))
    prompt = render(asked("Drum?"), "chat", found)
    assert prompt.rstrip().endswith("</think>") and prompt.count("<think>") == prompt.count("</think>")
    assert [f.rule for f in templates.findings("chat", found, False)] == ["thought"]


def test_a_system_turn_that_is_dropped_goes_before_the_question_and_is_told(tokenizers):
    found = fast(DROPS)
    assert render(asked("Drum", "Sell."), "chat", found) == "USER: Sell.\n\nDrum\nASSISTANT:"
    assert [f.rule for f in templates.findings("chat", found, True)] == ["system turn"]
    assert templates.findings("chat", found, False) == []
    assert [f.rule for f in templates.findings("chat", tokenizers["gemma"], True)] == ["system turn"]
    assert templates.findings("chat", tokenizers["qwen"], True) == []


def test_an_answer_without_any_end_is_an_error():
    assert shape("chat", fast(OPEN)).ending == "<|im_end|>"
    for template in ("chat", "alpaca"):
        (told,) = templates.findings(template, fast(OPEN, None), False)
        assert (told.rule, told.level) == ("end token", "error") and "eos_token" in told.message


def test_a_full_stop_is_no_end():
    # It also stands within answers: the end token comes after it.
    assert shape("chat", fast("{% for m in messages %}{{ m['content'] }}.\n{% endfor %}")).ending == ".<|im_end|>"
