"""Tokenizers as their makers publish them: settings, special tokens, pipelines and chat templates of real repositories,
around a vocabulary of a few hundred tokens trained on the spot. No weight and no vocabulary of theirs is here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = (
    "What is the product? It holds a red drum of screws, made for long days at the sea and short nights in tents. "
    "Below is an instruction that describes a task. ### Instruction: ### Response: user assistant system model INST "
)
# As in the repositories' tokenizer_config.json, in July 2024 or later.
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}"
    "\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if "
    "loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + "
    "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if "
    "message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == "
    "'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if "
    "message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == "
    "'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are "
    "supported!') }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if "
    "(message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if "
    "add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def from_trl(name: str) -> str:
    """A chat template as trl keeps it, word for word that of the model's repository."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


class Published(NamedTuple):
    """What a repository says of its tokenizer. `normal` are added tokens that are not special, as it declares them."""

    kind: str  # "bytes", "sentencepiece" or "gemma"
    settings: dict[str, Any]
    special: tuple[str, ...]
    normal: tuple[str, ...] = ()
    bos: str | None = None  # what its post-processor puts in front
    template: str | None = None


IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PUBLISHED = {
    "opt": Published(  # facebook/opt-125m: vocab.json and merges.txt, no tokenizer.json
        "bytes",
        {"errors": "replace", "unk_token": "</s>", "bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>",
         "add_prefix_space": False, "add_bos_token": True, "tokenizer_class": "GPT2Tokenizer"},
        ("<s>", "<pad>", "</s>"),
    ),
    "llama": Published(  # meta-llama/Llama-2-7b-chat-hf
        "sentencepiece",
        {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
         "pad_token": None, "legacy": False, "clean_up_tokenization_spaces": False, "padding_side": "right",
         "tokenizer_class": "LlamaTokenizer"},
        ("<unk>", "<s>", "</s>"), bos="<s>", template=LLAMA_2,
    ),
    "mistral": Published(  # mistralai/Mistral-7B-Instruct-v0.2
        "sentencepiece",
        {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
         "pad_token": None, "legacy": True, "spaces_between_special_tokens": False, "sp_model_kwargs": {},
         "clean_up_tokenization_spaces": False, "tokenizer_class": "LlamaTokenizer"},
        ("<unk>", "<s>", "</s>"), bos="<s>", template=MISTRAL,
    ),
    "tinyllama": Published(  # TinyLlama/TinyLlama-1.1B-Chat-v1.0
        "sentencepiece",
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>", "legacy": False,
         "model_max_length": 2048, "padding_side": "right", "sp_model_kwargs": {},
         "clean_up_tokenization_spaces": False, "tokenizer_class": "LlamaTokenizer"},
        ("<unk>", "<s>", "</s>"), bos="<s>", template=ZEPHYR,
    ),
    "gemma": Published(  # google/gemma-2b-it
        "gemma",
        {"add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>", "eos_token": "<eos>",
         "pad_token": "<pad>", "unk_token": "<unk>", "legacy": None, "spaces_between_special_tokens": False,
         "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"], "sp_model_kwargs": {},
         "clean_up_tokenization_spaces": False, "tokenizer_class": "GemmaTokenizer"},
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        ("<mask>", "<unused0>", "\n\n", "\u2581\u2581", "<table>", "</h1>"), bos="<bos>", template=GEMMA,
    ),
    "smollm2": Published(  # HuggingFaceTB/SmolLM2-135M-Instruct
        "bytes",
        {"add_prefix_space": False, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
         "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>",
         "unk_token": "<|endoftext|>", "model_max_length": 8192, "clean_up_tokenization_spaces": False,
         "tokenizer_class": "GPT2Tokenizer"},
        (*IM, "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>"), template=SMOLLM2,
    ),
    "qwen": Published(  # Qwen/Qwen2.5-0.5B-Instruct
        "bytes",
        {"add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
         "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace", "split_special_tokens": False,
         "model_max_length": 131072, "clean_up_tokenization_spaces": False, "tokenizer_class": "Qwen2Tokenizer"},
        (*IM, "<|object_ref_start|>", "<|box_start|>", "<|vision_start|>"),
        ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>"), template="qwen2_5",
    ),
    "qwen3": Published(  # Qwen/Qwen3-0.6B
        "bytes",
        {"add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
         "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace", "split_special_tokens": False,
         "clean_up_tokenization_spaces": False, "tokenizer_class": "Qwen2Tokenizer"},
        IM, ("<tool_call>", "</tool_call>", "<think>", "</think>"), template="qwen3",
    ),
    "llama3": Published(  # meta-llama/Meta-Llama-3-8B-Instruct
        "bytes",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True,
         "model_max_length": 8192, "tokenizer_class": "PreTrainedTokenizerFast"},
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
         "<|reserved_special_token_0|>"), bos="<|begin_of_text|>", template=LLAMA_3,
    ),
}  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """Write the files that `AutoTokenizer.from_pretrained` reads; returns the folder."""
    wanted = PUBLISHED[name]
    folder.mkdir(parents=True, exist_ok=True)
    inner = {"bytes": _bytes, "sentencepiece": _pieces, "gemma": _pieces}[wanted.kind](wanted)
    settings = dict(wanted.settings)
    if wanted.template:
        settings["chat_template"] = wanted.template if "{" in wanted.template else from_trl(wanted.template)
    if name == "opt":
        model = json.loads(inner.to_str())["model"]
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in model["merges"]))
    else:
        inner.save(str(folder / "tokenizer.json"))
        tokens = {
            str(number): {"content": token.content, "special": token.special, "normalized": token.normalized}
            | {"lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word}
            for number, token in inner.get_added_tokens_decoder().items()
        }
        settings["added_tokens_decoder"] = tokens
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _added(inner: Tokenizer, wanted: Published) -> Tokenizer:
    inner.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in wanted.special])
    inner.add_tokens([AddedToken(text, normalized=False, special=False) for text in wanted.normal])
    if wanted.bos:
        number = inner.token_to_id(wanted.bos)
        inner.post_processor = processors.TemplateProcessing(
            single=f"{wanted.bos} $A", pair=f"{wanted.bos} $A {wanted.bos} $B", special_tokens=[(wanted.bos, number)]
        )
    return inner


