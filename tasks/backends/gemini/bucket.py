"""Bucket: the files that a tuning job reads and writes in Google Cloud Storage."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import gcsfs
import google.auth.exceptions
import requests
from gcsfs.retry import HttpError

from tasks.backends import endpoint
from tasks.backends.contract import LossPoint
from tasks.backends.gemini.client import MISSHAPEN, credentials, misshapen, of_login
from tasks.backends.uploads import Upload
from tasks.core import redaction
from tasks.core.errors import BackendError, RecipeError, ShardtuneError, TransientError
from tasks.recipe import allowed
from tasks.recipe.tuning import GeminiTune


def folder_of(tune: GeminiTune) -> str:
    """The gs:// folder for uploads; BackendError if none is set."""
    uri = tune.bucket or os.environ.get("SHARDTUNE_BUCKET")
    if not uri or not uri.startswith("gs://"):
        raise BackendError(
            f"no bucket is named (it is {uri!r}): Vertex reads training data from Cloud Storage only, set "
            "tune.bucket or SHARDTUNE_BUCKET to gs://BUCKET/FOLDER"
        )
    if refused := redaction.refusal("tune.bucket", uri):
        raise RecipeError(refused)
    allowed.check("tune.bucket", uri, os.environ.get("SHARDTUNE_BUCKET"))
    return uri.rstrip("/")


def put(upload: Upload, folder: str) -> str:
    """Write the upload, whole or not at all, unless an object of its name and size exists. Returns its URI."""
    uri = f"{folder}/{upload.name}"
    with _translated(f"sending {upload.name!r} to {folder!r}"), upload.opened() as stream:
        files = _files()
        size = stream.seek(0, os.SEEK_END)
        if files.exists(uri) and files.size(uri) == size:
            return uri
        stream.seek(0)
        with files.open(uri, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 22)
    return uri


def there(stem: str, folder: str) -> list[str]:
    """URIs of the objects whose names begin with `stem`."""
    with _translated(f"looking into {folder!r}"):
        return sorted(f"gs://{name}" for name in _files().find(folder, prefix=stem))


def remove(uris: list[str]) -> None:
    """Delete these objects."""
    for uri in uris:
        with _translated(f"removing {uri!r}"):
            _files().rm_file(uri)


def reachable(folder: str) -> None:
    """BackendError where the bucket cannot be listed."""
    bucket = folder.removeprefix("gs://").partition("/")[0]
    with _translated(f"looking into bucket {bucket!r}"):
        _files().ls(bucket)


def losses(folder: str) -> tuple[LossPoint, ...]:
    """Loss points from JSON lines that the service may have left; none if it left nothing readable."""
    points: dict[int, LossPoint] = {}
    with _translated(f"reading metrics of {folder!r}"):
        files = _files()
        for name in files.find(folder) if files.exists(folder) else ():
            for raw in files.cat_file(name).splitlines() if name.endswith((".json", ".jsonl")) else ():
                if point := _point(raw):
                    points[point.step] = point
    return tuple(points[step] for step in sorted(points))


def _point(raw: bytes) -> LossPoint | None:
    try:
        line: dict[str, Any] = json.loads(raw)
        loss = next(v for k, v in line.items() if k.endswith("train_total_loss"))
        heldout = next((v for k, v in line.items() if k.endswith("eval_total_loss")), None)
        return LossPoint(step=int(line["step"]), epoch=line.get("epoch"), loss=float(loss), heldout_loss=heldout)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def _files() -> Any:
    """A file system without a cache, since others write to the bucket too."""
    endpoint.trusting()
    credentials()
    return gcsfs.GCSFileSystem(
        token="google_default",
        endpoint_url=os.environ.get("STORAGE_EMULATOR_HOST") or None,
        use_listings_cache=False,
        skip_instance_cache=True,
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except ShardtuneError:
        raise
    except google.auth.exceptions.GoogleAuthError as error:
        raise of_login(error, what) from error
    except HttpError as error:
        if int(error.code or 500) >= 500 or int(error.code) in (408, 429):
            raise TransientError(f"{what}: the bucket answers {error.code}") from error
        raise BackendError(f"{what}: refused with {error.code}: see that the bucket exists and may be used") from error
    # gcsfs raises the ProxyError of `requests` at a 502.
    except (aiohttp.ClientError, ConnectionError, TimeoutError, requests.RequestException) as error:
        raise TransientError(f"{what}: {endpoint.unanswered(error)}") from error
    except OSError as error:
        words = " ".join(str(error).split())[:300]
        raise BackendError(f"{what}: {words}: see that the bucket exists and may be used") from error
    except MISSHAPEN as error:
        raise misshapen(what, error) from error
