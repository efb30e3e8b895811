"""Put: a catalogue from standard input into the store, where a form may name it. Made for `docker compose exec`.

`docker compose exec -T worker python -m deployments.compose.put trn.json < trn.json` prints the URI to name in a form.
"""

from __future__ import annotations

import shutil
import sys
from typing import IO

from tasks.core import settings, store


def put(name: str, stream: IO[bytes]) -> str:
    """Write the stream to `incoming/` of this root; returns its URI. ValueError where `name` has a folder in it."""
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"the name {name!r} is not one of a file: give it without a folder")
    uri = store.join(settings.root(), "incoming", name)
    with store.writing(uri) as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    return uri


if __name__ == "__main__":
    print(put(sys.argv[1], sys.stdin.buffer))
