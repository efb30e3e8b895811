"""Tuning: the hyperparameters of each backend, with its bounds. `kind` names the backend.

OpenAI's bounds: its OpenAPI description of 2026-08-21. Vertex names none for epochs and the multiplier of Gemini 3.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from tasks.core.models import Frozen
from tasks.core.redaction import REFUSED_IN_FORMS

OPERATIONAL = frozenset(
    {
        "checkpoint_steps",
        "processes",
        "wait_hours",
        "base_url",
        "key_variable",
        "deploy",
        "project",
        "location",
        "bucket",
        "prices",
    }
)
"""Fields that change how or where a job is run but not what it learns; they are no part of the key."""
OF_LINK = frozenset({"too_long", "schedule_over"})
"""Fields that a link takes up where they change what it learns, and that are part of its key only there."""
SINCE = frozenset({"warmup_ratio"})
"""Fields newer than the first links: where one is empty, it is no part of the key."""


def _or_auto(kind: str, **bounds: float) -> dict[str, Any]:
    """The form's schema of a number within bounds, or auto; the bounds are told in words by `OpenAITune._bounds`."""
    return {"anyOf": [{"type": kind, **bounds}, {"const": "auto", "type": "string"}]}


class Lora(Frozen):
    """Shape of the low-rank adapter."""

    r: int = Field(16, ge=1, le=512, title="Rank", description="Rank r of the adapter; report A weighed 8 to 128.")
    alpha: int = Field(16, ge=1, le=1_024, title="Alpha", description="Scale: the adapter counts alpha / r.")
    dropout: float = Field(0.0, ge=0.0, le=0.9, title="Dropout", description="0 keeps Unsloth's fast path.")
    target_modules: tuple[str, ...] | Literal["auto"] = Field(
        "auto", title="Target modules", description="Names of linear layers, or auto: every linear layer but the head."
    )


