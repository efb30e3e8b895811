"""What crosses a task boundary: small frozen records of URIs, digests and counts. Never tables or clients."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.core.choices import Format as Format
from tasks.core.choices import StyleName as StyleName

Split = Literal["train", "holdout", "reserved"]


class Frozen(BaseModel):
    """Immutable and strict about its keys; `model_dump(mode="json")` is its stable wire form."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(Frozen):
    """One result of a check before anything is spent."""

    rule: str
    level: Literal["error", "warning"]
    message: str
    line: int | None = None  # of the export, counted from 1
    uid: str | None = None
    file: str | None = None  # the training file, where a person named it


class Message(Frozen):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Shard(Frozen):
    """A run of consecutive catalogue lines: bytes `start` to `end` of `uri`, known by the SHA-256 of those bytes."""

    index: int
    uri: str
    start: int
    end: int
    first_line: int  # 1-based number, in the catalogue, of the shard's first line
    lines: int
    digest: str
    fields: str = Field("", exclude_if=lambda told: not told)  # a digest of the mapping, where the catalogue has one

    @property
    def identity(self) -> str:
        """What the shard is known by: its bytes, and what is read of them."""
        return self.known(self.digest)

    def known(self, digest: str) -> str:
        """The identity that these bytes would have here."""
        return hashlib.sha256(f"{digest} {self.fields}".encode()).hexdigest() if self.fields else digest


class Plan(Frozen):
    """A catalogue cut into shards. `cut` is true where the last line breaks off in the middle.

    `left` names files beside the catalogue that are no part of it: of tests, of labels, of other splits.
    """

    catalogue: str
    lines: int
    bytes: int
    cut: bool
    shards: tuple[Shard, ...]
    left: tuple[str, ...] = ()

    def first(self, many: int | None) -> Plan:
        """The plan of the first so many shards; None means all."""
        if many is None or many >= len(self.shards):
            return self
        kept = self.shards[:many]
        counted = {"lines": sum(s.lines for s in kept), "bytes": sum(s.end - s.start for s in kept), "cut": False}
        return self.model_copy(update={"shards": kept} | counted)


class CleanShard(Frozen):
    """A shard's kept rows as Parquet (uid, title, content, line, row_hash, split), and where all others went.

    `lines == kept + sum(dropped.values()) + quarantined` always holds.
    """

    index: int
    uri: str
    digest: str  # SHA-256 of the Parquet file
    source: str  # identity of the shard it was made from
    lines: int
    kept: int
    dropped: dict[str, int]
    quarantined: int
    quarantine_uri: str | None
    splits: dict[Split, int]
    reasons: dict[str, int] = {}  # quarantined lines by rule
    mended: dict[str, int] = {}  # rows changed by a rule that mends damage, kept or not


class Export(Frozen):
    """One shard's examples of one split, in one format and style, as JSON lines.

    `rows_uri` is a Parquet file that runs beside it: example number n comes from row n (uid, line, row_hash,
    tokens). `tokens` is None where no tokenizer was named; `truncated` counts examples longer than `max_length`.
    """

    shard: int
    format: Format
    style: StyleName
    split: Split
    uri: str
    rows_uri: str
    examples: int
    tokens: int | None
    truncated: int | None
    digest: str
    tokens_high: int | None = None  # the most that `tokens` may be, where they are an estimate
    reading: str | None = None  # where its lines are read as other tokens than before 2026-11-26: a digest of how
    rows_digest: str = ""  # of the file at `rows_uri`; unknown where an older version made it
    corrections: int = Field(0, exclude_if=lambda many: not many)  # its last examples, which people gave


class Prepared(Frozen):
    """The result of the flow `prepare`: the counts add up, over all shards."""

    catalogue: str
    lines: int
    kept: int
    dropped: dict[str, int]
    quarantined: int
    cut: bool
    shards: tuple[CleanShard, ...]
    exports: tuple[Export, ...]
    mended: dict[str, int] = {}
    made: int  # shards worked on in this run; 0 when everything was served from caches
    reasons: dict[str, int] = {}  # quarantined lines by rule
    left: tuple[str, ...] = ()  # files beside the catalogue that are no part of it


