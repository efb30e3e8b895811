"""Reply: what a person gets for a question, and whom it was asked."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from pydantic import Field

from tasks.answers.claims import Claim, Quote
from tasks.answers.index import IndexedRow
from tasks.backends.contract import Decoding
from tasks.core.models import Frozen, Message, StyleName
from tasks.examples.grounding import clip
from tasks.examples.styles import SHOWN
from tasks.recipe.tuning import LocalTune, Tune

State = Literal["answered", "quoted", "which", "none"]


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


NOBODY = "no model"


def nobody(tune: Tune | None, style: StyleName) -> Target:
    """What stands for a model where none is tuned yet: rows are quoted, and nothing is asked."""
    return Target(name=NOBODY, tune=tune or LocalTune(base_model=NOBODY), style=style)


class SourceRow(Frozen):
    """The row that an answer is checked by."""

    uid: str
    title: str
    line: int  # of the catalogue, counted from 1
    shard: int
    digest: str  # of the clean shard
    url: str
    quote: str  # the head of its content, in whole sentences
    facts: dict[str, str] = Field({}, exclude_if=lambda facts: not facts)  # what `catalogue.fields.facts` carries

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


class Quoted(Frozen):
    """A sentence of a row, verbatim: `start` to `end` of the content of the row at `line` of the catalogue."""

    uid: str
    title: str
    line: int
    start: int
    end: int
    text: str
    url: str

    @classmethod
    def of(cls, found: Quote, row: IndexedRow, url: str) -> Quoted:
        """The quote with the row that it is from; `url` is a pattern with `{uid}`."""
        held = {name: getattr(row, name) for name in ("uid", "title", "line")}
        return cls(url=url.replace("{uid}", quote(row.uid, safe="")), **held, **found.model_dump())


class Reply(Frozen):
    """One answer. `answered`: every claim of the model's words holds and is to the point; `quotes` stand beside them.

    `quoted`: they do not hold (`problems` says what), or no model was asked: `text` is the quotes alone, and the
    model's words are in `said`. `which`: one of the products `which` may be meant. `none`: no row fits, or the model
    said that none does; `near` are the nearest rows, best first. `prompt_hash` is None where no model was asked.
    """

    question: str
    state: State
    text: str
    source: SourceRow | None = None
    quotes: tuple[Quoted, ...] = ()
    which: tuple[str, ...] = ()  # uids
    claims: tuple[Claim, ...] = ()
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
