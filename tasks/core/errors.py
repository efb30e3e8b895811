"""All errors raised on purpose. Each message has: what happened, the value with `!r`, what to do next.

Each class is also the standard error that it replaces, so `except ValueError` keeps working.
"""

from __future__ import annotations

from typing import Any

from tasks.core.redaction import redacted


class ShardtuneError(Exception):
    """Root of all errors raised on purpose; the command line shows them as one line, secrets inside URIs redacted."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in args))


class DamagedError(ShardtuneError, ValueError):
    """A file of the state is damaged; the message names its path and what to do."""


class RecipeError(ShardtuneError, ValueError):
    """A recipe names an unknown key, a wrong type or a value out of range."""


class CatalogueError(ShardtuneError, ValueError):
    """The catalogue cannot be opened, holds no usable row, or keeps changing while it is read."""


class RunnerError(ShardtuneError, RuntimeError):
    """The cluster for data tasks is missing, or its workers would produce other bytes."""


class ExportError(ShardtuneError, ValueError):
    """An export cannot be made, or has another format, style or prompt hash than expected."""


class MissingExtraError(ShardtuneError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package!r} is not installed: run `pip install 'shardtune[{extra}]'`")


class BackendError(ShardtuneError, RuntimeError):
    """A backend refused or lost a job; the same request would fail again."""

    unclear = False  # whether the job may exist anyway; if so, its uploads must stay


class TransientError(BackendError):
    """A backend did not answer this time. Reads may be retried; the create call never is."""


class LimitError(TransientError):
    """The provider's limit is reached and nothing was started; try again after `until` (ISO 8601, UTC)."""

    def __init__(self, message: str, until: str) -> None:
        super().__init__(f"{message}; try again at {until}")
        self.until = until


class NotReadyError(LimitError):
    """The provider still prepares what the job needs (service agents, a file). Uploads stay for the next try."""


class VanishedError(BackendError):
    """The provider does not know the job."""


class NotServedError(BackendError):
    """A model is not served anywhere. If it is the base model, there are no answers from before training."""


class TrainingError(BackendError):
    """Training stopped: loss 0 or NaN, every label masked, or a chain that forgot too much."""


class ParityError(ShardtuneError, AssertionError):
    """The prompt at sampling differs from the prompt at export, so the answers would prove nothing."""


class BackupError(ShardtuneError, OSError):
    """A backup cannot be made, is damaged, or belongs to another path."""


class AnswerError(ShardtuneError, LookupError):
    """A question or a name cannot be resolved: no such model, run or product, or no index."""


class ServiceError(ShardtuneError, RuntimeError):
    """The servers and workers of this machine cannot be started."""
