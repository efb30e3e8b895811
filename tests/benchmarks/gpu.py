"""The recipe `tinyllama-unsloth` on a CUDA GPU, in 4 bits, beside the notebooks' way: `python -m tests.benchmarks.gpu`.

Both engines, some steps, the same rows: examples/s, tokens/s and peak memory of the GPU. Where no hub can be reached,
a model of TinyLlama's shape is made with weights at random, and a tokenizer from made-up text: what they learn means
nothing, how fast is the same. `--rehearse` runs all of it on a shrunken shape, without a GPU where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deployments.demo import catalogue
from tasks.recipe import loader
from tests.benchmarks import train

RECIPE = "tinyllama-unsloth"
# config.json of TinyLlama 1.1B, as far as it decides time and memory; and the same shrunken to 0.3 million parameters.
SHAPE = {
    "vocab_size": 32_000, "hidden_size": 2_048, "intermediate_size": 5_632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "max_position_embeddings": 2_048,
}  # fmt: skip
SHRUNKEN = SHAPE | {
    "vocab_size": 1_024, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, help=f"optimizer steps of {train.BATCH} examples (default 100; 3 to rehearse)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="runs of each way; the median counts (default 2)")
    parser.add_argument("--rehearse", action="store_true", help="a shrunken shape, few steps, on whatever is here")
    options = parser.parse_args()
    name = "rehearsal, no numbers to quote" if options.rehearse else gpu()
    steps = options.steps or (3 if options.rehearse else 100)
    with tempfile.TemporaryDirectory() as root:
        train.enter(root)
        model = base_model(Path(root), options.rehearse)
        recipe = loader.load(RECIPE, [*train.whole(root), f"tune.base_model={model}"])
        found = train.rows(recipe, steps * train.BATCH, recipe.tune.max_length)
        shown = f"{'shrunken ' * options.rehearse}TinyLlama 1.1B, weights at random" if Path(model).is_dir() else model
        print(f"{name}: {shown}, 4-bit, {steps} steps of {train.BATCH} made-up rows")
        runs = train.turns(recipe, found, train.ENGINES, options.rounds)
    train.table(runs, found)


def gpu() -> str:
    """The name of the CUDA GPU; without one, a line of advice and exit status 1."""
    try:
        import torch
    except ImportError:
        raise SystemExit("torch is not installed here: run `pip install 'shardtune[unsloth]'`") from None
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU here: run this where there is one, or rehearse it on the CPU with --rehearse")
    return torch.cuda.get_device_name()


def base_model(root: Path, shrunken: bool) -> str:
    """The recipe's own base model where the hub gives it, else a folder with a model of its shape."""
    named = loader.load(RECIPE).tune.base_model
    if not shrunken and on_hub(named):
        return named
    os.environ["HF_HUB_OFFLINE"] = "1"  # or Unsloth asks the hub for two minutes whether it is there
    return str(made(root / "random", SHRUNKEN if shrunken else SHAPE))


def on_hub(name: str) -> bool:
    """Whether the hub gives this model to this machine."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(name, "config.json")
    except Exception:  # whatever stands in the way, the model is made here instead
        return False
    return True


def made(folder: Path, shape: dict[str, int]) -> Path:
    """A Llama of this shape, its weights drawn at random, beside a tokenizer made of a small catalogue."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    learnt = trainers.BpeTrainer(
        vocab_size=shape["vocab_size"], special_tokens=[UNKNOWN, BOS, EOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    folder.mkdir()
    tokenizer.train_from_iterator(texts(folder.with_suffix(".json")), learnt)
    special = {"unk_token": UNKNOWN, "bos_token": BOS, "eos_token": EOS, "pad_token": UNKNOWN}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=0, rms_norm_eps=1e-5)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def texts(place: Path) -> Iterator[str]:
    """Titles and contents of a small made-up catalogue, written to `place`."""
    catalogue.write(str(place), 5_000)
    for line in place.read_text().splitlines():
        row = json.loads(line)
        yield f"{row['title']} {row['content']}"


if __name__ == "__main__":
    main()
