"""Memory: an estimate before a job starts, and what it really took. All in bytes."""

from __future__ import annotations

import resource
import sys
from typing import Any, NamedTuple

import psutil

from tasks.core.models import Finding
from tasks.recipe.tuning import LocalTune

RUNTIME = 640 << 20  # Python with torch and its kind, before any weight
HEAD_CHUNK = 1_024  # positions whose logits trl's fused loss makes at a time
MEASURED = 256  # and those that the held-out loss makes


class ModelShape(NamedTuple):
    """What of a model's config decides its memory."""

    layers: int
    hidden: int
    inner: int
    query: int  # width of the attention's queries
    key: int  # width of its keys, and of its values
    vocabulary: int
    heads: int  # output heads beside the embedding: 0 where they are tied
    gated: bool
    noise: int  # dropouts in a block, each of which keeps its noise

    @classmethod
    def of(cls, config: dict[str, Any]) -> ModelShape:
        """From a config.json; missing keys are those of the models that do not need them."""
        hidden = config.get("hidden_size") or config["word_embed_proj_dim"]
        count = config["num_attention_heads"]
        width = config.get("head_dim") or hidden // count
        return cls(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            inner=config.get("intermediate_size") or config.get("ffn_dim") or 4 * hidden,
            query=count * width,
            key=(config.get("num_key_value_heads") or count) * width,
            vocabulary=config["vocab_size"],
            heads=0 if config.get("tie_word_embeddings", config.get("model_type") in ("gemma", "opt")) else 1,
            gated="ffn_dim" not in config,
            noise=2 if config.get("dropout") else 0,
        )

    @property
    def linear(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the linear layers of one block."""
        attention = [(self.hidden, self.query), (self.hidden, self.key), (self.hidden, self.key)]
        return [
            *attention,
            (self.query, self.hidden),
            *[(self.hidden, self.inner)] * (2 if self.gated else 1),
            (self.inner, self.hidden),
        ]

    def kept(self, bytes_per_value: int, r: int, dropout: bool) -> int:
        """Bytes that one block keeps of a token for its backward pass, as counted in torch."""
        inputs = sum(a for a, _ in self.linear)
        if bytes_per_value == 4:  # no cast, so layers share their input, and what was kept of it anyway
            own = 8 * inputs if dropout else 4 * (2 * self.hidden + (self.inner if self.gated else 0))
        else:  # each adapter casts its input for itself; noise is in float32
            own = inputs * (bytes_per_value + 4 * dropout)
        attention = 2 * self.query + 2 * self.key
        between = (3 if self.gated else 1) * self.inner  # the gate, its activation and what it is multiplied with
        rest = attention + between + self.noise * self.hidden + len(self.linear) * r
        return own + 2 * 4 * self.hidden + rest * bytes_per_value  # the two norms keep float32


def estimate(
    config: dict[str, Any], tune: LocalTune, width: int, bytes_per_value: int, gpu: bool = False
) -> dict[str, int]:
    """Bytes by part and their `total`, for batches `width` tokens wide at `bytes_per_value` (2 or 4) of precision.

    `activations` are the tensors of a step at their most. `slack` is what the allocator holds besides.
    """
    shape = ModelShape.of(config)
    linear = shape.layers * sum(a * b for a, b in shape.linear)
    embedding = (1 + shape.heads) * shape.vocabulary * shape.hidden
    weights = linear * (0.52 if tune.load_in_4bit else bytes_per_value) + embedding * bytes_per_value
    adapter = shape.layers * tune.lora.r * sum(a + b for a, b in shape.linear)
    tokens = tune.batch_size // tune.processes * width
    block = shape.kept(bytes_per_value, tune.lora.r, bool(tune.lora.dropout)) * tokens
    back = 8 * shape.inner * tokens  # gradients on their way through a block
    # On the way back three float32 tables of all logits are there: their logarithms and two gradients. trl makes its
    # loss in chunks on a single GPU.
    fused = gpu and tune.processes == 1
    head = (min(tokens, HEAD_CHUNK) * 8 if fused else tokens * 12) * shape.vocabulary
    head = max(head, min(4 * width, MEASURED) * shape.vocabulary * 12)
    if tune.gradient_checkpointing:  # a block's input is kept, and one block is made again when the head has gone
        small = shape.layers * shape.hidden * bytes_per_value * tokens
        activations, pieces = small + max(head, block + back), small + block + back
    else:
        activations, pieces = shape.layers * block + max(head, back), shape.layers * block
    # A CPU's allocator takes small tensors from a heap that is about half empty, two thirds where blocks are made
    # again, and that does not shrink for the head's large tables, which are mapped. A GPU's has a tenth more than is
    # used.
    stored = max((3 if tune.gradient_checkpointing else 2) * pieces + head - activations, 0)
    parts = {
        "runtime": RUNTIME,
        "weights": int(weights),
        "adapter": adapter * 4 * 2,  # weights and gradients
        "optimizer": adapter * 4 * 2,  # two moments
        "activations": int(activations),
        "slack": int(activations / 10 if gpu else stored),
    }
    return parts | {"total": sum(parts.values())}


def available(gpu: bool) -> int:
    """Bytes that a job may take now: of the GPU where training would use it, else of this machine."""
    if gpu:
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def peak() -> int:
    """The most this process took so far: GPU memory where it uses one, else resident memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return int(torch.cuda.max_memory_reserved())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def findings(config: dict[str, Any], tune: LocalTune, gpu: bool, precision: Any) -> list[Finding]:
    """What the free memory says against full batches of the longest examples, in this precision."""
    width = 4 if "32" in str(precision) else 2
    try:
        needed = estimate(config, tune, tune.max_length, width, gpu)["total"]
    except KeyError:
        return []  # a config of a kind the estimate does not know says nothing against the link
    free = available(gpu)
    if needed <= free:
        return []
    message = (
        f"batches of {tune.batch_size // tune.processes} x {tune.max_length} tokens may take {needed / 2**30:.1f} GiB "
        f"and {free / 2**30:.1f} GiB are free: lower tune.batch_size or tune.max_length, "
        "or set tune.gradient_checkpointing"
    )
    # The estimate is for full batches of the longest examples, so a near miss may still fit.
    return [Finding(rule="memory", level="error" if needed > 2 * free else "warning", message=message)]
