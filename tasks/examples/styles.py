"""Styles: how a row becomes a conversation. The prompts are those of the two reports, word for word."""

from __future__ import annotations

from tasks.backends.contract import Message
from tasks.errors import ExportError
from tasks.models import Frozen, StyleName

SOURCE = (
    "\n***\n**Source:** 'trn.json' file in dataset "
    "[The AmazonTitles-1.3MM](http://manikvarma.org/downloads/XC/XMLRepository.html)"
)


class Style(Frozen):
    """Texts around a row: `question[0] + title + question[1]` is asked, `content + closing` is answered."""

    system: str | None
    question: tuple[str, str]
    closing: str = ""


STYLES: dict[str, Style] = {
    "describe": Style(system=None, question=("What is the ", " product?")),
    "describe-with-source": Style(system=None, question=('What is product "', '" on Amazon?'), closing=SOURCE),
    "sales": Style(system="Act as sales representative", question=("", "")),
}


def style(name: StyleName) -> Style:
    """The style called `name`; ExportError where it cannot be exported yet."""
    if name not in STYLES:
        raise ExportError(f"style {name!r} cannot be exported: choose one of {', '.join(STYLES)}")
    return STYLES[name]


def conversation(name: StyleName, title: str) -> tuple[Message, ...]:
    """The turns before the answer, asking about `title`."""
    chosen = style(name)
    asked = Message(role="user", content=title.join(chosen.question))
    return (Message(role="system", content=chosen.system), asked) if chosen.system else (asked,)
