"""Reply: what a person gets for a question, and whom it was asked."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from tasks.answers.index import IndexedRow
from tasks.backends.contract import Decoding
from tasks.core.models import Frozen, Message, StyleName
from tasks.examples.grounding import clip
from tasks.examples.styles import SHOWN
from tasks.recipe.tuning import Tune

State = Literal["supported", "unsupported", "abstained"]


class Target(Frozen):
    """A model that can be asked: the un-tuned base of `tune` (`model` None), or what a link made of it."""

    name: str  # as it was asked for: base, run:…, a key, champion, NAME@champion, NAME/2
    tune: Tune
    style: StyleName  # that it was tuned in; how a base is asked
    model: str | None = None
    digest: str | None = None
    endpoint: str | None = None
    key: str | None = None  # of the link
    run_id: str | None = None
    version: str | None = None  # in the registry, as NAME/2
    simulated: str | None = None  # what stood in for its provider


class SourceRow(Frozen):
    """The row that an answer is checked by."""

    uid: str
    title: str
    line: int  # of the catalogue, counted from 1
    shard: int
    digest: str  # of the clean shard
    url: str
    quote: str  # the head of its content, in whole sentences

    @classmethod
    def of(cls, row: IndexedRow, url: str) -> SourceRow:
        """The row as a source; `url` is a pattern with `{uid}`."""
        held = {name: getattr(row, name) for name in ("uid", "title", "line", "shard", "digest")}
        return cls(url=url.replace("{uid}", quote(row.uid, safe="")), quote=clip(row.content, SHOWN), **held)


class ReplyStep(Frozen):
    """One step of an answer and when it was taken, in nanoseconds since 1970."""

    name: Literal["retrieve", "prompt", "generate", "check"]
    start: int
    end: int


class Reply(Frozen):
    """One answer. `supported`: every claim of it stands in `source`, which is the product asked about.

    `unsupported`: `problems` says what does not hold. `abstained`: no row fits, or the model said that none does;
    `near` are the nearest rows, best first. `prompt_hash` is None where no model was asked.
    """

    question: str
    state: State
    text: str
    source: SourceRow | None = None
    problems: tuple[str, ...] = ()
    near: tuple[SourceRow, ...] = ()
    style: StyleName
    model: str  # name of the target
    messages: tuple[Message, ...] = ()  # the prompt as a conversation
    model_version: str = ""
    said: str = ""  # the model's own words, its citation included
    decoding: Decoding | None = None
    prompt_hash: str | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0  # of the model
    steps: tuple[ReplyStep, ...] = ()


class Replied(Frozen):
    """The result of the flow `ask`: one reply a question, in order."""

    target: Target
    catalogue: str
    replies: tuple[Reply, ...]
