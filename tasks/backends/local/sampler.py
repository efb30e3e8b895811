"""The sampler: answers of a local model, batched. `python -m tasks.backends.local.sampler ASKED.json ANSWERS.json`.

Always by transformers and peft, whatever engine trained, so that asking needs none of an engine's patches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.backends.contract import Answer, Decoding
from tasks.backends.local import engines, models
from tasks.core import settings, store
from tasks.core.models import Frozen, Message
from tasks.examples.templates import Kind, ending, load_tokenizer, prompt_hash, render
from tasks.examples.tokens import encode_prompt, reader
from tasks.recipe.tuning import LocalTune

BATCH = 8


class Sampler:
    """A base model (directory or hub name), with an adapter or without, ready to answer."""

    def __init__(self, base_path: str, adapter: str | None, tune: LocalTune, version: str = "") -> None:
        self.tune = tune.model_copy(update={"base_model": base_path, "revision": None})
        self.rendering = models.rendering(self.tune)
        self.tokenizer = load_tokenizer(self.rendering)
        self.model = engines.base(base_path, tune.load_in_4bit, tune.trust_remote_code)
        if adapter is not None:
            from peft import PeftModel

            engines.plain(adapter, "adapter_model")
            self.model = PeftModel.from_pretrained(self.model, adapter)
        self.model.eval()
        self.version = version or base_path
        self.ends = ends(self.tokenizer, self.rendering.template, self.model.generation_config)
        self.closing = closing(self.tokenizer, self.rendering.template)

    def answer(self, conversations: Sequence[Sequence[Message]], decoding: Decoding) -> list[Answer]:
        """Answer each conversation, in order. Batches hold prompts of like length; the seed is set per batch."""
        prompts = [render(c, self.rendering.template, self.tokenizer) for c in conversations]
        ids = [encode_prompt(p, self.tokenizer) for p in prompts]
        order = sorted(range(len(ids)), key=lambda n: (len(ids[n]), n))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            began = time.monotonic()
            generated = self._generate([ids[n] for n in chosen], decoding)
            seconds = (time.monotonic() - began) / len(chosen)
            for n, tokens in zip(chosen, generated, strict=True):
                text = self.tokenizer.decode(tokens, skip_special_tokens=True)
                answers[n] = Answer(
                    text=(text.partition(self.closing)[0] if self.closing else text).strip(),
                    decoding=decoding,
                    model_version=self.version,
                    prompt_hash=prompt_hash(prompts[n]),
                    prompt_tokens=len(ids[n]),
                    answer_tokens=len(tokens),
                    seconds=round(seconds, 4),
                )
        return [answers[n] for n in range(len(prompts))]

    def _generate(self, prompts: list[list[int]], decoding: Decoding) -> list[list[int]]:
        """Token ids of the answers, cut at the first end token (which is counted out)."""
        import torch
        from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList

        width = max(len(p) for p in prompts)
        pad = self.tokenizer.pad_token_id
        pad = next(iter(self.ends), 0) if pad is None else pad
        # Filled up at the left, so that every answer begins at the same place; the mask hides the filling.
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        torch.manual_seed(decoding.seed)
        penalty, stops = decoding.repetition_penalty, [_Closed(self.tokenizer, self.closing, width)]
        # Words of the prompt are not punished: a product's name and numbers belong into the answer.
        punished = [RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=width)] if penalty != 1 else []
        with torch.no_grad():
            made = self.model.generate(
                input_ids=ids.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                generation_config=self._config(decoding, pad),
                logits_processor=LogitsProcessorList(punished),
                stopping_criteria=StoppingCriteriaList(stops if self.closing else []),
            )
        return [_cut(row, self.ends) for row in made[:, width:].tolist()]

    def _config(self, decoding: Decoding, pad: int) -> Any:
        # A config of our own: a model's generation_config.json may bring a temperature nobody asked for.
        from transformers import GenerationConfig

        drawn = {"temperature": decoding.temperature, "top_p": 1.0, "top_k": 0} if decoding.temperature else {}
        return GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            do_sample=decoding.temperature > 0,
            eos_token_id=self.ends or None,
            pad_token_id=pad,
            **drawn,
        )


def _cut(tokens: list[int], ends: list[int]) -> list[int]:
    return tokens[: next((n for n, token in enumerate(tokens) if token in ends), len(tokens))]


def ends(tokenizer: Any, template: Kind, generation: Any) -> list[int]:
    """The ids at which an answer stops: what training closed it with, and the model's own end tokens."""
    marks = reader(tokenizer).spells(ending(template, tokenizer))
    known = generation.eos_token_id
    own = known if isinstance(known, list) else [known]
    ids = [*marks[:1], tokenizer.eos_token_id, *own]
    return list(dict.fromkeys(int(n) for n in ids if n is not None))


def closing(tokenizer: Any, template: Kind) -> str:
    """The text at which an answer stops, where training closed it with no control token; else empty."""
    end = ending(template, tokenizer)
    return "" if reader(tokenizer).spells(end) else end.strip()


class _Closed:
    """Stops a batch row by row where the closing text is there; one stopped is filled up by transformers."""

    def __init__(self, tokenizer: Any, closing: str, width: int) -> None:
        self.tokenizer, self.closing, self.width = tokenizer, closing, width
        self.last = 2 * len(closing.encode()) + 8  # tokens that surely hold it: one is a byte at least

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        import torch

        texts = self.tokenizer.batch_decode(input_ids[:, self.width :][:, -self.last :])
        return torch.tensor([self.closing in text for text in texts], device=input_ids.device)


class SamplingRequest(Frozen):
    """What a model is asked: a base (directory or hub name) with an adapter or without, and for each decoding all."""

    base: str
    adapter: str | None
    tune: LocalTune
    version: str
    decodings: tuple[Decoding, ...]
    conversations: tuple[tuple[Message, ...], ...]


def answers(asked: SamplingRequest) -> list[list[Answer]]:
    """The answers of a model that is loaded for them: for each decoding one a conversation, in order."""
    sampler = Sampler(asked.base, asked.adapter, asked.tune, asked.version)
    return [sampler.answer(asked.conversations, drawn) for drawn in asked.decodings]


def main(asked: str, answered: str) -> None:
    """Read what is asked, write the answers; both as JSON."""
    answered_lists = answers(SamplingRequest.model_validate_json(Path(asked).read_text()))
    store.write_json(answered, [[a.model_dump(mode="json") for a in each] for each in answered_lists])


if __name__ == "__main__":
    settings.enter()
    main(sys.argv[1], sys.argv[2])
