"""Forms: products asked about as people ask, each question with its known answer.

By title, by half a title, for something that the row states, for a category, and two products together. The words of
these questions are never taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random
from typing import Literal

import xxhash

from tasks.answers.index import Index, IndexedRow, key_of
from tasks.answers.words import languages, stems
from tasks.core.errors import AnswerError
from tasks.core.models import Frozen
from tasks.evaluation.exams import Exam
from tasks.examples import facts
from tasks.examples.questions import Question

Group = Literal["seen", "unseen", "absent"]
Form = Literal["title", "half a title", "attribute", "category", "two products"]
ALONE: tuple[Form, ...] = ("title", "half a title", "attribute")  # of one row, which a model by itself may know
EVERY: tuple[Form, ...] = (*ALONE, "category", "two products")
WEIGHTS: dict[Form, int] = {"title": 3, "half a title": 3, "attribute": 6, "category": 1, "two products": 1}
HALVES = ("what is the {x}", "tell me about the {x}", "do you have the {x}?", "{x}")
CATEGORIES = ("which {x} do you have?", "show me {x}")
BOTH = ("what is the difference between the {x} and the {y}?", "{x} vs {y}")
FEW, NEAR = 5, 40  # products that a half title or a category may mean; rows looked at for them
TELLS = 4  # words beside the title that make a description; fewer where the row has fewer
SAID = 0.6  # share of the words of an answer that makes it said


class TrialQuestion(Frozen):
    """One question of one group. `right` are the keys of the titles that answer it, `rows` what is true of them.

    `question` is the question of the exam that it was made from. `values` holds, for each row, the answers of which one
    must be said; it is empty where the row is only to be described. `text` is empty where the title is asked for in the
    words of the style.
    """

    group: Group
    form: Form
    text: str
    question: Question
    rows: tuple[IndexedRow, ...]
    right: frozenset[str]
    values: tuple[tuple[str, ...], ...] = ()

    @property
    def row(self) -> IndexedRow:
        return self.rows[0]

    @property
    def hidden(self) -> str | None:
        """The title whose rows are not there for this question."""
        return self.question.title if self.group == "absent" else None


def asked(exam: Exam, index: Index, forms: Sequence[Form] = EVERY) -> list[TrialQuestion]:
    """The questions of all three groups in these forms. AnswerError where the index lacks a row that is asked about."""
    found = []
    for group, questions in (("seen", exam.seen), ("unseen", exam.unseen), ("absent", exam.unseen)):
        rows = [_row(question, index) for question in questions]
        for number, (question, row) in enumerate(zip(questions, rows, strict=True)):
            other = rows[(number + 1) % len(rows)]
            found.append(_made(group, question, row, other, index, forms))  # type: ignore[arg-type]
    return found


ROUNDS = (0.25, 0.5, 1.0)  # of the questions, after each of which the gate looks


def rounds(trial: Sequence[TrialQuestion]) -> list[list[TrialQuestion]]:
    """The questions in parts, each with its share of every group."""
    parts: list[list[TrialQuestion]] = [[] for _ in ROUNDS]
    for group in dict.fromkeys(one.group for one in trial):
        mine, done = [one for one in trial if one.group == group], 0
        for part, share in zip(parts, ROUNDS, strict=True):
            until = ceil(share * len(mine))
            part += mine[done:until]
            done = until
    return [part for part in parts if part]


def says(text: str, values: Sequence[str]) -> bool:
    """Whether `text` has one of these answers: all its numbers, and most of its words."""
    held = set(stems(text))
    for value in values:
        words = _telling(value) or stems(value)
        numbers = {word for word in words if any(c.isdigit() for c in word)}
        if words and numbers <= held and len(held & set(words)) >= SAID * len(set(words)):
            return True
    return False


def describes(text: str, row: IndexedRow) -> bool:
    """Whether `text` tells something of the product beside its title: "Product description" does not."""
    told, title = set(_telling(text)), set(_telling(row.title))
    return len(told - title) >= min(TELLS, len(set(_telling(row.content)) - title))


def _row(question: Question, index: Index) -> IndexedRow:
    row = index.by_uid(question.uid)
    if row is None:
        raise AnswerError(f"the index has no row {question.uid!r}, which is asked about: prepare again")
    return row


def _made(
    group: Group, question: Question, row: IndexedRow, other: IndexedRow, index: Index, forms: Sequence[Form]
) -> TrialQuestion:
    """The question of one row, in the first form of a fixed order that the row has something for."""
    chance = Random(xxhash.xxh3_64_intdigest(question.uid.encode()))
    wanted = [form for form in forms if group != "absent" or form in ALONE]
    weights = [WEIGHTS[form] for form in wanted]
    made = None
    while made is None and any(weights):
        (form,) = chance.choices(wanted, weights)
        weights[wanted.index(form)] = 0
        made = _FORMS[form](row, other, chance, index, group == "absent")
    text, form, rows, right, values = made or ("", "title", (row,), frozenset({key_of(row.title)}), ())
    return TrialQuestion(group=group, form=form, text=text, question=question, rows=rows, right=right, values=values)


_Made = tuple[str, Form, tuple[IndexedRow, ...], frozenset[str], tuple[tuple[str, ...], ...]]


def _by_title(row: IndexedRow, other: IndexedRow, chance: Random, index: Index, absent: bool) -> _Made:
    return "", "title", (row,), frozenset({key_of(row.title)}), ()


def _by_half(row: IndexedRow, other: IndexedRow, chance: Random, index: Index, absent: bool) -> _Made | None:
    """The first words of the title, as many as few titles have; one that is not there is nobody else's either."""
    named = _half(row, index, 1 if absent else FEW)
    if named is None:
        return None
    name, right = named
    return facts.about(chance.choice(HALVES), name), "half a title", (row,), right, ()


