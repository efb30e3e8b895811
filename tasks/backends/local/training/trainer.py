"""The trainer, one process per job: `python -m tasks.backends.local.training.trainer <root>/jobs/<key>/link.json`.

It outlives the flow that started it, goes on from the newest whole checkpoint after a kill, and takes the patches that
Unsloth makes at import with it when it ends. Nothing heavy is imported before `main` knows the engine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tasks.backends.contract import JobStatus
from tasks.backends.local import backend, distributed, engines, jobs, memory, models, rows
from tasks.core import settings, store
from tasks.core.errors import BackendError, ShardtuneError
from tasks.examples.templates import load_tokenizer
from tasks.examples.tokens import IGNORED
from tasks.recipe.tuning import LocalTune


class Stopped(BaseException):
    """SIGTERM came. Not an Exception, so that no library swallows it."""


def main(path: str) -> int:
    """Work on the job of `path` to its end; the exit status is 0 only where it succeeded."""
    signal.signal(signal.SIGTERM, _stop)
    folder = jobs.Folder(Path(path).resolve().parent)
    if distributed.count() > 1:  # the launcher has been signed for all
        distributed.tie()
    else:
        # trl refuses to train where several GPUs are seen by one process.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
        folder.sign()
    try:
        _update_status(folder, state="running", detail="loading")
        try:
            with nullcontext() if folder.link.tune.engine == "unsloth" else engines.lean(folder.link.tune):
                run(folder)
        except Exception:
            distributed.linger()
            raise
        return 0
    except Stopped:
        # Nothing is written: whether this is a cancellation or a machine that goes down is not for the trainer to say.
        return 0 if folder.status.state == "succeeded" else 143
    except Exception as error:
        traceback.print_exc()  # into the log, before the status sends people there
        _update_status(folder, state="failed", detail="failed", error=_reason(error))
        return 1


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    known = isinstance(error, ShardtuneError)
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"out of memory: lower tune.batch_size or tune.max_length, or set tune.gradient_checkpointing ({text!r})"
    return text if known else f"{type(error).__name__}: {text}; see the job's log.txt"


def _update_status(folder: jobs.Folder, facts: dict[str, Any] | None = None, **changes: Any) -> JobStatus:
    """Update status.json, keeping unnamed fields. Only rank 0 writes, or the rank that fails."""
    status = folder.status
    status = status.model_copy(update=changes | {"facts": status.facts | (facts or {})})
    if distributed.rank() == 0 or status.state == "failed":
        folder.write("status.json", status)
    return status


def run(folder: jobs.Folder) -> None:
    """Train, measure loss before and after, and write the adapter. TrainingError where training cannot go on."""
    began = time.monotonic()
    link = folder.link
    if link.tune.engine == "unsloth":
        os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(settings.local_root() / "unsloth"))
        import unsloth  # noqa: F401  before torch, transformers and trl: it patches them
    path = models.resolve(link.tune)
    tokenizer = load_tokenizer(models.rendering(link.tune))
    trained, measured = rows.train(link, tokenizer), rows.heldout(link, tokenizer)
    plan = link.tune.steps(len(trained.examples))
    facts = {
        "examples": len(trained.examples),
        "truncated": trained.truncated,
        "left_out": trained.left_out,
        "warmup_steps": link.tune.warmup(link.course[1] if link.course else plan),
        "empty": trained.empty,
        "heldout_examples": len(measured.examples),
        "processes": distributed.count(),
        "versions": engines.versions(),
    }
    _update_status(folder, facts, steps=plan)
    with tempfile.TemporaryDirectory(prefix="shardtune-") as place:
        # With a root in object storage the parent's adapter is there too, and must be downloaded first.
        parent = backend.fetched(link.parent, Path(place)) if link.parent and "://" in link.parent else link.parent
        model = engines.load(link.model_copy(update={"parent": parent}), path, link.tune.engine)
    _update_status(folder, _described(model, link, max(trained.lengths)))
    pad = pad_token(tokenizer)
    trainer, watch = _assembled(folder, link, model, tokenizer, trained, pad)
    from tasks.backends.local import parity  # these bring torch and trl
    from tasks.backends.local.training import arguments, measure

    _update_status(folder, arguments.optimizer(trainer.args))
    before = measure.before(folder, trainer.model, measured, pad)
    _update_status(folder, heldout_before=before, detail="training")
    watch.status = folder.status
    _trained(folder, trainer)
    if distributed.rank():
        return
    _update_status(folder, detail="measuring")
    after = measure.heldout_loss(trainer.model, measured.examples, pad)
    folder.write("said.json", parity.noted(trainer.model, measured))
    uri, digest = save(folder, trainer.model, tokenizer, link.tune)
    ended = {"eta_seconds": 0.0, "peak_memory_bytes": memory.peak(), "seconds": round(time.monotonic() - began, 1)}
    _update_status(
        folder, ended, state="succeeded", detail="succeeded", heldout_after=after, model=uri, model_digest=digest
    )


def _described(model: Any, link: jobs.LocalLink, longest: int) -> dict[str, Any]:
    config = model.config.to_dict()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    width = 4 if "32" in str(engines.precision()) else 2
    guess = memory.estimate(config, link.tune, longest, width, engines.has_gpu())
    return {
        "trainable_parameters": parameters,
        "memory_estimate_bytes": guess["total"],
        "precision": str(engines.precision()).removeprefix("torch."),
        "device": str(next(model.parameters()).device),
        "attention": str(model.config._attn_implementation),
    }


def _assembled(
    folder: jobs.Folder, link: jobs.LocalLink, model: Any, tokenizer: Any, trained: rows.Rows, pad: int
) -> tuple[Any, Any]:
    import torch
    from datasets import Dataset

    from tasks.backends.local.training import arguments
    from tasks.backends.local.training.batches import collator, isolated
    from tasks.backends.local.training.feed import Feed
    from tasks.backends.local.training.watch import Watch

    tune = link.tune
    if tune.batching == "packed" and not isolated(model, model.config.vocab_size):
        raise BackendError(
            f"batching 'packed' is refused: {type(model.get_base_model()).__name__} with attention "
            f"{model.config._attn_implementation!r} lets packed examples see each other; use grouped"
        )
    watch = Watch(folder, folder.status)
    blank = {"input_ids": np.array([pad], np.int32), "labels": np.array([IGNORED], np.int32)}
    fed = [*trained.examples, *[blank] * distributed.blanks(len(trained.examples), tune.batch_size)]
    columns = {name: [e[name] for e in fed] for name in ("input_ids", "labels")}
    trainer: Any = Feed(
        watch,
        trained.lengths,
        tune.batching == "grouped",
        model=model,
        course=link.course,
        args=arguments.arguments(link, str(folder.checkpoints), folder.status.facts["warmup_steps"]),
        train_dataset=Dataset.from_dict(columns),
        data_collator=collator(tune.batching, pad, tune.max_length),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    for parameter in trainer.model.parameters():
        # trl brings adapters of 4-bit models to bfloat16, in which small steps are lost.
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return trainer, watch


def pad_token(tokenizer: Any) -> int:
    """The id that fills batches up. It may be the end token: labels and attention are masked by position, not by id."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(number for number in known if number is not None))


