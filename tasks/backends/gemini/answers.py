"""Answers: send conversations to a Gemini model. Each prompt is the one of its export."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.genai import types

from tasks.backends import room
from tasks.backends.contract import Answer, Decoding
from tasks.backends.gemini import client as vertex
from tasks.core.errors import BackendError, LimitError, NotServedError, TransientError, VanishedError
from tasks.core.models import Message
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.examples.templates import prompt_hash
from tasks.recipe.tuning import GeminiTune

AT_ONCE = 8  # requests on their way at the same time
ATTEMPTS = 6  # by the SDK, on 429 and 5xx: a repeated question does no harm
FRESH = 12  # tries for an endpoint that was just made and is not served yet
SERVED = 3  # tries for a base model
DEFAULT = 1.0  # the temperature of Gemini 3 if none is sent


def answers(
    tune: GeminiTune,
    model: str | None,
    conversations: Sequence[Sequence[Message]],
    decoding: Decoding,
    poll: tuple[float, float],
) -> list[Answer]:
    """Answers in the order of `conversations`. A base for us-central1 or europe-west4 is served from us or eu."""
    if not conversations:
        return []
    name = model or tune.base_model
    client = vertex.client(tune, _location(name, tune), ATTEMPTS, seconds=120)

    def once(turns: Sequence[Message], drawn: Decoding) -> Answer:
        example, began = line(turns, "", "gemini"), time.monotonic()
        reply = _ask(client, name, example, drawn, poll, FRESH if model else SERVED)
        return reply.model_copy(
            update={"prompt_hash": prompt_hash(asked(example)), "seconds": round(time.monotonic() - began, 3)}
        )

    def one(turns: Sequence[Message]) -> Answer:
        return room.given(lambda drawn: once(turns, drawn), decoding)

    try:
        answered = _all(one, conversations)
    except VanishedError as error:
        if model:
            raise
        raise NotServedError(f"base model {name!r} is not served here ({error})") from error
    room.tell(name, answered)
    return answered


def _location(name: str, tune: GeminiTune) -> str:
    """The serving location: for an endpoint the one in its name, for a base the multi-region of its tuning."""
    own = re.search(r"/locations/([a-z0-9-]+)/", name)
    return own[1] if own else tune.location.partition("-")[0].replace("europe", "eu")


def _all(one: Callable[[Sequence[Message]], Answer], conversations: Sequence[Sequence[Message]]) -> list[Answer]:
    # The first question goes alone, so that the wait for a new endpoint happens once and not for each question.
    first = one(conversations[0])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [first, *pool.map(one, conversations[1:])]


def _ask(
    client: Any, name: str, example: dict[str, Any], decoding: Decoding, poll: tuple[float, float], most: int
) -> Answer:
    """The model's answer; the caller fills in prompt hash and seconds."""
    variants, looks = list(_configs(example, decoding)), 0
    while True:
        config, used = variants[0]
        try:
            with vertex.translated(f"asking {name!r}"):
                contents = example["contents"][:-1]
                response = client.models.generate_content(model=name, contents=contents, config=config)
                return _answer(response, name, used)
        except VanishedError:
            looks += 1
            if looks == most:
                raise
            time.sleep(min(poll[0] * 2**looks, poll[1]))
        except (TransientError, LimitError):
            raise
        except BackendError as error:
            if " 400 " not in str(error) or len(variants) == 1:
                raise
            variants.pop(0)


def _answer(response: Any, name: str, used: Decoding) -> Answer:
    """The first candidate of a response; empty if thinking used all tokens or a filter removed it."""
    if not (response.candidates or response.prompt_feedback or response.usage_metadata or response.model_version):
        raise ValueError("nothing in it")
    candidate = response.candidates[0] if response.candidates else None
    parts = (candidate.content.parts if candidate and candidate.content else None) or ()
    finish = candidate.finish_reason if candidate else getattr(response.prompt_feedback, "block_reason", None)
    finish = getattr(finish, "value", finish)
    counted = response.usage_metadata
    return Answer(
        text="".join(part.text for part in parts if part.text and not part.thought),
        decoding=used,
        model_version=f"{name} {response.model_version or ''}".strip(),
        prompt_hash="",
        prompt_tokens=(counted.prompt_token_count if counted else None) or 0,
        answer_tokens=(counted.candidates_token_count if counted else None) or 0,
        seconds=0.0,
        finish=str(finish).lower() if finish else "no choice" if candidate is None else None,
    )


def _configs(example: dict[str, Any], decoding: Decoding) -> Iterator[tuple[Any, Decoding]]:
    """Request settings to try in this order, each with the decoding that it stands for.

    Google recommends little thinking for tuned models, and advises against temperatures below 1 for Gemini 3. Later
    models accept no temperature: then none is sent, and the decoding records the default.
    """
    system = example.get("systemInstruction")
    common = {"system_instruction": system, "max_output_tokens": decoding.max_new_tokens, "seed": decoding.seed}
    little = types.ThinkingConfig(thinking_level=types.ThinkingLevel.MINIMAL)
    used = decoding.model_copy(update={"repetition_penalty": 1.0})  # the service has no such penalty
    given: dict[str, Any] = {"temperature": decoding.temperature}
    for more, warning in (
        ({**given, "thinking_config": little}, used),
        (given, used),
        ({}, used.model_copy(update={"temperature": DEFAULT})),
    ):
        yield types.GenerateContentConfig(**common, **more), warning
