"""Ask: question -> candidate rows -> prompt in the model's style -> answer -> source check -> reply.

Where no row fits, no model is asked: nothing that it could say would have a source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tasks.answers import sources
from tasks.answers.index import Candidate, Index
from tasks.answers.reply import Reply, ReplyStep, SourceRow, State, Target
from tasks.answers.words import subject
from tasks.backends.contract import Answer, Decoding
from tasks.core.models import Frozen, Message, StyleName
from tasks.evaluation.exams import answers
from tasks.examples.styles import STYLES, conversation
from tasks.recipe.model import Answering, Recipe

NONE_FITS = "No row of the catalogue is the product asked about."
Talks = Sequence[tuple[Message, ...]]
Generate = Callable[[Target, Talks, Decoding], Sequence[Answer]]


class Found(Frozen):
    """What the index has for a question: rows best first, and those of them that fit."""

    subject: str
    rows: tuple[Candidate, ...]

    @property
    def fits(self) -> list[Candidate]:
        return [c for c in self.rows if c.fits]


def decoding(recipe: Recipe, style: StyleName) -> Decoding:
    """The likeliest answer. A penalty on repeating is for closed books: a grounded answer repeats its row."""
    wanted = recipe.evaluate
    penalty = 1.0 if STYLES[style].grounded else wanted.repetition_penalty
    return Decoding(max_new_tokens=wanted.max_new_tokens, repetition_penalty=penalty, seed=recipe.seed)


def directly(target: Target, talks: Talks, drawn: Decoding) -> Sequence[Answer]:
    """Answers from the target's backend."""
    (told,) = answers(target.endpoint, target.model, target.digest, target.tune, talks, (drawn,))
    return told


def replies(
    questions: Sequence[str],
    target: Target,
    index: Index,
    recipe: Recipe,
    generate: Generate = directly,
    hidden: Sequence[str | None] = (),
) -> list[Reply]:
    """One reply a question, in order; those that have a row are put to the model together.

    `hidden` holds, for each question, a title whose rows are treated as not there, or None.
    """
    drawn, wanted = decoding(recipe, target.style), recipe.ask
    looked = [retrieve(q, index, wanted, h) for q, h in zip(questions, hidden or [None] * len(questions), strict=True)]
    talks, prompted = {}, {}
    for number, (question, (found, _)) in enumerate(zip(questions, looked, strict=True)):
        if found.fits:
            start = time.time_ns()
            talks[number] = prompt(question, found, target.style, wanted.rows)
            prompted[number] = ReplyStep(name="prompt", start=start, end=time.time_ns())
    start = time.time_ns()
    told = dict(zip(talks, generate(target, list(talks.values()), drawn) if talks else (), strict=True))
    generated = ReplyStep(name="generate", start=start, end=time.time_ns())
    made = []
    for number, (question, (found, step)) in enumerate(zip(questions, looked, strict=True)):
        near = tuple(SourceRow.of(c.row, wanted.product_url) for c in found.rows[: wanted.rows])
        bare = Reply(question=question, state="abstained", text=NONE_FITS, style=target.style, model=target.name)
        bare = bare.model_copy(update={"near": near, "steps": (step,)})
        if number in told:
            steps = (step, prompted[number], generated)
            bare = bare.model_copy(update={"messages": talks[number], "steps": steps})
            bare = checked(bare, found, told[number], wanted.product_url)
        made.append(bare)
    return made


def retrieve(question: str, index: Index, wanted: Answering, hidden: str | None = None) -> tuple[Found, ReplyStep]:
    """The rows that the question may mean, and how long it took to find them."""
    start = time.time_ns()
    about = subject(question)
    rows = tuple(index.candidates(about, max(wanted.rows, 5), hidden))
    return Found(subject=about, rows=rows), ReplyStep(name="retrieve", start=start, end=time.time_ns())


def prompt(question: str, found: Found, style: StyleName, rows: int) -> tuple[Message, ...]:
    """The turns before the answer: closed-book styles ask for the title of the best row, `grounded` shows rows.

    A closed-book model knows products by their titles, so a slip in the question is not passed on.
    """
    shown = [c.row.model_dump(include={"uid", "title", "content"}) for c in found.rows[:rows]]
    if not STYLES[style].grounded:
        return conversation(style, found.fits[0].row.title)
    return conversation(style, found.subject, shown, question)


def checked(bare: Reply, found: Found, answer: Answer, url: str) -> Reply:
    """The reply that an answer deserves, by `tasks.answers.sources` and nothing else."""
    start = time.time_ns()
    said = whole(answer)
    text, cited = sources.body(said)
    fits = [c.row for c in found.fits]
    mine = [row for row in fits if cited in (row.uid, *row.also)] or fits
    # Several products of one title: the answer is about the one that it agrees with.
    looked = [(sources.problems(said, bare.question, row), row) for row in mine]
    problems, row = min(looked, key=lambda told: len(told[0]))
    state: State = "unsupported" if problems else "supported"
    if sources.abstains(said):
        state, problems = "abstained", ()
    kept = ("decoding", "model_version", "prompt_hash", "prompt_tokens", "answer_tokens", "seconds")
    return bare.model_copy(
        update={
            "state": state,
            "text": text,
            "said": said,
            "source": None if state == "abstained" else SourceRow.of(row, url),
            "problems": tuple(f"{p.rule}: {p.said}" for p in problems),
            "steps": (*bare.steps, ReplyStep(name="check", start=start, end=time.time_ns())),
            **{name: getattr(answer, name) for name in kept},
        }
    )


def whole(answer: Answer) -> str:
    """The answer without the word that the longest length may have cut in two: 12 may have been 120."""
    if answer.answer_tokens < answer.decoding.max_new_tokens:
        return answer.text
    return answer.text.rstrip().rpartition(" ")[0]
