"""Refusals: what the errors of the OpenAI SDK mean for the lifecycle, and what a person can do about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from tasks.backends.limit import until
from tasks.errors import BackendError, LimitError, TransientError, VanishedError

NO_CREDIT = {"insufficient_quota", "exceeded_quota", "billing_hard_limit_reached", "billing_not_active"}


@contextmanager
def translated(what: str, key_variable: str) -> Iterator[None]:
    """Raise the SDK's errors as ours. `what` was being done; `key_variable` holds the key, which is never shown."""
    try:
        yield
    except openai.APIConnectionError as error:  # timeouts too
        raise TransientError(f"{what}: no answer ({type(error.__cause__ or error).__name__})") from error
    except openai.APIStatusError as error:
        raise of(error, what, key_variable) from error
    except openai.OpenAIError as error:
        raise BackendError(f"{what}: {error}") from error


def of(error: openai.APIStatusError, what: str, key_variable: str) -> BackendError:
    """Our error for an HTTP answer above 399."""
    code = error.code or str(error.status_code)
    told = f"{what}: {code} - {_message(error)}"
    told += f" (request {error.request_id})" if error.request_id else ""
    if error.status_code == 401:
        return BackendError(f"{what}: the key in {key_variable} is refused ({code}): set {key_variable} to a valid one")
    if code == "training_not_available":
        return BackendError(
            f"{what}: OpenAI takes no fine-tuning jobs from this organisation any more ({code}): use a recipe with "
            "tune.kind gemini or local, or an Azure endpoint (recipe azure-gpt-4o-mini)"
        )
    if code in NO_CREDIT:
        return BackendError(f"{told}: the account has no credit left, add some; nothing was started")
    if error.status_code == 429:
        return LimitError(told, until(error.response.headers.get("retry-after"), "daily" in told.lower()))
    if error.status_code == 404:
        return VanishedError(told)
    if error.status_code in (408, 409) or error.status_code >= 500:
        return TransientError(told)
    return BackendError(told)


def _message(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)
