"""What a provider's refusal means: wait, go elsewhere, look again, or give up; and never a key in the words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from tasks.backends import limits
from tasks.backends.openai import errors
from tasks.core.errors import BackendError, LimitError, NotReadyError, TransientError, VanishedError

REQUEST = httpx2.Request("POST", "https://provider.example/v1/fine_tuning/jobs")


def refused(status: int, code: str | None, message: str = "no", **headers: str) -> openai.APIStatusError:
    response = httpx2.Response(status, request=REQUEST, headers={"x-request-id": "req-7", **headers})
    return openai.APIStatusError(message, response=response, body={"code": code, "message": message})


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (401, "invalid_api_key", BackendError, "set MY_KEY"),
        (403, "training_not_available", BackendError, "gemini or local"),
        (429, "insufficient_quota", BackendError, "no credit"),
        (429, "rate_limit_exceeded", LimitError, "try again at"),
        (404, "not_found", VanishedError, "req-7"),
        (500, None, TransientError, "500"),
        (503, None, TransientError, "503"),
        (409, None, TransientError, "409"),
        (400, "invalid_hyperparameters", BackendError, "invalid_hyperparameters - no"),
        (400, "file_not_ready", NotReadyError, "File 'file-1' is not ready"),
        (404, "DeploymentNotFound", VanishedError, "DeploymentNotFound"),
        (407, None, TransientError, "proxy"),
    ],
)
def test_a_status_and_its_code_are_one_of_our_errors(status, code, kind, told):
    with pytest.raises(kind, match=told) as error, errors.translated("creating the job", "MY_KEY"):
        raise refused(status, code, "File 'file-1' is not ready" if code == "file_not_ready" else "no")
    assert type(error.value) is kind and str(error.value).startswith("creating the job")


def test_no_answer_is_transient():
    with pytest.raises(TransientError, match="no answer"), errors.translated("creating the job", "MY_KEY"):
        raise openai.APITimeoutError(REQUEST)


def test_a_limit_ends_when_the_provider_says_or_at_midnight():
    now = datetime.now(UTC)
    soon = datetime.fromisoformat(limits.until("90", daily=True))
    assert timedelta(seconds=88) < soon - now < timedelta(seconds=95)
    midnight = datetime.fromisoformat(limits.until(None, daily=True))
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0) and now < midnight < now + timedelta(days=1)
    assert datetime.fromisoformat(limits.until("Wed, 21 Oct", daily=False)) > now


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("99999999999999999999", 86_390, 86_410),  # a day at the most
        ("1e308", 86_390, 86_410),
        ("inf", 86_390, 86_410),
        ("-5", -5, 5),
        ("0", -5, 5),
        ("nan", 55, 65),
        ("Sun, 06 Nov 1994 08:49:37 GMT", -5, 5),  # RFC 9110's own example: it is over
        ("soon", 55, 65),
        ("in an hour", 3_590, 3_605),
    ],
)
def test_every_retry_after_is_a_time(told, least, most):
    if told == "in an hour":
        told = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = (datetime.fromisoformat(limits.until(told, daily=False)) - datetime.now(UTC)).total_seconds()
    assert least <= seconds <= most


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, TransientError), (403, TransientError), (404, TransientError), (429, LimitError), (502, TransientError)],
)
def test_a_page_is_no_refusal_of_the_provider(status, kind):
    page = "\n<!DOCTYPE html><html>Unknown method: 'seed' is not allowed</html>"
    error = openai.APIStatusError(page, response=httpx2.Response(status, request=REQUEST), body=page)
    assert type(errors.translate(error, "asking", "MY_KEY")) is kind
    assert errors.unknown(error, ["seed", "method"]) is None
    told = openai.APIStatusError("x", response=error.response, body={"message": "Unknown parameter: 'seed'"})
    assert errors.unknown(told, ["metadata", "seed"]) == "seed"
