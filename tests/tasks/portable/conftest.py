"""A tiny model that was really tuned, and what its page says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tasks.backends.contract import Link
from tasks.backends.local.jobs import Folder
from tasks.backends.local.training import trainer
from tasks.portable.card import CardFacts, LinkFacts
from tests.kit.links import result
from tests.kit.models import build, linked, tune

Made = Callable[..., tuple[CardFacts, str]]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Facts and adapter of a tiny model of an architecture, tuned in this process."""
    place = tmp_path_factory.mktemp("portable")
    known: dict[str, tuple[CardFacts, str]] = {}

    def made(architecture: str = "llama", chat: bool = True, load_in_4bit: bool = False) -> tuple[CardFacts, str]:
        name = f"{architecture} {chat} {load_in_4bit}"
        if name not in known:
            base = build(place / name / "base", architecture, chat)
            sharpened(Path(base))
            link = linked(place / name, tune(base, load_in_4bit=load_in_4bit, learning_rate=5e-2))
            folder = Folder.of(link.key)
            folder.path.mkdir(parents=True)
            folder.write("link.json", link.model_dump(mode="json"))
            trainer.run(folder)
            known[name] = facts(link), str(folder.adapter)
        return known[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(place / "root"))
        yield made


def sharpened(base: Path) -> None:
    """Weights so large that attention looks at single tokens: what mixes up its rows or rounds them can be seen."""
    weights = load_file(base / "model.safetensors")
    grown = {name: weight * (12 if weight.ndim > 1 else 1) for name, weight in weights.items()}
    save_file(grown, base / "model.safetensors", {"format": "pt"})


def facts(link: Link) -> CardFacts:
    """The page of a link's model."""
    mine = LinkFacts(key=link.key, shards=((0, "a" * 64, 30, 24),), exports=(*link.train, *link.holdout))
    return CardFacts(
        title="tiny 12345678",
        tune=link.tune,
        base="owner/tiny",
        base_digest=link.base_digest,
        license="apache-2.0",
        style=link.style,
        links=(mine,),
        result=result(link, "r1"),
        verdicts=("tiny vs base: better by chrf (+1.000 [+0.500, +1.500], 40 questions)",),
    )
