"""Styles: how a row becomes a conversation. The prompts of the two reports are kept word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.core.models import Frozen, Message, StyleName
from tasks.examples import facts
from tasks.examples.facts import Fact
from tasks.examples.grounding import clip, seed_of

SOURCE = (
    "\n***\n**Source:** 'trn.json' file in dataset "
    "[The AmazonTitles-1.3MM](http://manikvarma.org/downloads/XC/XMLRepository.html)"
)
ABSTAIN = "None of the products listed is the one asked about."
GROUNDED = (
    f"Answer from the products listed. Begin with the id of the one you use in square brackets. If none fits: {ABSTAIN}"
)
FACTS = (
    "Answer from the products listed, in the words of their descriptions. Begin with the id of the one you use in "
    "square brackets, then give the words that answer. If they are part of a longer sentence, add that sentence in "
    f"quotation marks. If none fits: {ABSTAIN}"
)
BOTH = 4  # where another row of a prompt states the same kind of fact, one in so many questions asks about both
SHOWN, SAID = 400, 240  # characters of a row in a grounded prompt, and of the answer that is taught


class Style(Frozen):
    """Texts around a row: `question[0] + title + question[1]` is asked, `content + closing` is answered.

    `grounded` styles list rows before the question, and the answer begins with the uid of its row. `facts` asks for
    something that the row states; where it states nothing that is looked for, `question` is asked.
    """

    system: str | None
    question: tuple[str, str]
    closing: str = ""
    grounded: bool = False
    facts: bool = False


STYLES: dict[StyleName, Style] = {
    "describe": Style(system=None, question=("What is the ", " product?")),  # report B, first version
    "describe-with-source": Style(system=None, question=('What is product "', '" on Amazon?'), closing=SOURCE),
    "sales": Style(system="Act as sales representative", question=("", "")),  # report A
    "grounded": Style(system=GROUNDED, question=("What is the ", " product?"), grounded=True),
    "facts": Style(system=FACTS, question=("What is the ", " product?"), grounded=True, facts=True),
}


def conversation(
    name: StyleName, title: str, context: Sequence[dict[str, Any]] = (), question: str | None = None
) -> tuple[Message, ...]:
    """The turns before the answer, asking about `title`; a grounded style lists the rows of `context` first.

    A grounded style may be asked in other words than those it was tuned on: `question`. Of each row `facts` then lists
    the sentences that say what is asked for, `grounded` the first ones.
    """
    style = STYLES[name]
    asked = title.join(style.question)
    if style.grounded:
        asked = question or asked
        wanted = asked if style.facts else None
        asked = "\n\n".join([*(_listed(row, wanted) for row in context), asked])
    turns = (Message(role="user", content=asked),)
    return (Message(role="system", content=style.system), *turns) if style.system else turns


def _listed(row: dict[str, Any], wanted: str | None) -> str:
    """A row as a prompt shows it."""
    said = clip(row["content"], SHOWN)
    if wanted:
        said = facts.window(row["content"], wanted, row["title"], SHOWN)
    return f"[{row['uid']}] {row['title']}\n{said}"


def example(
    name: StyleName, row: dict[str, Any], shown: Sequence[dict[str, Any]] = (), missing: bool = False
) -> tuple[tuple[Message, ...], str]:
    """A row as the turns before the answer and the answer; `missing`: when `shown` lacks the row.

    `shown` are the rows of a prompt that lists rows.
    """
    if STYLES[name].facts and (asked := _asked(row, shown)):
        question, said = asked
        return conversation(name, row["title"], shown, question), ABSTAIN if missing else said
    return conversation(name, row["title"], shown), answer(name, row, missing)


def _asked(row: dict[str, Any], shown: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    """A question for something that the row states, and the answer; None where it states nothing that is looked for.

    The prompt shows what is asked for, or a model would be taught to make it up.
    """
    seed = seed_of(row)
    held = [f for f in facts.facts(row["content"]) if _visible(f, row, seed)]
    if not held:
        return None
    fact = held[seed % len(held)]
    named, said = facts.called(row["title"]), f"[{row['uid']}] {fact.answer}"
    if seed // 7 % BOTH == 0 and row in shown:
        for other in (other for other in shown if other != row):
            same = next((f for f in facts.facts(other["content"]) if f.kind == fact.kind), None)
            if same and _visible(same, other, seed):
                both = f"{named} and the {facts.called(other['title'])}"
                return facts.asking(fact, both, seed), f"{said}\n[{other['uid']}] {same.answer}"
    return facts.asking(fact, named, seed), said


def _visible(fact: Fact, row: dict[str, Any], seed: int) -> bool:
    """Whether a prompt that asks for the fact shows the sentence that states it."""
    question = facts.asking(fact, facts.called(row["title"]), seed)
    return fact.sentence in facts.window(row["content"], question, row["title"], SHOWN)


def answer(name: StyleName, row: dict[str, Any], missing: bool = False) -> str:
    """What a model tuned in this style is to say of `row`; `missing`: when its prompt does not show it."""
    style = STYLES[name]
    if not style.grounded:
        return f"{row['content']}{style.closing}"
    return ABSTAIN if missing else f"[{row['uid']}] {clip(row['content'], SAID)}"
