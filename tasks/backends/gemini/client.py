"""Client: google-genai for one project and location, and the translation of its errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth.exceptions
import httpx2
import requests
from google import genai
from google.genai import errors, types

from tasks.backends import endpoint, limits
from tasks.core import settings
from tasks.core.errors import BackendError, LimitError, NotReadyError, ShardtuneError, TransientError, VanishedError
from tasks.recipe.tuning import GeminiTune

CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's file"
READY_AFTER = 120.0  # seconds until the next request to a service that Google is preparing
PREPARING = ("being provisioned", "not ready", "try again in a few minutes")
# What the SDK and our readers raise at an answer that has not the shape of the service's.
MISSHAPEN = (AttributeError, TypeError, LookupError, ValueError, ArithmeticError)


def project(tune: GeminiTune) -> str:
    """The project that pays; BackendError if none is set. A key of the Gemini API does not replace it."""
    project = tune.project or os.environ.get("GOOGLE_CLOUD_PROJECT")
    if project:
        return project
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        if os.environ.get(name):
            raise BackendError(
                f"{name} is a key of the Gemini API, which has no model to tune since May 2025: use Vertex, set "
                f"GOOGLE_CLOUD_PROJECT (or tune.project) and {LOGIN}"
            )
    raise BackendError(f"no Google Cloud project is named: set GOOGLE_CLOUD_PROJECT (or tune.project), and {LOGIN}")


def credentials() -> None:
    """If the environment names no service account's file, take it from the Prefect Secret block, in memory only."""
    secret = None if os.environ.get(CREDENTIALS) else settings.secret(CREDENTIALS)
    if secret:
        handle = os.memfd_create(CREDENTIALS)  # Google's libraries accept only a path
        os.write(handle, secret.encode())
        os.environ[CREDENTIALS] = f"/proc/{os.getpid()}/fd/{handle}"


def client(tune: GeminiTune, location: str, attempts: int, seconds: int = 60) -> genai.Client:
    """A client for this location. `attempts` above 1 is only for calls that may be repeated."""
    base_url = os.environ.get("GOOGLE_VERTEX_BASE_URL") or None
    if base_url:
        endpoint.checked("GOOGLE_VERTEX_BASE_URL", base_url, CREDENTIALS)
    endpoint.trusting()
    # With a base URL the SDK ignores project and location from the environment, so they are passed.
    options = types.HttpOptions(
        base_url=base_url,
        timeout=1_000 * seconds,
        retry_options=types.HttpRetryOptions(attempts=attempts) if attempts > 1 else None,
    )
    credentials()
    with translated("opening a client"):
        return genai.Client(vertexai=True, project=project(tune), location=location, http_options=options)


@contextmanager
def translated(what: str, ready_after: float = READY_AFTER) -> Iterator[None]:
    """Raise the errors of the SDK, of its transport and of credentials as ours. `what` describes the action.

    An answer that is not the service's (HTML of a proxy, half a JSON, an empty object) is a TransientError.
    """
    try:
        yield
    except ShardtuneError:
        raise
    except google.auth.exceptions.GoogleAuthError as error:
        raise of_login(error, what) from error
    except errors.APIError as error:
        raise translate(error, what, ready_after) from error
    except (httpx2.HTTPError, requests.RequestException) as error:
        raise TransientError(f"{what}: {endpoint.unanswered(error)}") from error
    except MISSHAPEN as error:
        raise misshapen(what, error) from error


def misshapen(what: str, error: Exception) -> TransientError:
    """Our error for an answer that is not in the service's format."""
    return TransientError(
        f"{what}: the answer is not in the service's format ({type(error).__name__}): a proxy or a login page may have "
        "answered in its place"
    )


def of_login(error: google.auth.exceptions.GoogleAuthError, what: str) -> BackendError:
    """Our error for credentials: what is missing, what was refused and why, or that nobody answered.

    Google's own words are kept: a clock that is wrong and a key that was revoked have the same kind of error.
    """
    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        if named := os.environ.get(CREDENTIALS):
            return BackendError(f"{what}: {CREDENTIALS} = {named!r} cannot be used ({_words(error)}): {LOGIN}")
        return BackendError(f"{what}: there are no Google credentials: {LOGIN}")
    if isinstance(error, google.auth.exceptions.TransportError):
        return TransientError(f"{what}: the token service does not answer: {endpoint.unanswered(error)}")
    words = _words(error)
    if getattr(error, "retryable", False):
        return TransientError(f"{what}: the token service cannot answer now: {words}")
    if re.search(r"short-lived|timeframe|\biat\b|clock", words, re.IGNORECASE):
        return BackendError(
            f"{what}: the Google credentials are refused, this machine's clock is wrong ({words}): set it"
        )
    return BackendError(f"{what}: the Google credentials are refused ({words}): {LOGIN}")


def _words(error: Exception) -> str:
    """What Google says, in one line of at most 300 characters."""
    parts: list[Any] = [error.args[0] if error.args else type(error).__name__]
    if len(error.args) > 1 and isinstance(error.args[1], dict):
        parts = [error.args[1].get(name) for name in ("error", "error_description")]
    return " ".join(" - ".join(str(part) for part in parts if part).split())[:300] or type(error).__name__


def translate(error: errors.APIError, what: str, ready_after: float = READY_AFTER) -> BackendError:
    """Our error for an HTTP answer above 399."""
    message = " ".join(str(error.message or "").split())[:300]
    text = f"{what}: {error.code} {error.status or ''} - {message or 'no reason given'}"
    code = int(error.code) if str(error.code).isdigit() else 500
    # It was not the service that refused; but a gate of its own counts requests, and a proxy asks for its password.
    if endpoint.is_page(error.message) and code < 500 and code not in (407, 429):
        return misshapen(what, error)
    if code in (400, 403, 409, 412) and any(words in message.lower() for words in PREPARING):
        return NotReadyError(text, limits.after(ready_after))
    if code in (401, 403):
        return BackendError(f"{text}: {LOGIN}, and see that the account may use Vertex in this project")
    if code == 404:
        return VanishedError(text)
    if code == 429:
        headers = getattr(error.response, "headers", None) or {}
        daily = "per day" in text.lower() or "daily" in text.lower()
        return LimitError(text, limits.until(headers.get("retry-after"), daily))
    if code == 407:
        return TransientError(f"{what}: {endpoint.unanswered(ConnectionError('proxy'))}")
    if code in (408, 409, 499) or code >= 500 or code < 400:
        return TransientError(text)
    return BackendError(text)
