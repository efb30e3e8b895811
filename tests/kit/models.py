"""Tiny models of every architecture of the reports, built on the spot: random weights, a tokenizer of a few hundred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.backends.contract import Link
from tasks.backends.local import models
from tasks.core.models import Export, Split
from tasks.examples.export import export
from tasks.recipe.model import Exporting
from tasks.recipe.tuning import LocalTune, Lora
from tests.kit import rows as shards

WORDS = "What is the product? It holds a red drum of screws, made for long days at the sea and short nights in tents. "
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
ARCHITECTURES = ("llama", "tinyllama", "mistral", "gemma", "opt")
ROWS = [(f"Drum {n}", f"A drum of {n} red screws, {'made for the sea ' * (n % 4)}and no more.") for n in range(24)]


def config(architecture: str, ids: dict[str, int]) -> Any:
    """The configuration of a tiny model."""
    import transformers as t

    ids = {"vocab_size": 320, **ids}
    inner = {"intermediate_size": 128}
    return {
        "llama": lambda: t.LlamaConfig(**SHAPE, **inner, num_key_value_heads=2, **ids),
        "tinyllama": lambda: t.LlamaConfig(**SHAPE, **inner, num_key_value_heads=1, **ids),
        "mistral": lambda: t.MistralConfig(**SHAPE, **inner, num_key_value_heads=2, sliding_window=None, **ids),
        "gemma": lambda: t.GemmaConfig(**SHAPE, **inner, num_key_value_heads=1, head_dim=16, **ids),
        "opt": lambda: t.OPTConfig(**SHAPE, ffn_dim=128, word_embed_proj_dim=64, **ids),
    }[architecture]()


def tokenizer(chat: bool, pad_is_end: bool) -> Any:
    """A byte-level tokenizer trained on a sentence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet)
    inner.train_from_iterator([WORDS] * 4, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>" if pad_is_end else "<pad>"
    )
    if chat:
        made.chat_template = CHAT
    return made


def build(
    folder: Path, architecture: str, chat: bool = True, pad_is_end: bool = False, published: Path | None = None
) -> str:
    """Write a tiny model of the architecture with its tokenizer, or with that of a folder; returns its directory."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    made = AutoTokenizer.from_pretrained(published) if published else tokenizer(chat, pad_is_end)
    ids = {
        "bos_token_id": made.bos_token_id,
        "eos_token_id": made.eos_token_id,
        "pad_token_id": made.pad_token_id,
        "vocab_size": max(320, len(made)),
    }
    model = AutoModelForCausalLM.from_config(config(architecture, ids), dtype=torch.float32)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return str(folder)


def tune(base_model: str, **changes: Any) -> LocalTune:
    """Hyperparameters of a few quick steps; `changes` replace them."""
    quick = {
        "base_model": base_model,
        "engine": "transformers",
        "load_in_4bit": False,
        "lora": Lora(r=4, alpha=8),
        "max_length": 320,
        "max_steps": 4,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "warmup_steps": 0,
        "checkpoint_steps": 2,
    }
    return LocalTune(**(quick | changes))


def linked(place: Path, wanted: LocalTune, rows: list[tuple[str, str]] | None = None, **changes: Any) -> Link:
    """A link of the wanted tuning on exports made by the project's own exporter."""
    drawn = models.rendering(wanted)
    rows = ROWS if rows is None else rows

    def made(split: Split, some: list[tuple[str, str]]) -> Export:
        shard = shards.shard(place / split, some, split)
        return export(shard, Exporting(formats=(drawn.template,)), drawn.template, split, drawn, str(place))

    values = {
        "name": "tiny",
        "backend": "local",
        "base_model": wanted.base_model,
        "base_digest": models.digest(wanted),
        "train": (made("train", rows),),
        "holdout": (made("holdout", [(f"Tent {n}", f"A tent for {n} nights.") for n in range(6)]),),
        "heldout_rows": 4,
        "tune": wanted,
        "style": "describe",
        "seed": 7,
    }
    return Link(**(values | changes))