def _by_attribute(row: IndexedRow, other: IndexedRow, chance: Random, index: Index, absent: bool) -> _Made | None:
    """Something that the row states, by its whole title or the half that is nobody else's."""
    stated = facts.facts(row.content)
    if not stated:
        return None
    fact = chance.choice(stated)
    half = _half(row, index, 1)
    name = half[0] if half and chance.random() < 0.5 else row.title
    values = tuple(f.value for f in facts.of_kind(row.content, fact.kind))
    return facts.about(fact.tried, name), "attribute", (row,), frozenset({key_of(row.title)}), (values,)


def _by_category(row: IndexedRow, other: IndexedRow, chance: Random, index: Index, absent: bool) -> _Made | None:
    """A word of the title that some titles have."""
    told = [word for word in _words(row.title) if word.isalpha() and 2 <= index.titled(stems(word)[0]) <= NEAR // 2]
    if not told:
        return None
    word = chance.choice(told)
    stem = stems(word)[0]
    hits = [hit for hit, _ in index.nearest({stem: 1.0}, NEAR) if stem in (*stems(hit.title), *stems(hit.content))]
    right = frozenset(key_of(hit.title) for hit in hits)
    return chance.choice(CATEGORIES).replace("{x}", word.lower()), "category", (row,), right, ()


def _by_two(row: IndexedRow, other: IndexedRow, chance: Random, index: Index, absent: bool) -> _Made | None:
    """Two products together; for something that both state where there is such a thing."""
    if key_of(row.title) == key_of(other.title):
        return None
    names = facts.called(row.title), facts.called(other.title)
    right = frozenset({key_of(row.title), key_of(other.title)})
    theirs = {fact.kind for fact in facts.facts(other.content)}
    same = next((fact for fact in facts.facts(row.content) if fact.kind in theirs), None)
    if same is None:
        text = chance.choice(BOTH).replace("{x}", names[0]).replace("{y}", names[1])
        return text, "two products", (row, other), right, ()
    values = tuple(tuple(f.value for f in facts.of_kind(one.content, same.kind)) for one in (row, other))
    return facts.about(same.tried, f"{names[0]} and the {names[1]}"), "two products", (row, other), right, values


_FORMS = {
    "title": _by_title,
    "half a title": _by_half,
    "attribute": _by_attribute,
    "category": _by_category,
    "two products": _by_two,
}


def _half(row: IndexedRow, index: Index, most: int) -> tuple[str, frozenset[str]] | None:
    """The fewest first words of the title, three and half of them at least, that at most so many titles have."""
    told = row.title.split()
    for many in range(max(3, len(told) // 2), len(told)):
        name = " ".join(told[:many]).strip(" ,.;:-\u2013(")
        wanted = set(_telling(name))
        if len(wanted) < 2:
            continue
        hits = [hit for hit, _ in index.nearest(dict.fromkeys(wanted, 1.0), NEAR) if wanted <= set(stems(hit.title))]
        right = frozenset(key_of(hit.title) for hit in hits)
        if key_of(row.title) in right and len(right) <= most:
            return name, right
    return None


def _telling(text: str) -> list[str]:
    """The stems of a text that tell something."""
    dull = languages()["en"].stop
    return [stem for stem in stems(text) if stem not in dull]


def _words(text: str) -> list[str]:
    """The words of a text as they stand, without those that tell nothing or say what kind of thing it is."""
    english = languages()["en"]
    held = [word.strip(" ,.;:!?()[]\"'") for word in text.split()]
    return [w for w in held if len(w) > 3 and (told := stems(w)) and told[0] not in english.stop | english.asks]
