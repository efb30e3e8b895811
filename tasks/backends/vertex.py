"""Vertex: clients of google-genai for one project and place, and its errors in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import google.auth.exceptions
import httpx2
from google import genai
from google.genai import errors, types

from tasks import settings
from tasks.backends.limit import until
from tasks.errors import BackendError, LimitError, TransientError, VanishedError
from tasks.tuning import GeminiTune

CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's file"


def project(tune: GeminiTune) -> str:
    """The project that pays; BackendError where none is named, a key of the Gemini API being of no use."""
    found = tune.project or os.environ.get("GOOGLE_CLOUD_PROJECT")
    if found:
        return found
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        if os.environ.get(name):
            raise BackendError(
                f"{name} is a key of the Gemini API, which has no model to tune since May 2025: use Vertex, set "
                f"GOOGLE_CLOUD_PROJECT (or tune.project) and {LOGIN}"
            )
    raise BackendError(f"no Google Cloud project is named: set GOOGLE_CLOUD_PROJECT (or tune.project), and {LOGIN}")


def credentials() -> None:
    """Where the environment names no service account's file, take it from the Prefect Secret block, in memory only."""
    told = None if os.environ.get(CREDENTIALS) else settings.secret(CREDENTIALS)
    if told:
        handle = os.memfd_create(CREDENTIALS)  # Google's libraries want a path
        os.write(handle, told.encode())
        os.environ[CREDENTIALS] = f"/proc/{os.getpid()}/fd/{handle}"


def client(tune: GeminiTune, location: str, attempts: int, seconds: int = 60) -> genai.Client:
    """A client for this place. `attempts` above 1 is for what does no harm when it is done twice."""
    # With a base URL of its own the SDK forgets a project and place that come from the environment.
    options = types.HttpOptions(
        base_url=os.environ.get("GOOGLE_VERTEX_BASE_URL"),
        timeout=1_000 * seconds,
        retry_options=types.HttpRetryOptions(attempts=attempts) if attempts > 1 else None,
    )
    credentials()
    with translated("opening a client"):
        return genai.Client(vertexai=True, project=project(tune), location=location, http_options=options)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the errors of the SDK, of its transport and of credentials as ours. `what` was being done."""
    try:
        yield
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise BackendError(f"{what}: there are no Google credentials: {LOGIN}") from error
    except google.auth.exceptions.TransportError as error:
        raise TransientError(f"{what}: the token service does not answer") from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise BackendError(f"{what}: the Google credentials are refused: {LOGIN}") from error
    except errors.APIError as error:
        raise of(error, what) from error
    except httpx2.HTTPError as error:
        raise TransientError(f"{what}: no answer ({type(error).__name__})") from error


def of(error: errors.APIError, what: str) -> BackendError:
    """Our error for an HTTP answer above 399."""
    told = f"{what}: {error.code} {error.status} - {error.message}"
    if error.code in (401, 403):
        return BackendError(f"{told}: {LOGIN}, and see that the account may use Vertex in this project")
    if error.code == 404:
        return VanishedError(told)
    if error.code == 429:
        headers = getattr(error.response, "headers", {})
        return LimitError(told, until(headers.get("retry-after"), "per day" in told or "daily" in told.lower()))
    if error.code in (408, 409, 499) or error.code >= 500:
        return TransientError(told)
    return BackendError(told)
