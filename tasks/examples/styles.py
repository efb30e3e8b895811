"""Styles: how a row becomes a conversation. The prompts of the two reports are kept word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.models import Frozen, Message, StyleName

SOURCE = (
    "\n***\n**Source:** 'trn.json' file in dataset "
    "[The AmazonTitles-1.3MM](http://manikvarma.org/downloads/XC/XMLRepository.html)"
)
GROUNDED = "Answer from the products listed, and end with the id of the one you used in square brackets."


class Style(Frozen):
    """Texts around a row: `question[0] + title + question[1]` is asked, `content + closing` is answered.

    `grounded` styles list rows before the question, and the answer ends with the uid of its row.
    """

    system: str | None
    question: tuple[str, str]
    closing: str = ""
    grounded: bool = False


STYLES: dict[StyleName, Style] = {
    "describe": Style(system=None, question=("What is the ", " product?")),  # report B, first version
    "describe-with-source": Style(system=None, question=('What is product "', '" on Amazon?'), closing=SOURCE),
    "sales": Style(system="Act as sales representative", question=("", "")),  # report A
    "grounded": Style(system=GROUNDED, question=("What is the ", " product?"), grounded=True),
}


def conversation(name: StyleName, title: str, context: Sequence[dict[str, Any]] = ()) -> tuple[Message, ...]:
    """The turns before the answer, asking about `title`; a grounded style lists the rows of `context` first."""
    style = STYLES[name]
    asked = title.join(style.question)
    if style.grounded:
        listed = "\n\n".join(f"[{row['uid']}] {row['title']}\n{row['content']}" for row in context)
        asked = f"{listed}\n\n{asked}"
    turns = (Message(role="user", content=asked),)
    return (Message(role="system", content=style.system), *turns) if style.system else turns


def answer(name: StyleName, row: dict[str, Any]) -> str:
    """What a model tuned in this style is to say of `row`."""
    style = STYLES[name]
    return f"{row['content']}{style.closing}" + (f" [{row['uid']}]" if style.grounded else "")
