"""Publish: copy clean shards and their card to `hf://` or any target that fsspec writes to."""

from __future__ import annotations

import shutil

from tasks import reach, store
from tasks.catalogue import card
from tasks.errors import CatalogueError
from tasks.models import Prepared


def publish(prepared: Prepared, target: str) -> tuple[str, ...]:
    """Copy the shards of `prepared` and their card to the folder `target`; returns the URIs, the card last.

    What lies there under the same name is written again; a reader who opens the card finds all that it names.
    Raises CatalogueError when the target refuses, RecipeError where workers may not write there.
    """
    reach.check("the target", target)
    written = []
    sources = [shard.uri for shard in prepared.shards if shard.kept]
    try:
        for uri in [*sources, card.write(prepared)]:
            copy = store.join(target, uri.rsplit("/", 1)[-1])
            with store.reading(uri) as stream, store.writing(copy) as out:
                shutil.copyfileobj(stream, out, 1 << 20)
            written.append(copy)
    except (OSError, ValueError, ImportError) as error:
        raise CatalogueError(f"cannot publish to {target!r}: {error}; check the address and your rights") from error
    return tuple(written)
