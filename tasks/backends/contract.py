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
    """One fine-tune of one model on one or more shards; its key is the hash of everything that decides the result."""

    name: str  # of the recipe: for people, not part of the key
    backend: str
    base_model: str
    base_digest: str | None = None  # of its files, if the base model lies on this machine
    endpoint: str | None = None  # the service that runs the job, if not the provider's own
    parent: str | None = None  # the parent link's model to start from; None for the first link of a chain
    parent_model: str | None = None  # the parent link's model as it is asked, and the digest of its files
    parent_digest: str | None = None
    parent_key: str | None = None
    train: tuple[Export, ...]
    holdout: tuple[Export, ...]
    heldout_rows: int
    tune: Tune
    style: StyleName
    seed: int
    asked: int = 0  # number of questions, and the longest answer in tokens: they bound the cost of asking
    answer_tokens: int = 0
    too_long: TooLong | None = (
        None  # what happens to such examples; None in links from before 2026-11-26, which cut off the answer's end
    )
    course: tuple[int, int] | None = (
        None  # optimizer steps before this link, and of all links on one learning-rate schedule
    )
    retrain_days: int | None = None  # until the next model replaces this one; the base must be served until then

    @property
    def key(self) -> str:
        """32 hex digits. Links with one key are one job, and that job runs once."""
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
        """The model that the job starts from: the parent link's, or the base model.

        BackendError if the parent names none: a later link must never start from the base by accident.
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
    """The digests that identify an export's examples, as token ids and not only as text."""
    return export.digest if export.reading is None else [export.digest, export.reading]


class Job(Frozen):
    """A link that a backend is working on: what is needed to find it again, without secrets."""

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
    accuracy: float | None = None  # share of tokens that the model predicted correctly
    heldout_loss: float | None = None  # over a sample of the holdout, or at the end of an epoch over all rows sent


class Event(Frozen):
    """One message of a provider about a job, unchanged."""

    id: str
    at: str  # ISO 8601, UTC
    level: str
    message: str


class JobStatus(Frozen):
    """The state of a job now. `interrupted`: it died before its end and can be resumed at no cost.

    "succeeded" means that `model` can be asked. A job that its provider calls succeeded without naming a model
    counts as running, and after a while as failed.
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
    model: str | None = None  # URI or provider's name of the tuned model, once succeeded
    model_digest: str | None = None
    continue_from: str | None = None  # what the next link of a chain starts from, if not `model`
    error: str | None = None
    interrupted: bool = False
    held: str | None = None  # why the job will not go on unless somebody acts


class Quote(Frozen):
    """What a link will cost, before it starts. None is "unknown", never zero."""

    examples: int
    tokens: int | None
    usd_low: float | None
    usd_high: float | None  # including the answers to the link's questions
    basis: str  # source and date of the price; for local jobs: that nobody sends a bill
    tokens_high: int | None = None  # if the provider chooses the epochs, or the count is an estimate
    as_of: str | None = None  # day of the price, ISO 8601
    source: str | None = None
    exact: bool = False  # whether tokens are counted with the provider's own tokenizer
    answers_usd: float = 0.0  # part of `usd_high`: the most that the answers to the questions may cost


class Decoding(Frozen):
    """The sampling settings of an answer, used or requested."""

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
    finish: str | None = None  # why it ended, in the provider's word in lower case; None if unknown


class Backend(Protocol):
    """The verbs every backend has. SDKs are imported by the backend's own module only."""

    name: str
    paid: bool  # a create call costs money, so machines that share a ledger take turns
    poll: tuple[float, float]  # first and longest pause between two looks at a job, seconds

    def format(self, link_tune: Any) -> Format:
        """The export format that this backend reads for these hyperparameters."""

    def rendering(self, tune: Any) -> Rendering | None:
        """How the base model of `tune` is prompted; None if the provider renders conversations itself."""

    def base_digest(self, tune: Any) -> str | None:
        """The digest of the base model's files, if they lie on this machine."""

    def endpoint(self, tune: Any) -> str | None:
        """Identifies the service that runs the job; None for the provider's own, "loopback…" for a simulator."""

    def check(self, link: Link) -> list[Finding]:
        """Reasons against starting this link now; empty if there are none."""

    def quote(self, link: Link) -> Quote:
        """The cost of the link before it starts."""

    def find(self, key: str) -> Job | None:
        """Search the provider for a job of this key: a running or succeeded one, else the newest."""

    def submit(self, link: Link) -> Job:
        """Start the job: one create call, never retried. An interrupted local job resumes from its checkpoint.

        Raises NotReadyError if the provider still prepares something, LimitError if it accepts no job now, and
        TransientError if it is unknown whether it accepted the job.
        """

    def tidy(self, link: Link, job: Job | None = None) -> None:
        """Delete uploads of this link that no job uses. `job` is the link's own job, whose files stay."""

    def status(self, job: Job) -> JobStatus:
        """The state of the job. An unknown provider state counts as running. VanishedError if the job is unknown."""

    def cancel(self, job: Job) -> None:
        """Cancel the job; no error if it has ended already."""

    def prompts(self, tune: Any, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """Each conversation as `answer` would send it; prompt hashes are made from this text."""

    def parity(self, link: Link, kept: str) -> Parity | None:
        """Whether the model in folder `kept` answers like the one in training; None if that cannot be compared."""

    def answer(
        self, model: str | None, tune: Any, conversations: Sequence[Sequence[Message]], *decodings: Decoding
    ) -> list[list[Answer]]:
        """Answers to the conversations, in their order, one list for each decoding.

        `model` None asks the base model; NotServedError if no service offers it.
        """
