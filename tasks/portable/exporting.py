"""Exporting: a tuned model is written in one form, read back, asked, given its page, and brought to its place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from tasks.backends.local import backend as local
from tasks.backends.local import engines, models
from tasks.core.errors import ExportError
from tasks.core.models import Frozen
from tasks.examples.templates import load_tokenizer
from tasks.portable import card, gguf_files, modelfile, places, weights
from tasks.portable.card import CardFacts
from tasks.portable.readback import ReadBack, Reference, prompts
from tasks.portable.weights import Tuned

Form = Literal["adapter", "merged", "gguf"]
USAGE = {
    "adapter": "```python\nfrom peft import AutoPeftModelForCausalLM\n\n"
    'model = AutoPeftModelForCausalLM.from_pretrained("FOLDER")  # fetches the base by the name below\n```',
    "gguf": "llama.cpp: `llama-server -m model-f16.gguf`, or `model-q8_0.gguf` at half the size. Ollama: "
    "`ollama create NAME -f Modelfile` in this folder, then `ollama run NAME`.",
    "merged": "`transformers` and vLLM open the folder as it is: `vllm serve FOLDER`.",
}


class ExportedModel(Frozen):
    """What `shardtune export` wrote: `files` lie at `place`, and `checks` are what they answered when read back."""

    model: str  # as it was asked for
    key: str
    form: Form
    place: str
    files: tuple[str, ...]
    bytes: int
    license: str
    checks: tuple[ReadBack, ...]


def export(spec: str, facts: CardFacts, adapter: str, form: Form, place: str) -> ExportedModel:
    """Write the model whose adapter lies at the URI `adapter` to `place`, in `form`.

    Raises ExportError where the form cannot hold it, something else lies at `place`, or what was read back is not the
    same model; nothing is left at `place` then.
    """
    places.check(place)
    with tempfile.TemporaryDirectory(prefix="shardtune-") as temporary, engines.lean(facts.tune):
        engines.quiet()
        with places.beside(place, temporary) as folder:
            tuned = _tuned(facts, adapter, Path(temporary))
            checks = _written(tuned, facts, form, folder)
            (folder / places.PAGE).write_text(card.text(facts, form, checks, USAGE[form]))
            files = tuple(sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()))
            size = weights.size(folder)
            where = places.put(folder, place)
    return ExportedModel(
        model=spec, key=facts.result.key, form=form, place=where, files=files, bytes=size, license=facts.license,
        checks=tuple(checks),
    )  # fmt: skip


def _tuned(facts: CardFacts, adapter: str, temporary: Path) -> Tuned:
    tune = facts.tune
    if facts.base_digest and models.digest(tune) != facts.base_digest:
        raise ExportError(
            f"base model {tune.base_model!r} is not the one that was tuned: its files have changed since; "
            "put the earlier ones back"
        )
    rendering = models.rendering(tune)
    held = Path(local.fetched(adapter, temporary))
    return Tuned(models.resolve(tune), held, tune, rendering.template, load_tokenizer(rendering))


def _written(tuned: Tuned, facts: CardFacts, form: Form, folder: Path) -> list[ReadBack]:
    """Write the files and read them back."""
    model, own = weights.loaded(tuned)
    if form == "gguf":
        gguf_files.examine(model.config, tuned.tokenizer)
    # Held-out examples first: of the last link, then of those before it.
    exports = [e for link in reversed(facts.links) for e in sorted(link.exports, key=lambda e: e.split != "holdout")]
    asked = Reference(model, prompts(exports, tuned.tokenizer, tuned.tune.max_length))
    if form == "adapter":
        weights.copied(tuned, folder)
        del model
        again, _ = weights.loaded(tuned._replace(adapter=folder))
        return [asked.compared(form, again, weights.size(folder))]
    made = weights.merged(model, tuned)
    del model
    if form == "merged":
        weights.write(made, own, tuned, folder)
        del made
        return [asked.compared(form, weights.opened(folder, tuned.tune), weights.size(folder))]
    return _gguf(made, asked, tuned, facts, folder)


def _gguf(made: Any, asked: Reference, tuned: Tuned, facts: CardFacts, folder: Path) -> list[ReadBack]:
    """A file in float16 and one in blocks of 8 bits, with what Ollama must know to ask them."""
    folder.mkdir()
    names = {"f16": "model-f16.gguf", "q8_0": "model-q8_0.gguf"}
    for kind, name in names.items():
        gguf_files.write(made, tuned, folder / name, kind == "q8_0", facts.title, facts.license)
    stops = list(made.generation_config.eos_token_id or [])
    (folder / "Modelfile").write_text(modelfile.text(names["f16"], tuned, facts.style, stops, facts.license))
    del made
    checks = []
    for kind, name in names.items():
        again = weights.opened(folder, tuned.tune, gguf_file=name)
        checks.append(asked.compared(kind, again, (folder / name).stat().st_size))
    return checks
