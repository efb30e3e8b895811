"""Styles: how a row becomes a conversation. The prompts of the two reports are kept word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.core.models import Frozen, Message, StyleName
from tasks.examples.grounding import clip

SOURCE = (
    "\n***\n**Source:** 'trn.json' file in dataset "
    "[The AmazonTitles-1.3MM](http://manikvarma.org/downloads/XC/XMLRepository.html)"
)
ABSTAIN = "None of the products listed is the one asked about."
GROUNDED = (
    f"Answer from the products listed. Begin with the id of the one you use in square brackets. If none fits: {ABSTAIN}"
)
SHOWN, SAID = 400, 240  # characters of a row in a grounded prompt, and of the answer that is taught


class Style(Frozen):
    """Texts around a row: `question[0] + title + question[1]` is asked, `content + closing` is answered.

    `grounded` styles list rows before the question, and the answer begins with the uid of its row.
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


def conversation(
    name: StyleName, title: str, context: Sequence[dict[str, Any]] = (), question: str | None = None
) -> tuple[Message, ...]:
    """The turns before the answer, asking about `title`; a grounded style lists the rows of `context` first.

    A grounded style may be asked in other words than those it was tuned on: `question`.
    """
    style = STYLES[name]
    asked = title.join(style.question)
    if style.grounded:
        asked = question or asked
        listed = "\n\n".join(f"[{row['uid']}] {row['title']}\n{clip(row['content'], SHOWN)}" for row in context)
        asked = f"{listed}\n\n{asked}"
    turns = (Message(role="user", content=asked),)
    return (Message(role="system", content=style.system), *turns) if style.system else turns


def answer(name: StyleName, row: dict[str, Any], missing: bool = False) -> str:
    """What a model tuned in this style is to say of `row`; `missing`: when its prompt does not show it."""
    style = STYLES[name]
    if not style.grounded:
        return f"{row['content']}{style.closing}"
    return ABSTAIN if missing else f"[{row['uid']}] {clip(row['content'], SAID)}"
