"""Secrets of the Prefect server, read only by the process that needs one.

`OPENAI_API_KEY` is the Secret block `openai-api-key`, and so on for every variable. The environment goes first. A value
is handed to the SDK that asked, and is never a parameter, a result, a log line or a variable of a child process.
"""

from __future__ import annotations

from typing import Any, cast

from prefect.blocks.system import Secret
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from tasks.core.errors import BackendError


def block(variable: str) -> str:
    """The name of the Secret block that stands for this variable."""
    return variable.lower().replace("_", "-")


def read(variable: str) -> str | None:
    """The value of the Secret block of this variable; None where there is none, or no server is available."""
    if not (FlowRunContext.get() or TaskRunContext.get() or PREFECT_API_URL.value()):
        return None  # a request would start a server
    try:
        # _sync: in a notebook, where a loop runs, it would be a coroutine; get() would parse JSON
        value = cast(Any, Secret).load(block(variable), _sync=True).value.get_secret_value()
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise
    if not isinstance(value, str):  # Prefect hides text alone: the parts of an object are shown to whoever may read
        raise BackendError(
            f"Secret block {block(variable)!r} is a {type(value).__name__!r}, which Prefect shows to whoever may read: "
            "save it again as text (a service account's file as it is), and make a new key"
        )
    return value
