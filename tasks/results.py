"""Results: what Prefect keeps of a task is JSON. A pickle that lies among its results is not opened.

A result's own record says how it is to be read, and by default that is a pickle: whoever could write into the storage
would run code in every worker.
"""

from __future__ import annotations

from typing import Any, NoReturn

from prefect.serializers import PickleSerializer

KEPT: dict[str, Any] = {"persist_result": True, "result_serializer": "json"}


def _refuse(self: object, blob: bytes) -> NoReturn:
    raise ValueError(
        "a result in Prefect's storage is a pickle, which may run code: remove it, it is made again as JSON"
    )


PickleSerializer.loads = _refuse  # type: ignore[assignment]
