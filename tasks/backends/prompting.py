"""Prompting: conversations to a chat-completions endpoint and back, each prompt the one of its export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tasks.backends import deploy
from tasks.backends.contract import Answer, Decoding
from tasks.errors import VanishedError
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.examples.templates import prompt_hash
from tasks.models import Message

if TYPE_CHECKING:
    from tasks.backends.openai import OpenAI

AT_ONCE = 8  # requests on their way at the same time
RETRIES = 6  # of the SDK, on 429, 5xx and lost answers: asking twice does no harm
FRESH = 12  # looks for a model that was made a moment ago and is not found yet


def answers(
    backend: OpenAI, model: str | None, conversations: Sequence[Sequence[Message]], decoding: Decoding
) -> list[Answer]:
    """Answers in the order of `conversations`. Where the model must be deployed first, it is."""
    if not conversations:
        return []
    name = model or backend.tune.base_model
    if model and backend.tune.deploy:
        name = deploy.deployed(backend.tune.deploy, model, backend.poll)
    client = backend.client.with_options(max_retries=RETRIES, timeout=120.0)
    # The endpoint knows no repetition penalty, so none is used and none is recorded.
    used = decoding.model_copy(update={"repetition_penalty": 1.0})

    def one(turns: Sequence[Message]) -> Answer:
        example, began = line(turns, "", "openai"), time.monotonic()
        told = _told(backend, client, name, example["messages"][:-1], used)
        return Answer(
            text=told.choices[0].message.content or "",
            decoding=used,
            model_version=f"{told.model} {told.system_fingerprint or ''}".strip(),
            prompt_hash=prompt_hash(asked(example)),
            prompt_tokens=told.usage.prompt_tokens if told.usage else 0,
            answer_tokens=told.usage.completion_tokens if told.usage else 0,
            seconds=round(time.monotonic() - began, 3),
        )

    # The first alone: a fresh model is waited for once, not once for each question.
    first = one(conversations[0])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [first, *pool.map(one, conversations[1:])]


def _told(backend: OpenAI, client: Any, name: str, messages: list[Any], used: Decoding) -> Any:
    for attempt in range(FRESH):
        try:
            with backend._told(f"asking {name!r}"):
                return client.chat.completions.create(
                    model=name,
                    messages=messages,
                    temperature=used.temperature,
                    max_tokens=used.max_new_tokens,
                    seed=used.seed,
                )
        except VanishedError:
            if attempt == FRESH - 1:
                raise
            time.sleep(min(backend.poll[0] * 2**attempt, backend.poll[1]))
    raise AssertionError("unreachable")
