"""Account: may it tune this base at OpenAI today, and will the model be served for as long as it is needed?"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

import openai

from tasks.backends import offers, uploads
from tasks.backends.contract import Link
from tasks.backends.openai import errors
from tasks.core.errors import BackendError, LimitError, TransientError, VanishedError
from tasks.core.models import Finding

if TYPE_CHECKING:
    from tasks.backends.openai.backend import OpenAI


def findings(backend: OpenAI, link: Link) -> list[Finding]:
    """What speaks against this link now. Nothing is uploaded; BackendError for a missing or refused key."""
    _ = backend.client  # a BackendError where there is no key
    needed, listed = offers.needed_until(link), uploads.findings(link, "openai")
    if there := offers.section(backend.tune):
        listed += offers.findings(there, link.base_model, offers.today(), needed, backend.tune.prices)
    if any(f.level == "error" for f in listed):
        return listed
    base = link.parent or link.base_model
    try:
        ends = _shut_down(backend, base)
    except VanishedError:
        message = f"model {base!r} is not offered to this account: check its name and the account's permissions"
        return [*listed, Finding(rule="model", level="error", message=message)]
    if ends and ends <= (needed or offers.today()):
        message = f"model {base!r} is shut down on {ends}: choose another base model"
        listed.append(Finding(rule="serving end", level="error", message=message))
    refused = _refused(backend) if backend.official else None
    return [*listed, refused] if refused else listed


def _shut_down(backend: OpenAI, base: str) -> date | None:
    """The day on which the model is shut down, where the endpoint tells one.

    VanishedError where the endpoint lists its models and this is none of them. An endpoint without these routes, or one
    that lists models under other names than it tunes them by, says nothing.
    """
    with backend.translated(f"asking for model {base!r}"):
        try:
            ends = getattr(errors.parsed(backend.client.models.retrieve(base)), "shutdown_date", None)
        except openai.APIStatusError as error:
            if not errors.unavailable(error):
                raise
            if backend.official and _lists(backend):
                raise
            return None
        with suppress(ValueError):  # told in words, which say nothing to us
            return date.fromisoformat(ends[:10]) if isinstance(ends, str) else None
        return None


def _lists(backend: OpenAI) -> bool:
    """Whether the endpoint lists its models."""
    try:
        return bool(backend.client.models.list().data)
    except openai.APIStatusError as error:
        if errors.unavailable(error):
            return False
        raise


def _refused(backend: OpenAI) -> Finding | None:
    """Whether the account may not even see its jobs. Only a create call tells whether it may make one, and a question
    must never be able to make a paid job: so a refusal comes after the upload, which is then removed."""
    try:
        with backend.translated("asking whether this account may tune"):
            backend.client.fine_tuning.jobs.list(limit=1)
    except (LimitError, TransientError, VanishedError):
        return None  # the real call will tell
    except BackendError as error:
        return Finding(rule="account", level="error", message=str(error))
    return None
