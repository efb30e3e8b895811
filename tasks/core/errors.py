"""Every error a person may meet: what happened, the value with `!r`, what to do next.

One root, and each child also is the standard error it replaces, so `except ValueError` keeps working.
"""

from __future__ import annotations

from typing import Any

from tasks.core.redaction import redacted


class ShardtuneError(Exception):
    """Root of all errors raised on purpose; the command line shows them as one line, secrets inside URIs redacted."""

    def __init__(self, *told: Any) -> None:
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in told))


class DamagedError(ShardtuneError, ValueError):
    """State on disk is not as it was written; the message names its path and what to do."""


class RecipeError(ShardtuneError, ValueError):
    """A recipe names an unknown key, a wrong type or a value out of range."""


class CatalogueError(ShardtuneError, ValueError):
    """The catalogue cannot be opened, holds no usable row, or keeps changing while it is read."""


class RunnerError(ShardtuneError, RuntimeError):
    """The cluster for data tasks is not there, or its workers would make other bytes."""


class ExportError(ShardtuneError, ValueError):
    """An export cannot be made or does not say what it should (format, style, prompt hash)."""


class MissingExtraError(ShardtuneError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package!r} is not installed: run `pip install 'shardtune[{extra}]'`")


class BackendError(ShardtuneError, RuntimeError):
    """A backend refused or lost a job; retrying as it is will not help."""

    unclear = False  # whether a job may be there all the same: then nothing that it needs is removed


class TransientError(BackendError):
    """A backend did not answer this time; reads may be retried, the create call never is."""


class LimitError(TransientError):
    """The provider's limit is reached: nothing was started, and something may be after `until` (ISO 8601, UTC)."""

    def __init__(self, message: str, until: str) -> None:
        super().__init__(f"{message}; it may go on at {until}")
        self.until = until


class NotReadyError(LimitError):
    """The provider still prepares what the job needs (its service agents, a file): uploads stay for the next try."""


class VanishedError(BackendError):
    """The provider does not know the job."""


class NotServedError(BackendError):
    """A model is served nowhere; where it is the base, there are no answers from before the training."""


class TrainingError(BackendError):
    """Training stopped for a reason found in the numbers: loss 0 or NaN, or every label masked."""


class ParityError(ShardtuneError, AssertionError):
    """The prompt at sampling is not the prompt at export: the answers would prove nothing."""


class BackupError(ShardtuneError, OSError):
    """A backup cannot be made, is damaged, or does not belong where it is to be put."""


class AnswerError(ShardtuneError, LookupError):
    """There is no index to look in, or it cannot be opened."""


class ServiceError(ShardtuneError, RuntimeError):
    """The servers and workers of this machine cannot be started."""
