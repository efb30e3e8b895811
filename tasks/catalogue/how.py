"""How a catalogue is read: the columns that are wanted, and what its bytes do not tell by themselves."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

from tasks.core.choices import WANTED
from tasks.core.errors import CatalogueError

if TYPE_CHECKING:
    from tasks.recipe.model import Catalogue


class How(NamedTuple):
    """`wanted` are columns or paths; none means all there are."""

    wanted: tuple[str, ...] = WANTED
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    query: str | None = None


USUAL = How()


def of(catalogue: Catalogue) -> How:
    """How this catalogue is read; CatalogueError where its encoding is none that Python knows."""
    if catalogue.encoding:
        try:
            known = codecs.lookup(catalogue.encoding)
            "".encode(known.name)  # what turns bytes into bytes (zip, hex) is no encoding of text
        except (LookupError, TypeError, ValueError) as error:
            raise CatalogueError(
                f"catalogue.encoding = {catalogue.encoding!r} is unknown: write utf-8, cp1252, latin-1, cp1250 or "
                "another that Python names"
            ) from error
    return How(
        catalogue.fields.named if catalogue.fields else WANTED,
        catalogue.encoding,
        catalogue.delimiter,
        catalogue.config,
        catalogue.query,
    )