def _trained(folder: jobs.Folder, trainer: Any) -> None:
    """Train to the end, from the newest whole checkpoint where there is one."""
    last = folder.whole_checkpoint()
    if distributed.rank() == 0:
        _tidied(folder, last)
    trainer.train(resume_from_checkpoint=str(last) if last else None)


def _tidied(folder: jobs.Folder, last: Path | None) -> None:
    """Without half or damaged checkpoints, and without points that will be made again."""
    kept = _step(last) if last else 0
    for checkpoint in folder.checkpoints.glob("checkpoint-*"):
        if _step(checkpoint) > kept or not (checkpoint / jobs.WHOLE).exists():
            shutil.rmtree(checkpoint)
    folder.keep_points(kept)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def save(folder: jobs.Folder, model: Any, tokenizer: Any, tune: LocalTune) -> tuple[str, str]:
    """Write the adapter beside its tokenizer; URI (under the root) and digest. It appears whole or not at all."""
    made = folder.path / ".adapter.part"
    shutil.rmtree(made, ignore_errors=True)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    (made / "README.md").unlink(missing_ok=True)  # peft's model card, with nothing filled in
    _named(made / "adapter_config.json", tune)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    os.rename(made, folder.adapter)
    digest = models.digest_of(folder.adapter)
    root = settings.root()
    if "://" not in root:
        return str(folder.adapter), digest
    uri = store.join(root, "adapters", folder.path.name)
    for file in folder.adapter.iterdir():
        with store.writing(store.join(uri, file.name)) as stream:
            stream.write(file.read_bytes())
    return uri, digest


def _named(config: Path, tune: LocalTune) -> None:
    """Name the base as any machine finds it; peft writes where it lay on this one."""
    value = store.read_json(str(config)) | {"base_model_name_or_path": models.portable(tune), "revision": tune.revision}
    config.write_text(json.dumps(value, indent=2, sort_keys=True))


if __name__ == "__main__":
    settings.enter()
    sys.exit(main(sys.argv[1]))