class LocalTune(Frozen):
    """A 4-bit LoRA fine-tune on this machine."""

    model_config = ConfigDict(title="Local")  # of its tab in the run form

    kind: Literal["local"] = Field("local", title="Backend", description="Trains here, in a process of its own.")
    base_model: str = Field(
        min_length=1,
        title="Base model",
        description="Hub name, a directory, or package:NAME/FILE.gguf inside an installed Python package.",
    )
    revision: str | None = Field(None, title="Revision", description="Hub revision of the base model.")
    engine: Literal["unsloth", "transformers"] = Field(
        "unsloth", title="Engine", description="unsloth is faster; transformers loads every model peft knows."
    )
    template: Literal["auto", "chat", "alpaca"] = Field(
        "auto", title="Template", description="auto: the model's chat template, or Alpaca where it has none."
    )
    load_in_4bit: bool = Field(True, title="4-bit", description="NF4 weights through bitsandbytes (QLoRA).")
    lora: Lora = Field(Lora(), title="LoRA")
    max_length: int = Field(
        512, ge=16, le=131_072, title="Longest example", description="Tokens, of prompt and answer together."
    )
    too_long: Literal["drop", "cut", "split"] = Field(
        "drop",
        title="Longer examples",
        description="drop: left out; cut: the answer ends earlier; split: it becomes several, at ends of sentences.",
    )
    epochs: float = Field(1.0, gt=0, le=1_000, title="Epochs", description="Used where max_steps is empty.")
    max_steps: int | None = Field(None, ge=1, title="Steps", description="Optimizer steps; overrides epochs.")
    batch_size: int = Field(8, ge=1, le=4_096, title="Batch size", description="Examples per forward pass.")
    gradient_accumulation: int = Field(1, ge=1, le=4_096, title="Accumulation", description="Passes per step.")
    learning_rate: float = Field(2e-4, gt=0, le=1, title="Learning rate", description="Peak learning rate.")
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "linear", title="Schedule", description="Of the learning rate over the steps."
    )
    schedule_over: Literal["link", "chain"] = Field(
        "link",
        title="Schedule over",
        description="link: each link warms up and decays anew; chain: one schedule over the links that are made "
        "together.",
    )
    warmup_steps: int = Field(
        5, ge=0, title="Warm-up steps", description="A tenth of all steps where the link has no more steps than this."
    )
    warmup_ratio: float | None = Field(
        None, ge=0, lt=1, title="Warm-up ratio", description="Share of all steps; used in place of warm-up steps."
    )
    weight_decay: float = Field(0.0, ge=0, le=1, title="Weight decay", description="AdamW weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, le=1_000, title="Gradient norm", description="Clipped above.")
    batching: Literal["grouped", "packed", "plain"] = Field(
        "grouped",
        title="Batching",
        description="grouped: like lengths together, groups shuffled; packed: several examples in one row, each "
        "blind to the others; plain: shuffled.",
    )
    loss_on: Literal["answer", "all"] = Field("answer", title="Loss on", description="Which tokens are learnt.")
    gradient_checkpointing: bool = Field(
        False, title="Gradient checkpointing", description="Less memory, about a third more time."
    )
    checkpoint_steps: int = Field(
        25, ge=1, title="Steps per checkpoint", description="How often a resumable checkpoint is written."
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        title="Processes",
        description="That share the training by torchrun, one on each GPU; every batch is split between them.",
    )
    trust_remote_code: bool = Field(
        False, title="Trust remote code", description="Run Python code that comes with the model. Off unless needed."
    )
    wait_hours: float = Field(
        168.0, gt=0, title="Longest wait", description="Hours; the job goes on, and the same command takes it up again."
    )

    def steps(self, examples: int) -> int:
        """Optimizer steps of a training on so many examples."""
        batches = math.ceil(examples / self.batch_size)
        return self.max_steps or math.ceil(self.epochs * math.ceil(batches / self.gradient_accumulation))

    def warmup(self, steps: int) -> int:
        """How many of so many steps the learning rate rises; never all of them."""
        wanted = self.warmup_steps if self.warmup_ratio is None else round(self.warmup_ratio * steps)
        return wanted if wanted < steps else steps // 10


class Deploy(Frozen):
    """Where Azure serves a tuned model: it answers only after it was deployed under a name."""

    subscription: str = Field(min_length=1, title="Subscription", description="Its id.")
    resource_group: str = Field(min_length=1, title="Resource group")
    account: str = Field(min_length=1, title="Account", description="The Azure OpenAI or Foundry resource.")
    sku: str = Field(
        "developertier",
        title="SKU",
        description="developertier has no hourly price and ends after a day; others cost money as long as they stand.",
    )
    capacity: int = Field(50, ge=1, title="Capacity", description="In units of the SKU.")
    base: str | None = Field(
        None,
        min_length=1,
        title="Deployment of the base model",
        description="Its name, to ask the base for comparison; empty: there are no answers from before the training.",
    )
    management_url: str = Field(
        "https://management.azure.com", title="Management URL", json_schema_extra=REFUSED_IN_FORMS
    )
    token_variable: str = Field(
        "AZURE_MANAGEMENT_TOKEN",
        pattern=r"^([A-Z][A-Z0-9_]*_)?TOKEN$",
        title="Token variable",
        description="Environment variable with a bearer token; where it is not set, azure-identity fetches one "
        "(`az login`, a managed identity, or AZURE_CLIENT_ID and its kin).",
    )


class Prices(Frozen):
    """What an endpoint asks, in US dollars for a million tokens; empty means unknown."""

    training_usd: float | None = Field(
        None, ge=0, title="Training", description="For training tokens, each epoch counted."
    )
    input_usd: float | None = Field(
        None, ge=0, title="Input", description="For the tokens of a question to the tuned model."
    )
    output_usd: float | None = Field(None, ge=0, title="Output", description="For the tokens of its answer.")


class OpenAITune(Frozen):
    """A fine-tuning job at OpenAI, Azure, or any endpoint that speaks the same protocol."""

    model_config = ConfigDict(title="OpenAI")  # of its tab in the run form

    kind: Literal["openai"] = Field("openai", title="Backend", description="A job at OpenAI or a compatible endpoint.")
    base_model: str = Field(min_length=1, title="Base model", description="A base, or a model tuned before (ft:…).")
    epochs: int | Literal["auto"] = Field(
        1,
        title="Epochs",
        description="1 to 50; auto leaves it to the provider.",
        json_schema_extra=_or_auto("integer", minimum=1, maximum=50),
    )
    batch_size: int | Literal["auto"] = Field(
        "auto",
        title="Batch size",
        description="1 to 256, or auto.",
        json_schema_extra=_or_auto("integer", minimum=1, maximum=256),
    )
    learning_rate_multiplier: float | Literal["auto"] = Field(
        "auto",
        title="Learning-rate multiplier",
        description="Above 0, or auto.",
        json_schema_extra=_or_auto("number", exclusiveMinimum=0),
    )
    suffix: str | None = Field(
        None, pattern=r"^[A-Za-z0-9-]{1,64}$", title="Suffix", description="Becomes part of the model's name."
    )
    base_url: str | None = Field(
        None,
        title="Base URL",
        description="Of a compatible endpoint, with /v1; empty: OPENAI_BASE_URL, else OpenAI.",
        json_schema_extra=REFUSED_IN_FORMS,
    )
    key_variable: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^([A-Z][A-Z0-9_]*_)?API_KEY$",
        title="Key variable",
        description="Environment variable (or Prefect Secret block) with the API key.",
    )
    extra_body: dict[str, JsonValue] = Field(
        default_factory=dict, title="Extra body", description="More keys of the create call; Azure: {trainingType: 1}."
    )
    deploy: Deploy | None = Field(None, title="Deployment", description="Azure only.")
    prices: Prices | None = Field(
        None, title="Prices", description="Of this endpoint; empty: those that shardtune knows for its host."
    )
    wait_hours: float = Field(
        72.0, gt=0, title="Longest wait", description="Hours; the job goes on, and the same command takes it up again."
    )

    @model_validator(mode="after")
    def _bounds(self) -> OpenAITune:
        bounds = {"epochs": (self.epochs, 1, 50), "batch_size": (self.batch_size, 1, 256)}
        for name, (value, low, high) in bounds.items():
            if value != "auto" and not low <= value <= high:
                raise ValueError(f"{name} = {value!r} is not allowed: {low} to {high}, or auto")
        if self.learning_rate_multiplier != "auto" and self.learning_rate_multiplier <= 0:
            raise ValueError(f"learning_rate_multiplier = {self.learning_rate_multiplier!r} is not above 0")
        return self


