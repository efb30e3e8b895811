"""The contract between the lifecycle and a backend: plain records, five states, seven verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from tasks.examples.templates import Rendering
from tasks.models import Export, Finding, Format, Frozen, Message, StyleName
from tasks.recipe import LocalTune
from tasks.store import digest_of

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

# Fields of a recipe's `tune` that change how a job is run but not what it learns; they are no part of the key.
OPERATIONAL = frozenset({"checkpoint_steps"})


class Link(Frozen):
    """One fine-tune of one model on one or more shards; its key is the hash of all that decides the result."""

    name: str  # of the recipe: for people, not part of the key
    backend: str
    base_model: str
    base_digest: str | None = None  # of the files, where the base model lies on this machine
    parent: str | None = None  # URI of the parent link's model; None for the first link of a chain
    parent_key: str | None = None
    train: tuple[Export, ...]
    holdout: tuple[Export, ...]
    heldout_rows: int
    tune: LocalTune
    style: StyleName
    seed: int

    @property
    def key(self) -> str:
        """32 hex digits. Same key, same job: never worked on twice."""
        return digest_of(
            {
                "backend": self.backend,
                "base": self.parent_key or [self.base_model, self.base_digest],
                "train": [e.digest for e in self.train],
                "holdout": [e.digest for e in self.holdout],
                "heldout_rows": self.heldout_rows,
                "tune": self.tune.model_dump(mode="json", exclude=set(OPERATIONAL)),
                "style": self.style,
                "seed": self.seed,
            }
        )


class Job(Frozen):
    """A link being worked on by a backend: what is needed to find it again, and nothing secret."""

    key: str
    backend: str
    id: str
    url: str | None = None
    submitted_at: str  # ISO 8601, UTC


class LossPoint(Frozen):
    """Training loss at one optimizer step, mean nats per trained token."""

    step: int
    epoch: float
    loss: float
    learning_rate: float | None = None
    seconds: float | None = None  # of this step


class Status(Frozen):
    """What a backend says of a job now. `interrupted`: it died without an end and may be resumed at no cost."""

    state: State
    detail: str = ""  # the provider's own word for the state, or what the trainer is doing
    step: int = 0
    steps: int | None = None
    points: tuple[LossPoint, ...] = ()
    heldout_before: float | None = None  # mean nats per answer token, same rows before and after
    heldout_after: float | None = None
    billed_tokens: int | None = None
    facts: dict[str, Any] = Field(
        default_factory=dict
    )  # measured: seconds_per_step, eta_seconds, peak_memory_bytes, examples_per_second, …
    model: str | None = None  # URI or provider name of the tuned model, once succeeded
    model_digest: str | None = None
    error: str | None = None
    interrupted: bool = False


class Quote(Frozen):
    """What a link will cost, before it starts. None is "unknown", never zero."""

    examples: int
    tokens: int | None
    usd_low: float | None
    usd_high: float | None
    basis: str  # where the price comes from, with its date; for local jobs: that nobody sends a bill


class Decoding(Frozen):
    """How an answer was, or shall be, drawn."""

    temperature: float = 0.0
    max_new_tokens: int = 96
    repetition_penalty: float = 1.0
    seed: int = 0


class Answer(Frozen):
    """One answer, with the decoding really used and the hash of the prompt really rendered."""

    text: str
    decoding: Decoding
    model_version: str
    prompt_hash: str
    prompt_tokens: int
    answer_tokens: int
    seconds: float


class Backend(Protocol):
    """The verbs every backend has. SDKs are imported by the backend's own module only."""

    name: str

    def format(self, link_tune: LocalTune) -> Format:
        """The export format that this backend reads for these hyperparameters."""

    def rendering(self, tune: LocalTune) -> Rendering | None:
        """How the base model of `tune` is prompted; None where the provider renders conversations itself."""

    def base_digest(self, tune: LocalTune) -> str | None:
        """The digest of the base model's files, where they lie on this machine."""

    def check(self, link: Link) -> list[Finding]:
        """All that speaks against starting this link now; empty when nothing does."""

    def quote(self, link: Link) -> Quote:
        """What the link will cost."""

    def find(self, key: str) -> Job | None:
        """Look at the provider for a job with this key."""

    def submit(self, link: Link) -> Job:
        """Start the job, once: one create call, never retried. An interrupted local job goes on where it was."""

    def status(self, job: Job) -> Status:
        """Where the job stands. An unknown provider state is not an end."""

    def cancel(self, job: Job) -> None:
        """Ask for the end of the job; no error when it has ended already."""

    def answer(
        self, model: str | None, tune: LocalTune, conversations: Sequence[Sequence[Message]], decoding: Decoding
    ) -> list[Answer]:
        """Answer each conversation, batched, in order. `model` None asks the un-tuned base of `tune`."""
