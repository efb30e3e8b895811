"""Fitting: what becomes of an example that is longer than the model reads. No answer may lose its end unseen."""

from __future__ import annotations

import re
from typing import Any, Literal

from tasks.examples.tokens import Encoded, Text, joined, laid, literal, reader

TooLong = Literal["drop", "cut", "split"]
# Chinese and Japanese put no space between sentences, nor between words.
_SENTENCE = re.compile(
    r"\S.*?(?:[.!?]+[\"'\u201d\u2019)\]]*(?=\s|\Z)|[\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]\u300d\u300f\uff09]*|\n+|\Z)\s*",
    re.DOTALL,
)
_WORD = re.compile(r"\S+\s*")


def fitted(
    prompt: str,
    completion: str,
    closing: str,
    tokenizer: Any,
    max_length: int,
    loss_on: Literal["answer", "all"],
    then: TooLong,
) -> list[Encoded]:
    """The examples of at most `max_length` tokens that one makes, each with its end; `closing` is the text of that end.

    One that fits stays as it is. `drop`: a longer one is left out; `cut`: its answer ends earlier; `split`: its answer
    becomes several, at the ends of sentences (of words, where one sentence is too long; of pieces of a word, where that
    is), each to the same prompt.
    """
    own = reader(tokenizer)
    head, tail = own.prompt(prompt), own.answer(prompt, completion)
    if len(head) + len(tail) <= max_length:
        return [laid(head, tail, max_length, loss_on)]
    if then == "drop":
        return []
    room = max_length - len(head)
    completion = own.said(completion)
    closing = closing if completion.endswith(closing) else ""
    said = _slice(completion, 0, len(completion) - len(closing))
    answers = [said] if then == "cut" else _parts(said, closing, prompt, tokenizer, room)
    made = [_ended(part, closing, prompt, tokenizer, room) for part in answers]
    return [laid(head, ids, max_length, loss_on) for ids in made if ids]


def _slice(text: str, start: int, end: int) -> Text:
    """A part of a text with its literal places."""
    inside = [(max(a, start) - start, min(b, end) - start) for a, b in literal(text) if a < end and b > start]
    return Text.of(str(text)[start:end], inside)


def _ended(said: Text, closing: str, prompt: str, tokenizer: Any, room: int) -> list[int]:
    """Ids of the answer and its end, the answer shortened to fit; none where no room is left for a word of it."""
    own = reader(tokenizer)
    whole, body = own.answer(prompt, joined(said, closing)), own.answer(prompt, said)
    if len(whole) <= room:
        return whole
    end = whole[len(body) :] if whole[: len(body)] == body else own.ids(closing)
    kept = body[: max(room - len(end), 0)]
    while kept and tokenizer.decode(kept).endswith("\ufffd"):  # half a character
        kept.pop()
    return [*kept, *end] if kept else []


def _parts(said: Text, closing: str, prompt: str, tokenizer: Any, room: int) -> list[Text]:
    """The answer in as few parts as fit, each of whole sentences."""
    own, blanks = reader(tokenizer), str(said)[: len(said) - len(said.lstrip())]

    def fits(start: int, end: int) -> bool:
        return len(own.answer(prompt, joined(blanks, _stripped(said, start, end), closing))) <= room

    def pieces(start: int, end: int) -> list[tuple[int, int]]:
        if end - start < 2 or fits(start, end):
            return [(start, end)]
        middle = (start + end) // 2
        return [*pieces(start, middle), *pieces(middle, end)]

    if not fits(0, 0):
        return []  # the end alone has no room beside the prompt
    units: list[tuple[int, int]] = []
    for found in _SENTENCE.finditer(said):
        if fits(*found.span()):
            units.append(found.span())
        else:
            for word in _WORD.finditer(found.group()):
                units += pieces(found.start() + word.start(), found.start() + word.end())
    parts: list[tuple[int, int]] = []
    for start, end in units:
        if parts and fits(parts[-1][0], end):
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return [joined(blanks, _stripped(said, start, end)) for start, end in parts if not said[start:end].isspace()]


def _stripped(said: Text, start: int, end: int) -> Text:
    return _slice(said, start, start + len(str(said)[start:end].rstrip()))