class CatalogueReport(Frozen):
    """The result of the flow `report`: where its page is, and the counts on it."""

    page: str
    catalogue: str
    lines: int
    kept: int
    dropped: dict[str, int]  # lines by rule
    quarantined: dict[str, int]  # lines by rule
    drift: str | None  # of the last shards, in words; None where there are too few
    mlflow_run_id: str | None  # the newest run of the recipe's chain, which has the page too


class ExamAnswers(Frozen):
    """One question with its answers; `_t0` are those at temperature 0 (or what the provider makes of it)."""

    group: Literal["seen", "unseen"]
    uid: str
    line: int
    question: str
    content: str
    before: str
    after: str
    before_t0: str
    after_t0: str


class Parity(Frozen):
    """Whether the adapter that was kept answers as the model in training did.

    `same` of `asked` answers are the same, token for token. `merged` is the mean distance (Kullback-Leibler, nats a
    token) of the merged model's predictions from the unmerged one's, on those answers; `bound` is what it may be.
    """

    asked: int
    same: int
    merged: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.same == self.asked and self.merged <= self.bound

    @property
    def summary(self) -> str:
        """What was found, as a sentence."""
        return (
            f"the adapter read back gives {self.same} of {self.asked} answers token for token as the model in training "
            f"did; merged into its base its predictions move by {self.merged:.4f} nats a token (bound {self.bound:g})"
        )


class Promotion(Frozen):
    """What the gate decided of a registered model, and why. `comparison` is the MLflow run with the verdicts.

    `evidence` is the least that there is over any of the others, `needed` what was enough; both are e-values, and None
    in records of older versions.
    """

    version: str  # NAME/VERSION
    alias: Literal["champion", "challenger"]
    reason: str
    comparison: str
    evidence: float | None = None
    needed: float | None = None


class Finetuned(Frozen):
    """The result of the flow `finetune`. `scores` is {group: {arm: {metric: mean}}}; `cost` is in US dollars."""

    key: str
    state: str
    job: str
    mlflow_run_id: str
    model: str | None
    heldout_loss: dict[str, float | None]
    scores: dict[str, dict[str, dict[str, float]]]
    cost: dict[str, int | float | str | None]
    steps: int
    trained: bool  # False where this run found the job already done and recorded
    answers: tuple[ExamAnswers, ...]
    decodings: dict[str, dict[str, Any]] = {}  # {arm: how its answers were really drawn, and by which model version}
    model_digest: str | None = None  # tells the model from others of the same name
    continue_from: str | None = None  # what a next link starts from, where that is not `model`
    simulated: str | None = None  # what stood in for a provider; its numbers are nobody's
    parity: Parity | None = None  # of the adapter in MLflow with the model in training; None for a provider's model
    promotion: Promotion | None = None  # where the gate was asked
    notes: tuple[str, ...] = ()  # what a person must know of the training
    watched: float = 0.0  # seconds that this run waited for the job


class Waiting(Frozen):
    """A last shard that is not trained on yet, since it is still filling."""

    shard: int
    lines: int
    why: str
    until: str | None  # ISO 8601, UTC; None where only more lines help


class Retrained(Frozen):
    """The result of the flow `retrain`. `detail` says in a sentence what was done, or why nothing was."""

    chain: str
    new: tuple[int, ...]  # shards that this run trained on, or started to
    waiting: Waiting | None
    results: tuple[Finetuned, ...]  # a link each, in order
    last: Finetuned | None  # what the chain goes on from
    seconds: float  # of this run, without those that it waited for jobs
    detail: str


class Checked(Frozen):
    """What a check found. `counts` is {rule: number}, always whole; `findings` are at most the first of each rule."""

    links: int
    examples: int
    errors: int
    warnings: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    quarantined: int = 0  # examples left out by --fix
    fixed: tuple[str, ...] = ()  # training files that --fix wrote, without those


class Rehearsed(Frozen):
    """The last link's result of every recipe that was rehearsed."""

    results: tuple[Finetuned, ...]


class Swept(Frozen):
    """What a sweep found of one open job; `concluded` where its MLflow run has ended by it."""

    key: str
    state: str
    concluded: bool
    detail: str = ""
