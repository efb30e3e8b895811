"""Ask: question -> product -> prompt in the model's style -> answer -> checked claims and quotes -> reply.

Where no row fits, or several do, no model is asked: nothing that it could say would have a source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tasks.answers import claims, relevance, sources
from tasks.answers.finding import Found, find
from tasks.answers.index import Index, IndexedRow
from tasks.answers.reply import NOBODY, Quoted, Reply, ReplyStep, SourceRow, State, Target
from tasks.answers.words import subject
from tasks.backends.contract import Answer, Decoding
from tasks.core.models import Message, StyleName
from tasks.evaluation.exams import answers
from tasks.examples.styles import STYLES, conversation
from tasks.recipe.model import Answering, Evaluation

NONE_FITS = "No row of the catalogue is the product asked about."
WHICH = "Which of these is meant?"
Talks = Sequence[tuple[Message, ...]]
Generate = Callable[[Target, Talks, Decoding], Sequence[Answer]]


def decoding(evaluation: Evaluation, style: StyleName, seed: int) -> Decoding:
    """The likeliest answer. A penalty on repeating is for closed books: a grounded answer repeats its row."""
    penalty = 1.0 if STYLES[style].grounded else evaluation.repetition_penalty
    return Decoding(max_new_tokens=evaluation.max_new_tokens, repetition_penalty=penalty, seed=seed)


def directly(target: Target, talks: Talks, drawn: Decoding) -> Sequence[Answer]:
    """Answers from the target's backend."""
    (told,) = answers(target.endpoint, target.model, target.digest, target.tune, talks, (drawn,))
    return told


def replies(
    questions: Sequence[str],
    target: Target,
    index: Index,
    wanted: Answering,
    drawn: Decoding,
    generate: Generate = directly,
    hidden: Sequence[str | None] = (),
    looked: Sequence[tuple[Found, ReplyStep]] = (),
) -> list[Reply]:
    """One reply a question, in order; those that have a row are put to the model together.

    `hidden` holds, for each question, a title whose rows are treated as not there, or None. `looked` is what
    `retrieve` gave for each, where the caller has looked already.
    """
    hides = hidden or [None] * len(questions)
    looked = looked or [retrieve(q, index, wanted, h) for q, h in zip(questions, hides, strict=True)]
    talks, prompted = {}, {}
    for number, (question, (found, _)) in enumerate(zip(questions, looked, strict=True)):
        if found.state == "one" and target.name != NOBODY:
            start = time.time_ns()
            talks[number] = prompt(question, found, target.style, wanted.rows)
            prompted[number] = ReplyStep(name="prompt", start=start, end=time.time_ns())
    start = time.time_ns()
    told = dict(zip(talks, generate(target, list(talks.values()), drawn) if talks else (), strict=True))
    generated = ReplyStep(name="generate", start=start, end=time.time_ns())
    made = []
    for number, (found, step) in enumerate(looked):
        bare = _bare(found, target, wanted).model_copy(update={"steps": (step,)})
        if number in told:
            steps = (step, prompted[number], generated)
            bare = bare.model_copy(update={"messages": talks[number], "steps": steps})
            bare = checked(bare, found, told[number], wanted.product_url)
        made.append(bare)
    return made


def retrieve(
    question: str, index: Index, wanted: Answering, hidden: str | None = None, talk: Sequence[Found] = ()
) -> tuple[Found, ReplyStep]:
    """The rows that the question may mean, and how long that took. `talk`: what those before it were about."""
    start = time.time_ns()
    found = find(question, index, talk, hidden)
    return found, ReplyStep(name="retrieve", start=start, end=time.time_ns())


def _bare(found: Found, target: Target, wanted: Answering) -> Reply:
    """The reply that needs no model: quotes of what fits, a list of what may be meant, or the nearest rows."""
    near = tuple(SourceRow.of(row, wanted.product_url) for row in found.rows[: wanted.rows])
    common = {"question": found.question, "style": target.style, "model": target.name, "near": near}
    if found.state == "none":
        return Reply(state="none", text=NONE_FITS, **common)
    first = [product.rows[0] for product in found.products]
    if found.state == "one":
        quotes = _quotes(found.question, first[0], wanted.product_url)
        source = SourceRow.of(first[0], wanted.product_url)
        return Reply(state="quoted", text=_joined(quotes), quotes=quotes, source=source, **common)
    quotes = tuple(q for row in first for q in _quotes(found.question, row, wanted.product_url)[:1])
    if found.state == "each":
        return Reply(state="quoted", text=_joined(quotes), quotes=quotes, **common)
    which = tuple(row.uid for row in first)
    return Reply(state="which", text=WHICH, quotes=quotes, which=which, **common)


def _quotes(question: str, row: IndexedRow, url: str) -> tuple[Quoted, ...]:
    """The sentences of a row that answer the question best, as far as the question alone can tell."""
    found = claims.quoted(question, "", claims.row_of(row.title, row.content))
    return tuple(Quoted.of(one, row, url) for one in found)


def _joined(quotes: Sequence[Quoted]) -> str:
    return " ".join(one.text for one in quotes)


def prompt(question: str, found: Found, style: StyleName, rows: int) -> tuple[Message, ...]:
    """The turns before the answer: closed-book styles ask for the title of the best row, `grounded` shows rows.

    A closed-book model knows products by their titles, so a slip in the question is not passed on.
    """
    shown = [row.model_dump(include={"uid", "title", "content"}) for row in found.rows[:rows]]
    if not STYLES[style].grounded:
        return conversation(style, found.rows[0].title)
    return conversation(style, subject(found.question), shown, question)


def checked(bare: Reply, found: Found, answer: Answer, url: str) -> Reply:
    """The reply that an answer deserves, by `tasks.answers.claims` and nothing else."""
    start = time.time_ns()
    said = whole(answer)
    text, cited = sources.body(said)
    fits = list(found.products[0].rows)
    mine = [row for row in fits if cited in (row.uid, *row.also)] or fits
    # Several products of one title: the answer is about the one that it agrees with.
    looked = [(claims.check(bare.question, said, row.title, row.content), row) for row in mine]
    best, row = min(looked, key=lambda told: len(sources.unsupported(told[0])))
    problems = [f"{p.rule}: {p.said}" for p in sources.unsupported(best)]
    if cited and cited not in (row.uid, *row.also):
        problems.insert(0, f"citation: {cited}")
    quotes = tuple(Quoted.of(one, row, url) for one in best.quotes)
    beside = not relevance.relevant(bare.question, text) and relevance.relevant(bare.question, row.content)
    if not problems and beside:  # the row says it, and the answer says something else
        problems.append("relevance: it does not say what was asked")
    state: State = "quoted" if problems else "answered"
    shown = _joined(quotes) if problems else text
    if sources.abstains(said):
        state, problems, quotes, shown, best = "none", [], (), text, best.model_copy(update={"claims": ()})
    kept = ("decoding", "model_version", "prompt_hash", "prompt_tokens", "answer_tokens", "seconds")
    return bare.model_copy(
        update={
            "state": state,
            "text": shown,
            "said": said,
            "source": None if state == "none" else SourceRow.of(row, url),
            "quotes": quotes,
            "claims": best.claims,
            "problems": tuple(problems),
            "steps": (*bare.steps, ReplyStep(name="check", start=start, end=time.time_ns())),
            **{name: getattr(answer, name) for name in kept},
        }
    )


def whole(answer: Answer) -> str:
    """The answer without the word that the longest length may have cut in two: 12 may have been 120."""
    if answer.answer_tokens < answer.decoding.max_new_tokens:
        return answer.text
    return answer.text.rstrip().rpartition(" ")[0]
