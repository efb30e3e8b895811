"""Errors: translate those of the OpenAI SDK into ours, which say what a person can do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import openai

from tasks.backends import endpoint, limits
from tasks.core.errors import BackendError, LimitError, NotReadyError, ShardtuneError, TransientError, VanishedError

NO_CREDIT = {"insufficient_quota", "exceeded_quota", "billing_hard_limit_reached", "billing_not_active"}
NOT_DEPLOYED = {"DeploymentNotReady", "DeploymentNotFound"}  # Azure's answer for a while after a deployment
NOT_READY = ("not ready", "still being processed", "is being processed", "being provisioned", "not yet available")
READY_AFTER = 60.0  # seconds until the next request for something that the provider is preparing
UNKNOWN = (
    "unknown",
    "unrecogni",
    "unsupported",
    "not supported",
    "unexpected",
    "not permitted",
    "not allowed",
    "extra",
)
# What the SDK and our readers raise at an answer that has not the shape of the provider's.
MISSHAPEN = (AttributeError, TypeError, LookupError, ValueError, ArithmeticError)


@contextmanager
def translated(what: str, key_variable: str, ready_after: float = READY_AFTER) -> Iterator[None]:
    """Raise the SDK's errors as ours. `what` describes the action; `key_variable` holds the key, which is never shown.

    An answer that is not the provider's (HTML of a proxy, half a JSON, an empty object) is a TransientError.
    """
    try:
        yield
    except ShardtuneError:
        raise
    except openai.APIResponseValidationError as error:
        raise misshapen(what, error) from error
    except openai.APIConnectionError as error:  # timeouts too
        raise TransientError(f"{what}: {endpoint.unanswered(error)}") from error
    except openai.APIStatusError as error:
        raise translate(error, what, key_variable, ready_after) from error
    except openai.OpenAIError as error:
        raise BackendError(f"{what}: {error}") from error
    except MISSHAPEN as error:
        raise misshapen(what, error) from error


def misshapen(what: str, error: Exception) -> TransientError:
    """Our error for an answer that is not in the provider's format."""
    return TransientError(
        f"{what}: the answer is not in the provider's format ({type(error).__name__}): a proxy or a login page may "
        "have answered in its place"
    )


def parsed(answer: Any) -> Any:
    """`answer` itself; TypeError if it is text, which the SDK returns for a body that is not JSON."""
    if isinstance(answer, str):
        raise TypeError("a page and no JSON")
    return answer


def translate(
    error: openai.APIStatusError, what: str, key_variable: str, ready_after: float = READY_AFTER
) -> BackendError:
    """Our error for an HTTP answer above 399."""
    # A page of HTML did not come from the provider. Two codes keep their meaning: 429 (its gateway counts requests) and
    # 407 (a proxy wants a password).
    if endpoint.is_page(error.body) and error.status_code < 500 and error.status_code not in (407, 429):
        return misshapen(what, error)
    code = str(error.code or error.status_code)
    text = f"{what}: {code} - {_message(error)}"
    text += f" (request {error.request_id})" if error.request_id else ""
    if error.status_code == 401:
        return BackendError(f"{what}: the key in {key_variable} is refused ({code}): set {key_variable} to a valid one")
    if code == "training_not_available":
        return BackendError(
            f"{what}: OpenAI takes no fine-tuning jobs from this organisation any more ({code}): use a recipe with "
            "tune.kind gemini or local, or an Azure endpoint (recipe azure-gpt-4o-mini)"
        )
    if code in NO_CREDIT:
        return BackendError(f"{text}: the account has no credit left, add some; nothing was started")
    if error.status_code == 407:
        return TransientError(f"{what}: {endpoint.unanswered(ConnectionError('proxy'))}")
    if error.status_code in (400, 409, 422, 425) and any(words in text.lower() for words in NOT_READY):
        return NotReadyError(text, limits.after(ready_after))
    if error.status_code == 429:
        retry_after = error.response.headers.get("retry-after")
        return LimitError(text, limits.until(retry_after, "daily" in text.lower() or "per day" in text.lower()))
    if error.status_code == 404 or code in NOT_DEPLOYED:
        return VanishedError(text)
    if error.status_code in (408, 409, 425) or error.status_code >= 500:
        return TransientError(text)
    return BackendError(text)


def unknown(error: openai.APIStatusError, fields: Iterable[str]) -> str | None:
    """The one of the optional `fields` that the endpoint does not know; None if it refuses something else."""
    words = f"{error.message} {error.body}".lower()
    if endpoint.is_page(error.body) or not any(word in words for word in UNKNOWN):
        return None
    named = str(getattr(error, "param", None) or "").partition(".")[0]
    return next((name for name in fields if named == name or re.search(rf"\b{name}\b(?! not allowed)", words)), None)


def unavailable(error: openai.APIStatusError) -> bool:
    """Whether the endpoint says that it has no such route."""
    return error.status_code in (404, 405, 501)


def _message(error: openai.APIStatusError) -> str:
    """The provider's own words, in one line of at most 300 characters."""
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.message).split())[:300]
