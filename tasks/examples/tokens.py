"""Tokens: what a local model reads and which of it is learnt. Prompt ids are the same in training and in asking.

Text from outside (a title, a content, a question) is text. Where it spells a control token of the tokenizer, such as
`<|im_end|>` or `</s>`, it is read letter by letter and never as that token; the template's own tokens stay tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

IGNORED = -100  # the label that the loss passes over
# Private-use characters: no template strips them, no normaliser changes them.
OPENS, CLOSES = "\U000f5a17", "\U000f5a18"
_HIDDEN = re.compile(f"{OPENS}(\\d+){CLOSES}")
Spans = tuple[tuple[int, int], ...]


class Encoded(NamedTuple):
    """Token ids, labels (IGNORED where nothing is learnt), and whether the answer lost its end to `max_length`."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool


class Text(str):
    """A text for a model. `literal` are the places, (start, end) in characters, that spell a control token and are
    text all the same. It survives `joined`, and is lost by any other operation on strings."""

    literal: Spans = ()

    @classmethod
    def of(cls, text: str, literal: Iterable[Sequence[int]] = ()) -> Text:
        made = cls(text)
        made.literal = tuple((int(start), int(end)) for start, end in literal)
        return made


def literal(text: str) -> Spans:
    """The places of a text that are no control tokens, whatever they spell."""
    return getattr(text, "literal", ())


def joined(*parts: str) -> Text:
    """The parts one after the other, each with its literal places."""
    places, at = list[tuple[int, int]](), 0
    for part in parts:
        places += [(at + start, at + end) for start, end in literal(part)]
        at += len(part)
    return Text.of("".join(parts), places)


