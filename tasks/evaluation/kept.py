"""Kept: the answers of a model, one by one, so that a question is asked once, whichever others are asked beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.backends.contract import Answer
from tasks.core import store
from tasks.core.models import Frozen, Message

Talks = Sequence[tuple[Message, ...]]


class KeptAnswers(Frozen):
    """Answers of one model, drawn in one way, by the digest of the turns before them."""

    answers: dict[str, Answer]


def once(place: str, talks: Talks, ask: Callable[[Talks], Sequence[Answer]]) -> list[Answer]:
    """The answers to `talks`, in order: those kept in the file `place`, and of the others what `ask` says of them."""
    held = store.read(place, KeptAnswers)
    known = dict(held.answers) if held else {}
    names = [store.digest_of([turn.model_dump() for turn in talk]) for talk in talks]
    new = {name: talk for name, talk in zip(names, talks, strict=True) if name not in known}
    if new:
        known |= dict(zip(new, ask(list(new.values())), strict=True))
        store.write(place, KeptAnswers(answers=known))
    return [known[name] for name in names]