REFUSED = {
    "batch_size": "Vertex takes a batch size for open-weight models only, the service chooses it for Gemini",
    "learning_rate": "Vertex takes a learning rate for open-weight models only: use tune.learning_rate_multiplier",
}


class GeminiTune(Frozen):
    """A tuning job of a Gemini model on Vertex; a key of the Gemini API cannot tune anything."""

    model_config = ConfigDict(title="Gemini")  # of its tab in the run form

    kind: Literal["gemini"] = Field("gemini", title="Backend", description="A tuning job on Vertex.")
    base_model: str = Field(min_length=1, title="Base model", description="A Gemini model that is tunable today.")
    epochs: int | None = Field(None, ge=1, le=100, title="Epochs", description="Empty: the service chooses.")
    learning_rate_multiplier: float | None = Field(
        None, gt=0, le=100, title="Learning-rate multiplier", description="Empty: the service chooses."
    )
    adapter_size: Literal[1, 2, 4, 8, 16] | None = Field(
        None, title="Adapter size", description="Empty: the service chooses."
    )
    project: str | None = Field(None, title="Project", description="Empty: GOOGLE_CLOUD_PROJECT.")
    location: Literal["us-central1", "europe-west4"] = Field(
        "us-central1", title="Location", description="Where Gemini 3 is tuned; it is served from us or eu."
    )
    bucket: str | None = Field(
        None, pattern=r"^gs://", title="Bucket", description="gs://bucket/folder for uploads; empty: SHARDTUNE_BUCKET."
    )
    wait_hours: float = Field(
        72.0, gt=0, title="Longest wait", description="Hours; the job goes on, and the same command takes it up again."
    )

    @model_validator(mode="before")
    @classmethod
    def _refused(cls, values: Any) -> Any:
        for name, reason in REFUSED.items():
            if isinstance(values, dict) and name in values:
                raise ValueError(f"{name} is not allowed for Gemini: {reason}")
        return values


Tune = LocalTune | OpenAITune | GeminiTune
