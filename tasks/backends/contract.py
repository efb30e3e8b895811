"""The contract between the lifecycle and a backend: plain records, five states, seven verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from tasks.core.errors import BackendError
from tasks.core.models import Export, Finding, Format, Frozen, Message, Parity, StyleName
from tasks.core.store import digest_of
from tasks.examples.fitting import TooLong
from tasks.examples.templates import Rendering
from tasks.recipe.tuning import OF_LINK, OPERATIONAL, SINCE, Tune

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


class Link(Frozen):
    """One fine-tune of one model on one or more shards; its key is the hash of all that decides the result."""

    name: str  # of the recipe: for people, not part of the key
    backend: str
    base_model: str
    base_digest: str | None = None  # of the files, where the base model lies on this machine
    endpoint: str | None = None  # what the job runs at, where that is not the provider's own service
    parent: str | None = None  # what the parent link left to start from; None for the first link of a chain
    parent_model: str | None = None  # the parent link's model as it is asked, and what tells its bytes from others
    parent_digest: str | None = None
    parent_key: str | None = None
    train: tuple[Export, ...]
    holdout: tuple[Export, ...]
    heldout_rows: int
    tune: Tune
    style: StyleName
    seed: int
    asked: int = 0  # questions, and the longest answer in tokens: what asking may cost
    answer_tokens: int = 0
    too_long: TooLong | None = None  # where an example is; None before 2026-11-26: its answer lost its end
    course: tuple[int, int] | None = None  # steps before this link, and of all links of its schedule
    retrain_days: int | None = None  # until the model is followed by another; it must be served till then

    @property
    def key(self) -> str:
        """32 hex digits. Same key, same job: never worked on twice."""
        tune = self.tune.model_dump(mode="json", exclude=set(OPERATIONAL | OF_LINK))
        since = {"endpoint": self.endpoint, "too_long": self.too_long, "course": self.course}
        decides = {
            "backend": self.backend,
            "base": self.parent_key or [self.base_model, self.base_digest],
            "train": [_bytes(e) for e in self.train],
            "holdout": [_bytes(e) for e in self.holdout],
            "heldout_rows": self.heldout_rows,
            "tune": {name: v for name, v in tune.items() if v is not None or name not in SINCE},
            "style": self.style,
            "seed": self.seed,
        }
        return digest_of(decides | {name: value for name, value in since.items() if value})

    @property
    def start(self) -> str:
        """What the job starts from: what the parent link left, or the base model.

        BackendError where a parent left nothing: its link must never start from the base by accident.
        """
        if self.parent_key and not self.parent:
            raise BackendError(
                f"the link before ({self.parent_key[:8]}) names no model to go on from: run the same command again "
                "once its provider names one"
            )
        return self.parent or self.base_model

    @property
    def title(self) -> str:
        """For people: "gpt-4o-mini shard 1", "demo shards 0 to 69"."""
        return f"{self.name} shard{'s' * (' ' in self.shards)} {self.shards}"

    @property
    def shards(self) -> str:
        """The shards it is tuned on, for people: "1", "0, 2", "0 to 69"."""
        numbers = sorted({e.shard for e in self.train})
        return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 2 else ", ".join(map(str, numbers))


def _bytes(export: Export) -> str | list[str]:
    """What tells the examples of an export from others, as token ids and not only as text."""
    return export.digest if export.reading is None else [export.digest, export.reading]


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
    epoch: float | None = None
    loss: float
    learning_rate: float | None = None
    gradient_norm: float | None = None  # before clipping
    seconds: float | None = None  # of this step
    accuracy: float | None = None  # share of tokens that the model had guessed
    heldout_loss: float | None = None  # of a sample of the holdout, or at an epoch's end of all its rows sent


class Event(Frozen):
    """One message of a provider about a job, as it was given."""

    id: str
    at: str  # ISO 8601, UTC
    level: str
    message: str


class JobStatus(Frozen):
    """What a backend says of a job now. `interrupted`: it died without an end and may be resumed at no cost.

    "succeeded" means that `model` can be asked. A job that its provider calls succeeded before it names a model is
    running; where it never names one, it has failed.
    """

    state: State
    detail: str = ""  # the provider's own word for the state, or what the trainer is doing
    step: int = 0
    steps: int | None = None
    points: tuple[LossPoint, ...] = ()
    events: tuple[Event, ...] = ()  # oldest first
    heldout_before: float | None = None  # mean nats per answer token, same rows before and after
    heldout_after: float | None = None
    billed_tokens: int | None = None
    facts: dict[str, Any] = Field(
        default_factory=dict
    )  # measured: seconds_per_step, eta_seconds, peak_memory_bytes, examples_per_second, …
    model: str | None = None  # URI or provider name under which the tuned model is asked, once succeeded
    model_digest: str | None = None
    continue_from: str | None = None  # what the next link of a chain starts from, where that is not `model`
    error: str | None = None
    interrupted: bool = False
    held: str | None = None  # why the job will not go on unless somebody acts


class Quote(Frozen):
    """What a link will cost, before it starts. None is "unknown", never zero."""

    examples: int
    tokens: int | None
    usd_low: float | None
    usd_high: float | None  # with the answers to the link's questions
    basis: str  # where the price comes from, with its date; for local jobs: that nobody sends a bill
    tokens_high: int | None = None  # where the provider decides how often, or the count is an estimate
    as_of: str | None = None  # day of the price, ISO 8601
    source: str | None = None
    exact: bool = False  # whether tokens are counted with the provider's own tokenizer
    answers_usd: float = 0.0  # of `usd_high`: the most that the answers to the questions may cost


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
    finish: str | None = None  # why it ended, in the provider's word, in lower case; None where nobody says


class Backend(Protocol):
    """The verbs every backend has. SDKs are imported by the backend's own module only."""

    name: str
    paid: bool  # a create call costs money: machines that share a ledger take turns before it
    poll: tuple[float, float]  # first and longest pause between two looks at a job, seconds

    def format(self, link_tune: Any) -> Format:
        """The export format that this backend reads for these hyperparameters."""

    def rendering(self, tune: Any) -> Rendering | None:
        """How the base model of `tune` is prompted; None where the provider renders conversations itself."""

    def base_digest(self, tune: Any) -> str | None:
        """The digest of the base model's files, where they lie on this machine."""

    def endpoint(self, tune: Any) -> str | None:
        """What tells the place of the job from the provider's own service; "loopback" for a simulator."""

    def check(self, link: Link) -> list[Finding]:
        """All that speaks against starting this link now; empty when nothing does."""

    def quote(self, link: Link) -> Quote:
        """What the link will cost."""

    def find(self, key: str) -> Job | None:
        """Look at the provider for a job with this key: one that works or worked, else the newest."""

    def submit(self, link: Link) -> Job:
        """Start the job, once: one create call, never retried. An interrupted local job goes on where it was.

        Raises NotReadyError where the provider still prepares something, LimitError where it takes no job now,
        TransientError where nobody knows whether it took it.
        """

    def tidy(self, link: Link, job: Job | None = None) -> None:
        """Remove what was uploaded for this link and no job uses; what `job`, the link's own, uses stays."""

    def status(self, job: Job) -> JobStatus:
        """Where the job stands. An unknown provider state is not an end. VanishedError where nobody knows the job."""

    def cancel(self, job: Job) -> None:
        """Ask for the end of the job; no error when it has ended already."""

    def prompts(self, tune: Any, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """Each conversation as `answer` would send it: what the hash of a prompt is made of."""

    def parity(self, link: Link, kept: str) -> Parity | None:
        """Whether the model in the folder `kept` answers as the one in training did; None where nobody can tell."""

    def answer(
        self, model: str | None, tune: Any, conversations: Sequence[Sequence[Message]], *decodings: Decoding
    ) -> list[list[Answer]]:
        """Answer each conversation, batched, in order, once for each decoding.

        `model` None asks the un-tuned base; NotServedError where that is served nowhere.
        """
