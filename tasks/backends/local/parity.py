"""Parity: whether the adapter that was kept answers as the model in memory did when its training ended.

`python -m tasks.backends.local.parity LINK.json ADAPTER SAID.json PARITY.json`. The trainer notes the likeliest answers
to some held-out prompts (`noted`); this process loads base and adapter anew, by transformers and peft whatever engine
trained, answers the same prompts, merges the adapter into the base and looks how far its predictions move.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tasks.backends.local import engines, models, rows
from tasks.backends.local.jobs import Folder, LocalLink
from tasks.core import processes, settings, store
from tasks.core.errors import BackendError, DamagedError
from tasks.core.models import Frozen, Parity
from tasks.examples.tokens import IGNORED

PROMPTS, TOKENS = 4, 24
# Merging rounds once, to the precision of this machine: mean nats of probability that may move by it. To bfloat16,
# 0.026 were seen on a model tuned at a high learning rate.
BOUND = 0.05


class RecordedAnswers(Frozen):
    """Prompts and the likeliest answers to them, as token ids."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]


def noted(model: Any, measured: rows.Rows) -> RecordedAnswers:
    """The likeliest answers of the model in memory to the first held-out prompts."""
    prompts = []
    for example in measured.examples[:PROMPTS]:
        learnt = next(n for n, label in enumerate(example["labels"].tolist()) if label != IGNORED)
        prompts.append(tuple(example["input_ids"].tolist()[:learnt]))
    with engines.evaluating(model):
        return RecordedAnswers(prompts=tuple(prompts), answers=tuple(likeliest(model, prompt) for prompt in prompts))


def likeliest(model: Any, prompt: tuple[int, ...]) -> tuple[int, ...]:
    """The likeliest tokens after a prompt. One at a time: in a batch, padding may round a prediction the other way."""
    import torch
    from transformers import GenerationConfig

    ids = torch.tensor([prompt], device=model.device)
    # No end token, so that every answer has the same length; settings of a generation_config.json are not used.
    wanted = GenerationConfig(max_new_tokens=TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0)
    with torch.no_grad():
        made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=wanted)
    return tuple(made[0, len(prompt) :].tolist())


def proved(link: LocalLink, adapter: str, recorded: RecordedAnswers) -> Parity:
    """Load base and adapter from their files, ask the same prompts, then merge and compare the predictions.

    A base in 4 bits is brought to 16 first, as `shardtune export` does it. Rounded to 4 bits again, its weights would
    lose most of what the adapter adds: on an H100 the predictions of a TinyLlama then moved by 8 nats a token.
    """
    from peft import PeftModel

    tune = link.tune
    bare = engines.base(models.resolve(tune), tune.load_in_4bit, tune.trust_remote_code)
    model = PeftModel.from_pretrained(bare, adapter)
    with engines.evaluating(model):
        answers = [likeliest(model, prompt) for prompt in recorded.prompts]
        apart = predicted(model, recorded)
    if tune.load_in_4bit:
        bare = model.unload().dequantize(dtype=engines.precision())
        model = PeftModel.from_pretrained(bare, adapter)
    merged = model.merge_and_unload()
    with engines.evaluating(merged):
        together = predicted(merged, recorded)
    return Parity(
        asked=len(answers),
        same=sum(mine == theirs for mine, theirs in zip(answers, recorded.answers, strict=True)),
        merged=distance(apart, together),
        bound=BOUND,
    )


def predicted(model: Any, recorded: RecordedAnswers) -> list[Any]:
    """Log-probabilities of every token at each place of the recorded answers: [tokens, vocabulary] an answer."""
    import torch

    predictions = []
    for prompt, answer in zip(recorded.prompts, recorded.answers, strict=True):
        ids = torch.tensor([[*prompt, *answer]], device=model.device)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        predictions.append(torch.log_softmax(logits, -1))
    return predictions


def distance(first: list[Any], second: list[Any]) -> float:
    """Mean Kullback-Leibler divergence of the second predictions from the first, in nats a token."""
    import torch

    both = zip(first, second, strict=True)
    apart = [torch.nn.functional.kl_div(b, a, log_target=True, reduction="batchmean") for a, b in both]
    return float(torch.stack(apart).mean()) if apart else 0.0


def asked(folder: Folder, adapter: str) -> Parity | None:
    """Compare the kept adapter with the job in `folder`; None if training noted no answers.

    This never happens in the trainer's process, so that only files are compared. `engines.apart` chooses the process.
    """
    recorded = folder.read("said.json", RecordedAnswers)
    if recorded is None:
        return None
    link = folder.link
    try:
        if engines.apart(link.tune):
            return _elsewhere(folder, adapter)
        with engines.lean(link.tune):
            engines.quiet()
            return proved(link, adapter, recorded)
    except Exception as error:
        raise BackendError(f"adapter {adapter!r} cannot be compared with the model in training: {error}") from error


def _elsewhere(folder: Folder, adapter: str) -> Parity:
    link, recorded, out = (str(folder.path / name) for name in ("link.json", "said.json", "parity.json"))
    call = [sys.executable, "-m", "tasks.backends.local.parity", link, adapter, recorded, out]
    env = processes.environment("hub")
    done = subprocess.run(call, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    result = folder.read("parity.json", Parity)
    if result is None:
        raise DamagedError(f"{str(folder.path / 'parity.json')!r} is damaged: run the same command again")
    return result


def main(link: str, adapter: str, recorded: str, out: str) -> None:
    """Read the link and the answers noted in training, and write the comparison."""
    again = "run the same command again, it is made anew"
    answers, worked_on = store.read(recorded, RecordedAnswers, again), store.read(link, LocalLink, again)
    if answers is None or worked_on is None:
        raise DamagedError(f"{recorded!r} or {link!r} is gone: {again}")
    store.write(out, proved(worked_on, adapter, answers))


if __name__ == "__main__":
    settings.enter()
    main(*sys.argv[1:])