class Reader:
    """A tokenizer as this project asks it: what it puts in front of a text, and which of its tokens control a model."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.controls = _controls(tokenizer)
        spelt = [*sorted(self.controls, key=len, reverse=True), OPENS, CLOSES]
        self._spelt = re.compile("|".join(map(re.escape, spelt)))
        self._firsts = {text[0] for text in spelt}
        # Asked on a text: OPT begins with its end token, others with several tokens or none.
        alone, whole = self._plain("a"), list(tokenizer("a")["input_ids"])
        places = range(len(whole) - len(alone) + 1)
        self.head: list[int] = whole[: next((n for n in places if whole[n : n + len(alone)] == alone), 0)]
        after = self._plain("\na")
        # A tokenizer that puts a blank before a text would put one between prompt and answer.
        self.begins = after[-len(alone) :] != alone

    @property
    def otherwise(self) -> list[Any]:
        """What makes its ids differ from those of exports made before 2026-11-26; empty where nothing does."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        usual = self.head == ([bos] if bos is not None and bos != eos and self.head else [])
        return [] if usual and not self.begins else [self.head, self.begins]

    def text(self, outside: str) -> Text:
        """Text from outside, with the places that spell control tokens."""
        hidden: list[str] = []
        return self.shown(self.hide(outside, hidden), hidden)

    def hide(self, outside: str, hidden: list[str]) -> str:
        """The text with a number in place of each control token that it spells; `hidden` takes up what stood there."""

        def number(found: re.Match[str]) -> str:
            hidden.append(found.group())
            return f"{OPENS}{len(hidden) - 1}{CLOSES}"

        masked = outside if self._firsts.isdisjoint(outside) else self._spelt.sub(number, outside)
        if masked == outside and self._normal(outside):
            hidden.append(outside)
            return f"{OPENS}{len(hidden) - 1}{CLOSES}"
        return masked

    def spells(self, text: str) -> list[int]:
        """The control tokens that the text spells, as ids."""
        return [self.controls[found.group()] for found in self._own(text, ())]

    def _normal(self, outside: str) -> bool:
        """Whether the tokenizer's normaliser makes a control token of letters that do not spell one."""
        return bool(self._normalise and self._spelt.search(self._normalise(outside)))

    @cached_property
    def _normalise(self) -> Any:
        tokens = self.tokenizer.added_tokens_decoder.values()
        inner = getattr(self.tokenizer, "backend_tokenizer", None)
        if inner is None or inner.normalizer is None or not any(t.normalized for t in tokens):
            return None
        return inner.normalizer.normalize_str

    def shown(self, masked: str, hidden: Sequence[str]) -> Text:
        """The text again, after `hide` and whatever a template made of it."""
        parts, at = [], 0
        for found in _HIDDEN.finditer(masked):
            was = hidden[int(found.group(1))]
            parts += [masked[at : found.start()], Text.of(was, [(0, len(was))])]
            at = found.end()
        return joined(*parts, masked[at:])

    def ids(self, text: str) -> list[int]:
        """Ids of a text as it stands, nothing put around it; literal places are no control tokens."""
        places = literal(text)
        if not places:
            return self._plain(text)
        own = self._own(text, places)
        if self._blind is not None and (found := self._by_numbers(text, own)) is not None:
            return found
        return self._by_pieces(text, places, own)

    def prompt(self, text: str) -> list[int]:
        """Ids of a rendered prompt, with what the tokenizer puts in front of a text exactly once."""
        found = self.ids(text)
        return found if found[: len(self.head)] == self.head else [*self.head, *found]

    def said(self, completion: str) -> Text:
        """A completion whose places are not known is text from outside, but for the token that ends it."""
        if isinstance(completion, Text):
            return completion
        own = self._own(completion, ())
        kept = len(own) - 1 if own and own[-1].end() == len(completion) else len(own)
        return Text.of(completion, [found.span() for found in own[:kept]])

    def answer(self, prompt: str, completion: str) -> list[int]:
        """Ids of what follows the prompt, such that prompt and answer are read like one text."""
        completion = self.said(completion)
        found = self.ids(completion)
        if self.begins:
            before, both = self.ids(prompt), self.ids(joined(prompt, completion))
            found = both[len(before) :] if both[: len(before)] == before else found
        if self.closed(completion, found):
            return found
        # The tokenizer does not know its own end token where it stands right behind a word.
        places = literal(completion)
        end = self._own(completion, places)[-1]
        said = Text.of(completion[: end.start()], [place for place in places if place[1] <= end.start()])
        return [*self.ids(said), self.controls[end.group()]]

    def closed(self, completion: str, ids: Sequence[int]) -> bool:
        """Whether the ids of an answer end with the control token with which its text ends, where it does."""
        end = next(reversed(self._own(completion, literal(completion))), None)
        return (
            bool(ids) or not completion
            if end is None or end.end() < len(completion)
            else ids[-1:] == [self.controls[end.group()]]
        )

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(str(text), add_special_tokens=False)["input_ids"])

    def _own(self, text: str, places: Spans) -> list[re.Match[str]]:
        """The template's control tokens: those spelt outside these literal places."""
        covered = text
        for start, end in places:
            covered = f"{covered[:start]}{' ' * (end - start)}{covered[end:]}"
        return [found for found in self._spelt.finditer(covered) if found.group() in self.controls]

    @cached_property
    def _blind(self) -> tuple[Any, dict[Any, int]] | None:
        """The same tokenizer with control tokens spelt as numbers, and what its ids mean; None for one in Python."""
        inner = getattr(self.tokenizer, "backend_tokenizer", None)
        if inner is None:
            return None
        from tokenizers import AddedToken, Tokenizer

        raw = json.loads(inner.to_str())
        kept = [token for token in raw["added_tokens"] if token["content"] not in self.controls]
        made = Tokenizer.from_str(json.dumps(raw | {"added_tokens": kept, "truncation": None, "padding": None}))
        meant = {made.token_to_id(token["content"]): token["id"] for token in kept}
        known = self.tokenizer.added_tokens_decoder
        for n, (content, number) in enumerate(self.controls.items()):
            was = known.get(number, AddedToken(content, normalized=False))
            same = {name: getattr(was, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
            spelt = f"{OPENS}{n}{CLOSES}"
            made.add_tokens([AddedToken(spelt, special=False, **same)])
            meant[made.token_to_id(spelt)] = number
        return made, meant

    def _by_numbers(self, text: str, own: Sequence[re.Match[str]]) -> list[int] | None:
        """Ids by the blind tokenizer, which sees the whole text; None where it does not find just the `own` tokens."""
        assert self._blind is not None
        if OPENS in text:
            return None  # somebody outside writes our numbers
        inner, meant = self._blind
        numbers = {content: n for n, content in enumerate(self.controls)}
        parts, at = [], 0
        for found in own:
            parts += [text[at : found.start()], f"{OPENS}{numbers[found.group()]}{CLOSES}"]
            at = found.end()
        made = [meant.get(n, n) for n in inner.encode("".join([*parts, text[at:]]), add_special_tokens=False).ids]
        return made if self._controlling(made) == [self.controls[found.group()] for found in own] else None

    def _controlling(self, ids: Sequence[int]) -> list[int]:
        known = set(self.controls.values()) - {self.tokenizer.unk_token_id}
        return [n for n in ids if n in known]

    def _by_pieces(self, text: str, places: Spans, own: Sequence[re.Match[str]]) -> list[int]:
        """Ids of each run between the template's tokens, apart; what is still a token is read letter by letter."""
        made, at = list[int](), 0
        for start, end, number in [
            *((f.start(), f.end(), self.controls[f.group()]) for f in own),
            (len(text), 0, None),
        ]:
            run = list(self.tokenizer(text[at:start], add_special_tokens=False, split_special_tokens=True)["input_ids"])
            if self._controlling(run):
                run, alone = [], {n for one in places for n in range(*one)}
                for many in _runs(range(at, start), alone):
                    run += self._plain(text[many[0] : many[-1] + 1])
            made += run if number is None else [*run, number]
            at = end
        return made


def _runs(numbers: Iterable[int], alone: set[int]) -> list[list[int]]:
    """Numbers in runs, those in `alone` each by itself."""
    runs: list[list[int]] = []
    for n in numbers:
        if n not in alone and runs and runs[-1][-1] not in alone:
            runs[-1].append(n)
        else:
            runs.append([n])
    return runs


def _controls(tokenizer: Any) -> dict[str, int]:
    """The tokens that steer a model: special ones, and added ones that are neither blanks nor plain words."""
    found = {}
    for number, token in tokenizer.added_tokens_decoder.items():
        letters = "".join(token.content.replace("\u2581", " ").split())
        if letters and (token.special or not letters.isalnum()):
            found[token.content] = int(number)
    specials = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return found | {str(content): int(number) for content, number in specials if content not in found}


@lru_cache(maxsize=8)
def reader(tokenizer: Any) -> Reader:
    """The reader of a tokenizer, made once: a tokenizer must not change after it was asked."""
    return Reader(tokenizer)


def encode_prompt(prompt: str, tokenizer: Any) -> list[int]:
    """Ids of a rendered prompt, with what the tokenizer puts in front of a text exactly once."""
    return reader(tokenizer).prompt(prompt)


def encode(
    prompt: str, completion: str, tokenizer: Any, max_length: int, loss_on: Literal["answer", "all"] = "answer"
) -> Encoded:
    """One example. Its first ids are just those that asking sends."""
    head, tail = encode_prompt(prompt, tokenizer), reader(tokenizer).answer(prompt, completion)
    return laid(head, tail, max_length, loss_on)


def laid(head: list[int], tail: list[int], max_length: int, loss_on: Literal["answer", "all"]) -> Encoded:
    """Prompt and answer as one example, cut at `max_length` tokens."""
    ids = [*head, *tail]
    masked = 0 if loss_on == "all" else len(head)
    labels = [*[IGNORED] * masked, *ids[masked:]]
    return Encoded(ids[:max_length], labels[:max_length], len(ids) > max_length)


def lengths(prompts: Sequence[str], completions: Sequence[str], tokenizer: Any) -> list[int]:
    """Tokens of each example, as `encode` would make them, counted in batches where nothing stands in the way."""
    if not prompts:
        return []
    own = reader(tokenizer)
    pairs = list(zip(prompts, map(own.said, completions), strict=True))
    plain = [n for n, pair in enumerate(pairs) if not any(map(literal, pair))]
    counted: dict[int, int] = {}
    if plain:
        extra = len(own.prompt(prompts[plain[0]])) - len(own.ids(prompts[plain[0]]))
        heads = tokenizer([str(prompts[n]) for n in plain], add_special_tokens=False)["input_ids"]
        texts = [str(completions[n]) if not own.begins else f"{prompts[n]}{completions[n]}" for n in plain]
        for n, head, ids in zip(plain, heads, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
            tail = ids if not own.begins else ids[len(head) :] if ids[: len(head)] == head else []
            if own.closed(completions[n], tail):
                counted[n] = extra + len(head) + len(tail)
    for n, (prompt, completion) in enumerate(pairs):
        if n not in counted:
            counted[n] = len(own.prompt(prompt)) + len(own.answer(prompt, completion))
    return [counted[n] for n in range(len(pairs))]
