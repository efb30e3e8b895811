"""Protocol: what a request may hold, and the shapes of what is sent back; OpenAI's where OpenAI has one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tasks.answers.index import Index
from tasks.answers.reply import Reply, SourceRow
from tasks.core.models import Frozen
from tasks.serving.refusals import RefusedRequest

LONGEST = 2_000  # characters of a question
Words = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
Cause = Literal["row_missing", "wrong_product", "false_claim", "poor_wording", "other"]
Name = Annotated[str, StringConstraints(max_length=200)]


class _Open(BaseModel):
    """A part of OpenAI's protocol: what is not named here is left alone."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Part(_Open):
    """A part of a message; only text can be answered."""

    type: Literal["text"]
    text: Annotated[str, StringConstraints(max_length=20_000)]


class ChatMessage(_Open):
    """One turn. Answers of before may be long; of questions the last must be at most LONGEST characters."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, StringConstraints(max_length=20_000)] | Annotated[list[Part], Field(max_length=20)]

    @property
    def text(self) -> str:
        """What was said."""
        said = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return said.strip()


class StreamOptions(_Open):
    """What a stream ends with."""

    include_usage: bool = False


class Chat(_Open):
    """A conversation that ends with a question. How words are drawn is the model's own matter: see `decoding`."""

    model: Name | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=100)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    logprobs: Literal[False] | None = None

    def questions(self) -> list[str]:
        """What the person asked, oldest first; the last is to be answered. RefusedRequest where that is none."""
        asked = [message.text for message in self.messages if message.role == "user" and message.text]
        if self.messages[-1].role != "user" or not self.messages[-1].text:
            raise RefusedRequest(
                400, "the last message must be a question of the role 'user'", "no_question", "messages"
            )
        if len(asked[-1]) > LONGEST:
            raise RefusedRequest(400, f"a question has at most {LONGEST:,} characters", "question_too_long", "messages")
        return asked


class Ask(Frozen):
    """One question; `before` are the questions of the same conversation, oldest first.

    `uid` names the row that is meant, as one of the `options` of an answer.
    """

    question: Words
    before: Annotated[tuple[Words, ...], Field(max_length=50)] = ()
    uid: Name | None = None
    model: Name | None = None


class ToVerify(Frozen):
    """An answer of any model; `uid` names its row where that is known."""

    question: Words
    answer: Annotated[str, StringConstraints(max_length=8_000)]
    uid: Name | None = None


class Verify(Frozen):
    """Answers to be checked against the catalogue of `model`."""

    cases: Annotated[list[ToVerify], Field(min_length=1, max_length=50)]
    model: Name | None = None


class Feedback(Frozen):
    """What a person thinks of an answer: whether it helped, else what is wrong with it and what would be right."""

    id: Annotated[str, StringConstraints(pattern=r"^chatcmpl-[0-9a-f]{32}$")]
    helpful: bool
    reason: Cause | None = None
    correct: Annotated[str, StringConstraints(max_length=LONGEST)] | None = None


class Option(Frozen):
    """A product that may be meant."""

    uid: str
    title: str
    url: str


class Answered(Frozen):
    """An answer as it is sent: the reply without its prompt, and what it was given by."""

    id: str
    model: str
    reply: Reply
    options: tuple[Option, ...] = ()  # where the state is `which`: what may be meant

    def told(self) -> dict[str, Any]:
        """The `shardtune` object: everything about the answer but its prompt."""
        told = self.reply.model_dump(mode="json", exclude={"messages", "steps", "model", "prompt_tokens"})
        return {"id": self.id, "model": self.model, **told, "options": [o.model_dump() for o in self.options]}


def options(reply: Reply, index: Index, url: str) -> tuple[Option, ...]:
    """The products of a `which`, with their titles."""
    rows = [row for row in map(index.by_uid, reply.which) if row]
    shown = [SourceRow.of(row, url) for row in rows]
    return tuple(Option(uid=one.uid, title=one.title, url=one.url) for one in shown)


def text(answer: Answered) -> str:
    """The answer as one text for clients that show nothing else: its words, then the quotes that they rest on."""
    reply = answer.reply
    if reply.state == "which":
        return "\n".join([reply.text, *(f"- {one.title} ({one.uid})" for one in answer.options)])
    if reply.state == "none":
        near = [f"- {row.title} ({row.uid})" for row in reply.near]
        return "\n".join([reply.text, *(["Nearest rows:", *near] if near else [])])
    quotes = [f"\u201c{q.text}\u201d\n\u2014 {q.title} ({q.uid}, line {q.line}) {q.url}" for q in reply.quotes]
    return "\n\n".join([reply.text, *quotes] if reply.state == "answered" else quotes or [reply.text])


def usage(reply: Reply) -> dict[str, int]:
    """Tokens of the model's prompt and of its words."""
    total = reply.prompt_tokens + reply.answer_tokens
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.answer_tokens, "total_tokens": total}


def completion(answer: Answered, created: int) -> dict[str, Any]:
    """A whole `chat.completion`."""
    message = {"role": "assistant", "content": text(answer), "refusal": None}
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": usage(answer.reply),
        "shardtune": answer.told(),
    }


def chunk(name: str, model: str, created: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One piece of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish", None), "logprobs": None}
    common = {"id": name, "object": "chat.completion.chunk", "created": created, "model": model}
    return {**common, "choices": [choice], **more}
