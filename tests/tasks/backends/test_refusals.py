"""What a provider's refusal means: wait, go elsewhere, look again, or give up; and never a key in the words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2
import openai
import pytest

from tasks.backends import limit, refusals
from tasks.errors import BackendError, LimitError, TransientError, VanishedError

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
        (429, "rate_limit_exceeded", LimitError, "it may go on at"),
        (404, "not_found", VanishedError, "req-7"),
        (500, None, TransientError, "500"),
        (503, None, TransientError, "503"),
        (409, None, TransientError, "409"),
        (400, "invalid_hyperparameters", BackendError, "invalid_hyperparameters - no"),
    ],
)
def test_a_status_and_its_code_are_one_of_our_errors(status, code, kind, told):
    with pytest.raises(kind, match=told) as error, refusals.translated("creating the job", "MY_KEY"):
        raise refused(status, code)
    assert type(error.value) is kind and str(error.value).startswith("creating the job")


def test_no_answer_is_transient():
    with pytest.raises(TransientError, match="no answer"), refusals.translated("creating the job", "MY_KEY"):
        raise openai.APITimeoutError(REQUEST)


def test_a_limit_ends_when_the_provider_says_or_at_midnight():
    now = datetime.now(UTC)
    soon = datetime.fromisoformat(limit.until("90", daily=True))
    assert timedelta(seconds=88) < soon - now < timedelta(seconds=95)
    midnight = datetime.fromisoformat(limit.until(None, daily=True))
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0) and now < midnight < now + timedelta(days=1)
    assert datetime.fromisoformat(limit.until("Wed, 21 Oct", daily=False)) > now
