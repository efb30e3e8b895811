"""Card: the page of an exported model: what it was made from and how, what was measured, what it is not for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.catalogue.card import signed
from tasks.core.models import Export, Finetuned, Frozen, StyleName
from tasks.evaluation.verdict import LEVEL
from tasks.examples.styles import STYLES
from tasks.portable.readback import ReadBack
from tasks.recipe.tuning import OPERATIONAL, LocalTune

UNKNOWN = "unknown: look it up where the base model comes from, before you pass this model on"
NOT_FOR = """\
- **Answers that nobody checks.** A language model says false things fluently. `shardtune ask` and `shardtune serve`
  check each claim against the catalogue's row and show the row's own words beside it. In another program nothing does:
  show the row beside the answer, or check it (`shardtune verify`).
- **Products that it was not trained on, and facts that change**: prices, stock, offers, dates.
- **Decisions about people, health, safety or law**, and instructions whose error can hurt: doses, allergens, loads.
- **Text from strangers as instructions.** Programs other than shardtune read the control tokens that such a text spells
  (such as `<|im_end|>`) as control tokens."""


class LinkFacts(Frozen):
    """What one link of the model's chain was tuned on. `shards` are index, digest, lines and kept rows of each."""

    key: str
    shards: tuple[tuple[int, str, int, int], ...]
    exports: tuple[Export, ...]


class CardFacts(Frozen):
    """What the page of a model says beside what was measured when it was exported."""

    title: str
    tune: LocalTune
    base: str  # as any machine finds it
    base_digest: str | None
    license: str  # an identifier of SPDX as the hub writes it, or UNKNOWN
    style: StyleName
    links: tuple[LinkFacts, ...]
    result: Finetuned
    verdicts: tuple[str, ...]
    simulated: str | None = None


def license_of(base: str) -> str:
    """The licence that the base model's own files name; UNKNOWN where none does.

    `base` is the GGUF file or the directory of the base model. A name on the hub is not looked up.
    """
    path = Path(base)
    if path.suffix == ".gguf" and path.is_file():
        from gguf import GGUFReader

        field = GGUFReader(path).get_field("general.license")
        return str(field.contents()) if field else UNKNOWN
    page = path / "README.md"
    head = page.read_text("utf-8", "replace").split("---") if page.is_file() else []
    try:
        header = yaml.safe_load(head[1]) if len(head) > 2 and not head[0].strip() else None
    except yaml.YAMLError:
        header = None
    named = header.get("license") if isinstance(header, dict) else None
    return named if isinstance(named, str) else UNKNOWN


def text(facts: CardFacts, form: str, checks: Sequence[ReadBack], usage: str) -> str:
    """The page, signed by its own digest. `usage` says how this form is opened."""
    parts = [
        _head(facts, form),
        f"# {facts.title}",
        f"An adapter (LoRA) of `{facts.base}` tuned by shardtune on the rows of a product catalogue, as `{form}`.",
        *(["**Tuned against a simulator: its numbers are nobody's.**"] if facts.simulated else []),
        f"## Use\n\n{usage}\n\n{_asked(facts.style)}",
        f"## Not for\n\n{NOT_FOR}",
        f"## Base model\n\n- model: `{facts.base}`\n- licence: {facts.license}\n- digest of its files (xxh3-128): "
        f"{facts.base_digest or 'not known here, it lies on the hub'}",
        f"## Data\n\n{_data(facts.links)}",
        f"## Training\n\n{_training(facts)}",
        f"## Measured\n\n{_measured(facts)}",
        f"## Read back\n\n{_checks(checks)}",
    ]
    return signed("\n\n".join(parts) + "\n")


def _head(facts: CardFacts, form: str) -> str:
    library = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}[form]
    header: dict[str, Any] = {"license": facts.license if facts.license != UNKNOWN else "other"}
    if not facts.base.startswith(("/", "package:")):
        header["base_model"] = facts.base
    header |= {"library_name": library, "pipeline_tag": "text-generation", "tags": ["shardtune", "lora"]}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---"


def _asked(style: StyleName) -> str:
    known = STYLES[style]
    system = f"The system message is `{known.system}`." if known.system else "There is no system message."
    asked = "TITLE".join(known.question)
    if known.grounded:
        asked = f"[UID] TITLE\\nCONTENT (one paragraph a row), an empty line, then the question, such as: {asked}"
    return (
        f"It was tuned in the style `{style}`: the user message is `{asked}`. {system} The chat template here renders "
        "just the prompts that it was tuned on."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _data(links: Sequence[LinkFacts]) -> str:
    shards = [(link.key[:8], *shard) for link in links for shard in link.shards]
    exports = [
        (link.key[:8], e.shard, e.split, e.examples, "" if e.tokens is None else e.tokens, e.digest)
        for link in links
        for e in link.exports
    ]
    return (
        _table(("link", "shard", "SHA-256 of its source", "lines", "rows kept"), shards)
        + "\n\nExamples made of them; held-out ones were never trained on:\n\n"
        + _table(("link", "shard", "split", "examples", "tokens", "digest"), exports)
    )


def _training(facts: CardFacts) -> str:
    tune = facts.tune.model_dump(mode="json", exclude={"kind", "base_model", *OPERATIONAL}, exclude_none=True)
    rows = [(name, f"`{value}`") for name, value in tune.items()]
    return _table(("hyperparameter", "value"), [*rows, ("steps", facts.result.steps)])


def _measured(facts: CardFacts) -> str:
    loss = facts.result.heldout_loss
    known = ", ".join(f"{value:.4f} {arm}" for arm, value in loss.items() if value is not None)
    verdicts = [f"- {verdict}" for verdict in facts.verdicts] or ["- no comparison is recorded (`shardtune compare`)"]
    parts = (
        f"Loss on held-out examples, nats a token: {known or 'not measured'}.",
        f"Verdicts, with {LEVEL:.0%} intervals:",
    )
    return "\n\n".join((*parts, "\n".join(verdicts)))


def _checks(checks: Sequence[ReadBack]) -> str:
    rows = [(c.form, f"{c.same} of {c.asked}", f"{c.moved:.6f}", f"{c.bound:g}", f"{c.bytes:,}") for c in checks]
    told = (
        "Before this was passed on, the files were opened anew (transformers, float32) and asked what the adapter on "
        "its base was asked: the likeliest tokens after prompts of held-out examples."
    )
    return f"{told}\n\n{_table(('form', 'same answers', 'moved by (nats a token)', 'allowed', 'bytes'), rows)}"
