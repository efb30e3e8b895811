"""Links on a CUDA GPU, as a table: `python -m tests.drills.gpu [CASE ...]`.

Each case is a real job of the local backend in 4 bits on a model made on the spot (weights at random, so what it says
means nothing): checked, started, killed in the middle with SIGKILL, started again, asked in another process, compared
with the model in training, and followed by a second link that starts from its adapter. What must hold: one run of
steps without a gap, a held-out loss that fell, the second link beginning where the first ended, the same answers from
the files as in training, and a peak of GPU memory that the estimate foretold within a third.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tasks.backends.contract import Decoding, Job, JobStatus, Link
from tasks.backends.local import backend, engines, jobs, memory
from tasks.core import settings
from tasks.core.models import Message
from tasks.recipe.tuning import LocalTune, Lora
from tests.benchmarks import gpu
from tests.kit import models as tiny

STEPS, KILLED_AT, PATIENCE = 60, 25, 420.0
BASE = {"hidden_size": 1_024, "num_hidden_layers": 8, "num_attention_heads": 16, "max_position_embeddings": 2_048}
GATED = BASE | {"intermediate_size": 2_816, "num_key_value_heads": 4, "vocab_size": 32_000}
SHRUNKEN = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "intermediate_size": 256, "ffn_dim": 256, "word_embed_proj_dim": 128, "vocab_size": 320,
}  # fmt: skip
QUESTIONS = ("What is the Drum 3?", "What is the Tent 2?", "Tell me about the Drum 11.")
ASKED: tuple[tuple[Message, ...], ...] = tuple((Message(role="user", content=text),) for text in QUESTIONS)
# The tokens of one answer moves by 4 bits and by batching, so the losses of one model may differ by this much.
SAME_LOSS = 0.02


class Case(NamedTuple):
    """An engine and a shape."""

    engine: str
    shape: str


CASES = (
    Case("unsloth", "tinyllama"), Case("transformers", "tinyllama"), Case("unsloth", "mistral"),
    Case("transformers", "gemma"), Case("unsloth", "gemma"), Case("transformers", "opt"),
)  # fmt: skip


def config(shape: str) -> Any:
    """The configuration of a model of some hundred million parameters; `tinyllama` has the published 1.1 billion."""
    import transformers as t

    return {
        "tinyllama": lambda: t.LlamaConfig(**gpu.SHAPE, rms_norm_eps=1e-5),
        "mistral": lambda: t.MistralConfig(**GATED, sliding_window=None),
        "gemma": lambda: t.GemmaConfig(**GATED, head_dim=64),
        "opt": lambda: t.OPTConfig(**BASE, vocab_size=32_000, ffn_dim=4_096, word_embed_proj_dim=1_024),
    }[shape]()


def made(folder: Path, shape: str, shrunken: bool) -> str:
    """A model of this shape, or shrunken to some thousand parameters, with the tests' small tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer, drawn = tiny.tokenizer(True, False), config(shape)
    if shrunken:
        drawn.update({name: size for name, size in SHRUNKEN.items() if hasattr(drawn, name)})
    drawn.update({name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")})
    torch.manual_seed(0)
    with torch.device("cuda" if engines.has_gpu() else "cpu"):
        AutoModelForCausalLM.from_config(drawn, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def tuned(case: Case, base: str) -> LocalTune:
    """Hyperparameters of a few dozen steps in 4 bits."""
    return tiny.tune(
        base, engine=case.engine, load_in_4bit=True, lora=Lora(r=16, alpha=16), max_steps=STEPS, checkpoint_steps=10,
        learning_rate=1e-3, batch_size=8, gradient_checkpointing=case.shape == "tinyllama",
    )  # fmt: skip


def watched(job: Job, until: Callable[[JobStatus], bool]) -> JobStatus:
    """The status of a job once `until` holds; the last one when the patience is over."""
    ends = time.monotonic() + PATIENCE
    while True:
        status = backend.Local().status(job)
        if until(status) or time.monotonic() > ends:
            return status
        time.sleep(0.2)


def ended(status: JobStatus) -> bool:
    return status.state in ("succeeded", "failed", "cancelled")


def trained(link: Link, kill: bool) -> tuple[Job, JobStatus, list[str]]:
    """Work on the link to its end, through one SIGKILL if `kill`; and what went wrong on the way."""
    local, wrong = backend.Local(), list[str]()
    wrong += [f"check: {found.message}" for found in local.check(link) if found.level == "error"]
    job = local.submit(link)
    if kill:
        halfway = watched(job, lambda status: ended(status) or (status.step or 0) >= KILLED_AT)
        process = jobs.Folder.of(link.key).process
        if process is None:
            return job, halfway, [*wrong, f"ended before the kill: {halfway.error!r}"]
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        dead = watched(job, ended)
        wrong += [] if dead.interrupted else [f"after the kill it is {dead.state!r}, not interrupted"]
        local.submit(link)
    status = watched(job, ended)
    if status.state != "succeeded":
        wrong.append(f"{status.state}: {status.error!r}")
    steps = [point.step for point in status.points]
    if status.state == "succeeded" and steps != list(range(1, STEPS + 1)):
        wrong.append(f"steps {steps[:3]!r} to {steps[-1:]!r}, {len(steps)} of {STEPS}")
    return job, status, wrong


def run(case: Case, place: Path, shrunken: bool) -> tuple[str, list[str]]:
    """One line of the table and what does not hold."""
    began, local = time.monotonic(), backend.Local()
    link = tiny.linked(place, tuned(case, made(place / "base", case.shape, shrunken)))
    _, status, wrong = trained(link, kill=True)
    if status.state != "succeeded" or status.model is None:
        return f"{case.engine:<13}{case.shape:<11}", wrong
    _say(case, f"first link {status.heldout_before} -> {status.heldout_after}, {_measured(status.facts)}")
    before, after, facts = status.heldout_before or 0.0, status.heldout_after or 0.0, status.facts
    wrong += [] if after < before else [f"held-out loss {before:.3f} -> {after:.3f}"]
    parity = local.parity(link, status.model)
    _say(case, f"parity {parity!r}")
    answers = local.answer(status.model, link.tune, ASKED, Decoding(temperature=0, max_new_tokens=24))[0]
    wrong += [] if all(answer.answer_tokens for answer in answers) else ["an empty answer"]
    _say(case, f"answers {[answer.text[:60] for answer in answers]!r}")
    child = {"parent": status.model, "parent_model": status.model, "parent_digest": status.model_digest}
    second = link.model_copy(update=child | {"parent_key": link.key, "seed": 8})
    _, later, amiss = trained(second, kill=False)
    wrong += [f"second link: {one}" for one in amiss]
    gap = abs((later.heldout_before or 0.0) - after)
    wrong += (
        [] if gap <= SAME_LOSS else [f"the second link began at {later.heldout_before}, the first ended at {after}"]
    )
    # The runtime lies in the machine's memory and in the driver's part of the GPU's; torch counts its tensors alone.
    peak, foretold = facts["peak_memory_bytes"], facts["memory_estimate_bytes"] - memory.RUNTIME
    wrong += [] if shrunken or 0.67 <= peak / foretold <= 1.33 else [f"peak is {peak / foretold:.2f} of the estimate"]
    if parity is None or parity.same < parity.asked or parity.merged > parity.bound:
        wrong.append(f"parity: {parity!r}")
    losses = f"{before:.3f} -> {after:.3f}  {later.heldout_before or 0:.3f} -> {later.heldout_after or 0:.3f}"
    sizes = f"{peak / 1e6:>8.0f}{foretold / 1e6:>8.0f}{facts['tokens_per_second']:>9.0f}"
    kept = f"{parity.same}/{parity.asked} {parity.merged:.4f}" if parity else "none"
    seconds = time.monotonic() - began
    return f"{case.engine:<13}{case.shape:<11}{losses}{sizes}  {kept}  {seconds:>5.0f} s", wrong


def main() -> None:
    """Run the cases, some beside each other, and print the table; exit status 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="engine-shape, such as unsloth-mistral (default all)")
    parser.add_argument("--together", type=int, default=3, help="cases beside each other (default 3)")
    parser.add_argument("--rehearse", action="store_true", help="tiny models, on whatever is here")
    options = parser.parse_args()
    chosen = [case for case in CASES if not options.cases or "-".join(case) in options.cases]
    device = "rehearsal, no numbers to quote" if options.rehearse else gpu.gpu()
    import transformers  # noqa: F401  here, for two threads that import it at once meet half of it

    os.environ["HF_HUB_OFFLINE"] = "1"  # or Unsloth asks the hub for two minutes whether it is there
    with tempfile.TemporaryDirectory() as name:
        os.environ[settings.ROOT_VARIABLE] = name
        settings.enter()
        print(f"{device}, 4 bits, {STEPS} steps of 8, killed at step {KILLED_AT}; {', '.join(versions())}")
        print("engine       shape      held-out loss    second link     peak MB  guess  tokens/s  parity")
        places = [Path(name) / "-".join(case) for case in chosen]
        with ThreadPoolExecutor(options.together) as pool:
            failed = list(pool.map(_tried, chosen, places, [options.rehearse] * len(chosen)))
    sys.exit(any(failed))


def versions() -> list[str]:
    return [f"{name} {version}" for name, version in engines.versions().items()]


def _say(case: Case, text: str) -> None:
    """What is known so far: a run that is cut off has said something."""
    print(f"    {case.engine} {case.shape}: {text}", flush=True)


def _measured(facts: dict[str, Any]) -> str:
    kept = ("device", "precision", "attention", "seconds", "tokens_per_second", "peak_memory_bytes")
    return ", ".join(f"{name} {facts.get(name)}" for name in (*kept, "memory_estimate_bytes"))


def _tried(case: Case, place: Path, shrunken: bool) -> bool:
    try:
        line, wrong = run(case, place, shrunken)
    except Exception as error:  # the other cases still say what they have to say
        line, wrong = f"{case.engine:<13}{case.shape:<11}", [f"{type(error).__name__}: {error}"]
    print("\n".join([line, *(f"    WRONG {one}" for one in wrong)]), flush=True)
    return bool(wrong)


if __name__ == "__main__":
    main()