def _bytes(wanted: Published) -> Tokenizer:
    inner = Tokenizer(models.BPE())
    split = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    inner.pre_tokenizer = {
        "<|endoftext|>": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        ),
    }.get(wanted.settings.get("unk_token") or "", pre_tokenizers.ByteLevel(add_prefix_space=False))
    if not wanted.settings.get("unk_token"):  # Qwen and Llama 3
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        )
    if wanted.settings["tokenizer_class"] == "Qwen2Tokenizer":
        inner.normalizer = normalizers.NFC()
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    first = list(wanted.special) if wanted.settings["tokenizer_class"] == "GPT2Tokenizer" else []
    inner.train_from_iterator(
        [WORDS] * 4, trainers.BpeTrainer(vocab_size=360, special_tokens=first, initial_alphabet=alphabet)
    )
    return _added(inner, wanted)


def _pieces(wanted: Published) -> Tokenizer:
    """A sentencepiece model as transformers converts one: blanks are letters, unknown characters are bytes."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [*wanted.special, *(f"<0x{n:02X}>" for n in range(256))]
    learner.train_from_iterator([WORDS] * 4, trainers.BpeTrainer(vocab_size=480, special_tokens=special))
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in learnt["merges"]]
    inner = Tokenizer(models.BPE(learnt["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    blanks = normalizers.Replace(" ", "\u2581")
    inner.normalizer = (
        blanks if wanted.kind == "gemma" else normalizers.Sequence([normalizers.Prepend("\u2581"), blanks])
    )
    ends = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(ends if wanted.kind == "gemma" else [*ends, decoders.Strip(" ", 1, 0)])
    return _added(inner, wanted)
