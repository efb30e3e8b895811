"""Counting: tokens as the provider counts them, on this machine.

OpenAI's vocabulary comes in the package bpe-openai. The formula is that of OpenAI's cookbook (three tokens a message
beside role and content, three an example); how it bills is not published, so a count is an estimate until the job says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from tasks.core.errors import MissingExtraError
from tasks.core.models import Format
from tasks.examples import scripts

MESSAGE, EXAMPLE = 3, 3
FEWER = 0.8  # of an estimate: the least that it may turn out to be


def base_of(model: str) -> str:
    """The base of a tuned model's name: `ft:gpt-4o-mini-2024-07-18:shop::1` is `gpt-4o-mini-2024-07-18`."""
    name = model.split(":")[1] if model.startswith("ft:") else model
    return name.partition(".ft-")[0]  # as Azure names tuned models


def encoding_name(model: str) -> str | None:
    """The vocabulary of an OpenAI model; None where it is not known."""
    return "o200k_base" if base_of(model).startswith(("gpt-4o", "gpt-4.1")) else None


@cache
def _encoding(name: str) -> Any:
    try:
        import bpe_openai
    except ImportError as error:
        raise MissingExtraError("bpe-openai", "openai") from error
    return bpe_openai.get_encoding(name)


def of_text(text: str, model: str = "gpt-4o") -> int:
    """Tokens of one text."""
    return len(_encoding(encoding_name(model) or "o200k_base").encode_ordinary(text))


def of_examples(examples: Sequence[Sequence[tuple[str, str]]], format: Format, model: str) -> list[int] | None:
    """Tokens of each example, given as its (role, text) turns; None where nobody can count them here."""
    name = encoding_name(model)
    if format == "gemini" or (format == "openai" and name is None):  # nobody has published the vocabulary
        return scripts.tokens([_joined(turns) for turns in examples], scripts.USUAL)
    if format != "openai" or name is None:
        return None
    encode = _encoding(name).encode_ordinary  # the package's batch call makes a thread's task of every text
    roles = {role: len(encode(role)) for turns in examples for role, _ in turns}
    return [EXAMPLE + sum(MESSAGE + roles[role] + len(encode(text)) for role, text in turns) for turns in examples]


def most_of_examples(
    examples: Sequence[Sequence[tuple[str, str]]], format: Format, model: str, counted: Sequence[int] | None
) -> list[int] | None:
    """The most tokens that each example may have, where `counted` are those of `of_examples`; None as there."""
    if counted is None or (format == "openai" and encoding_name(model) is not None):
        return None if counted is None else list(counted)
    room = EXAMPLE + 2 * MESSAGE if format == "openai" else 0
    return [n + room for n in scripts.tokens([_joined(turns) for turns in examples], scripts.MOST)]


def _joined(turns: Sequence[tuple[str, str]]) -> str:
    return "\n".join(text for _, text in turns)
