"""Results: what Prefect keeps of a task is JSON with its digest. A pickle that lies among its results is not opened.

A result's own record says how it is to be read, and by default that is a pickle: whoever could write into the storage
would run code in every worker.
"""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from prefect.serializers import JSONSerializer, PickleSerializer
from pydantic import Field


class Sealed(JSONSerializer[Any]):
    """JSON after the digest of it. What is damaged raises ValueError, and Prefect takes it for absent."""

    type: str = Field(default="sealed-json", frozen=True)

    def dumps(self, obj: Any) -> bytes:
        data = super().dumps(obj)
        return _digest(data) + b"\n" + data

    def loads(self, blob: bytes) -> Any:
        digest, _, data = blob.partition(b"\n")
        if digest != _digest(data):
            raise ValueError("a result in Prefect's storage is not as it was written")
        return super().loads(data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:32].encode()


# Results name the classes of what they hold by their modules: raise it when one moves, and no older result is read.
LAYOUT = 2
KEPT: dict[str, Any] = {"persist_result": True, "result_serializer": Sealed()}


def _refuse(self: object, blob: bytes) -> NoReturn:
    raise ValueError(
        "a result in Prefect's storage is a pickle, which may run code: remove it, it is made again as JSON"
    )


PickleSerializer.loads = _refuse  # type: ignore[assignment]
