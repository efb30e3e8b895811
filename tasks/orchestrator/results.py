"""Results: Prefect stores task results as JSON with a digest, under one kind of cache key. Pickles are refused.

A stored result says itself how to read it, by default as a pickle. So an account that can write to the storage could
run code in every worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NoReturn

from prefect.context import TaskRunContext
from prefect.serializers import JSONSerializer, PickleSerializer
from pydantic import Field
from pydantic_core import to_jsonable_python

from tasks.core import store


class Sealed(JSONSerializer[Any]):
    """JSON after its digest. Damaged data raises ValueError, and Prefect then runs the task again."""

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


# Results name classes by their modules. Raise LAYOUT when such a class moves, so that no older result is read.
LAYOUT = 2
KEPT: dict[str, Any] = {"persist_result": True, "result_serializer": Sealed()}


def cached(*versions: Any, decides: Callable[[Any], list[Any]] = lambda parameters: [parameters]) -> dict[str, Any]:
    """Arguments of `prefect.task` for a task whose result is cached by its name, `versions` and its parameters.

    Not Prefect's own policy: that hashes pickles, and the source of a wrapper instead of that of the wrapped function.
    `decides` selects the part of the parameters (as JSON values) that decides the result.
    """

    def key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        return store.digest_of([context.task.name, *versions, *decides(to_jsonable_python(parameters))])

    return {"cache_key_fn": key, **KEPT}


def _refuse(self: object, blob: bytes) -> NoReturn:
    raise ValueError(
        "a result in Prefect's storage is a pickle, which may run code: remove it, it is made again as JSON"
    )


PickleSerializer.loads = _refuse  # type: ignore[assignment]
