"""Answers: send conversations to a chat-completions endpoint. Each prompt is the one of its export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai

from tasks.backends import room
from tasks.backends.contract import Answer, Decoding
from tasks.backends.openai import azure, errors
from tasks.backends.shapes import whole
from tasks.core.errors import NotServedError, VanishedError
from tasks.core.models import Message
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.examples.templates import prompt_hash

if TYPE_CHECKING:
    from tasks.backends.openai.backend import OpenAI

AT_ONCE = 8  # requests on their way at the same time
RETRIES = 6  # by the SDK, on 429, 5xx and lost answers: a repeated question does no harm
FRESH = 12  # tries for a model that was just made and is not served yet
SERVED = 3  # tries for a base model
DEFAULT = 1.0  # the model's own temperature, if none may be sent


def answers(
    backend: OpenAI, model: str | None, conversations: Sequence[Sequence[Message]], decoding: Decoding
) -> list[Answer]:
    """Answers in the order of `conversations`. Deploys the model first if the endpoint needs that.

    NotServedError if the base is asked (`model` None) and not served.
    """
    if not conversations:
        return []
    name = _name(backend, model)
    client = backend.client.with_options(max_retries=RETRIES, timeout=120.0)
    # The endpoint knows no repetition penalty, so none is used and none is recorded.
    used = decoding.model_copy(update={"repetition_penalty": 1.0})
    looks = FRESH if model else SERVED

    def once(turns: Sequence[Message], drawn: Decoding) -> Answer:
        example, began = line(turns, "", "openai"), time.monotonic()
        reply = _ask(backend, client, name, example["messages"][:-1], drawn, looks)
        return reply.model_copy(
            update={"prompt_hash": prompt_hash(asked(example)), "seconds": round(time.monotonic() - began, 3)}
        )

    def one(turns: Sequence[Message]) -> Answer:
        return room.given(lambda drawn: once(turns, drawn), used)

    try:
        # The first question goes alone, so that the wait for a new model happens only once.
        first = one(conversations[0])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answered = [first, *pool.map(one, conversations[1:])]
    except VanishedError as error:
        if model:
            raise
        raise NotServedError(f"base model {name!r} is not served here ({error})") from error
    room.tell(name, answered)
    return answered


def _name(backend: OpenAI, model: str | None) -> str:
    """The name under which the model is asked. Azure serves all models under names of deployments."""
    there = backend.tune.deploy
    if there is None:
        return model or backend.tune.base_model
    if model:
        return azure.deployed(there, model, backend.poll)
    if there.base is None:
        raise NotServedError(
            f"base model {backend.tune.base_model!r} has no deployment: to ask it for comparison, deploy it and name "
            "the deployment in tune.deploy.base"
        )
    return there.base


def _ask(backend: OpenAI, client: Any, name: str, messages: list[Any], used: Decoding, looks: int) -> Answer:
    """The model's answer; the caller fills in prompt hash and seconds."""
    fields: dict[str, Any] = {"max_tokens": used.max_new_tokens, "temperature": used.temperature, "seed": used.seed}
    for attempt in range(looks):
        try:
            with backend.translated(f"asking {name!r}"):
                response = _completion(client, fields, model=name, messages=messages)
                warmth = used.temperature if "temperature" in fields else DEFAULT
                return _answer(response, name, used.model_copy(update={"temperature": warmth}))
        except VanishedError:
            if attempt == looks - 1:
                raise
            time.sleep(min(backend.poll[0] * 2**attempt, backend.poll[1]))
    raise AssertionError("unreachable")


def _completion(client: Any, fields: dict[str, Any], **asked: Any) -> Any:
    """The endpoint's answer. Removes from `fields` what it does not know, or uses the field's newer name."""
    while True:
        try:
            return client.chat.completions.create(**asked, **fields)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            unknown = errors.unknown(error, fields)
            if unknown is None:
                raise
            refused = fields.pop(unknown)
            if unknown == "max_tokens":
                fields["max_completion_tokens"] = refused


def _text(content: Any) -> str:
    """The text of an answer, which some endpoints return in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content or ""


def _answer(response: Any, name: str, used: Decoding) -> Answer:
    """The first choice of a completion; empty if a filter removed it."""
    if response.id is None and response.choices is None:
        raise TypeError("neither id nor choices")
    choice = response.choices[0] if response.choices else None
    message = choice.message if choice else None
    refusal = getattr(message, "refusal", None)
    finish = "refusal" if refusal else getattr(choice, "finish_reason", None)
    usage = getattr(response, "usage", None)
    return Answer(
        text=_text(getattr(message, "content", None)) or refusal or "",
        decoding=used,
        model_version=f"{response.model or name} {getattr(response, 'system_fingerprint', None) or ''}".strip(),
        prompt_hash="",
        prompt_tokens=whole(getattr(usage, "prompt_tokens", None)) or 0,
        answer_tokens=whole(getattr(usage, "completion_tokens", None)) or 0,
        seconds=0.0,
        finish=str(finish).lower() if finish else "no choice" if choice is None else None,
    )
