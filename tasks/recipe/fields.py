"""Fields: which columns or keys of a catalogue become a row's uid, title, content and facts.

A part is a name (`asin`), a path into nested keys (`details.Brand`), or a template (`"Size: {size}"`). Several parts
are joined; one that a record does not have is left out, and so is a template that lacks one of its names.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from tasks.core.models import Frozen

NAMED = re.compile(r"\{([^{}]+)\}")
PART = 500  # characters
MOST = 100  # parts of one field; facts of one row


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Part = Annotated[str, Field(min_length=1, max_length=PART)]
Parts = Annotated[tuple[Part, ...], BeforeValidator(_several), Field(min_length=1, max_length=MOST)]


def names(part: str) -> list[str]:
    """The columns, or paths of keys, that a part names."""
    return [name.strip() for name in NAMED.findall(part)] or [part]


class Fields(Frozen):
    """What each field of a row is made of. By default the columns of the same names."""

    uid: Parts = Field(("uid",), title="uid", description="The product's identifier, kept as it is written.")
    title: Parts = Field(("title",), title="Title", description="Parts are joined with a space.")
    content: Parts = Field(
        ("content",),
        title="Content",
        description="Names, paths (details.Brand) or templates (Size: {size}), each on a line of its own.",
    )
    facts: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")], Parts] = Field(
        default_factory=dict,
        max_length=MOST,
        title="Facts",
        description="Further columns that answers show and can be filtered by: {price: price, brand: details.Brand}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        """Facts may be a list of columns, each called by its own name."""
        facts = values.get("facts") if isinstance(values, dict) else None
        if isinstance(facts, list | tuple):
            named = {re.sub(r"\W+", "_", str(name)).strip("_").lower(): name for name in facts}
            return {**values, "facts": named}
        return values

    @property
    def named(self) -> tuple[str, ...]:
        """Every column or path that is named, once, in order."""
        parts = (*self.uid, *self.title, *self.content, *(part for some in self.facts.values() for part in some))
        return tuple(dict.fromkeys(name for part in parts for name in names(part)))
