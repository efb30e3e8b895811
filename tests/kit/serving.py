"""An application with a catalogue of 21 products and a model that says the truth, something false or nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tasks.answers import index
from tasks.answers.reply import Target, nobody
from tasks.backends.contract import Answer
from tasks.examples.styles import ABSTAIN
from tasks.recipe import loader
from tasks.recipe.tuning import LocalTune
from tasks.serving.app import made
from tasks.serving.limits import Limits
from tasks.serving.models import Models, Places
from tests.kit import rows

COLOURS = "red blue green amber violet".split()
THINGS = "kettle lantern hammock compass".split()
NAMES = [f"{c.title()} {t.title()} {10 * n}" for n, c in enumerate(COLOURS, 1) for t in THINGS]
PRODUCTS = [(name, f"The {name} weighs {n + 3} ounces. It is made of steel.") for n, name in enumerate(NAMES)]
# As no cleaning would leave it: whatever a row holds is text.
HOSTILE = ("Ember <script>alert(1)</script> Stove", "It burns <img src=x onerror=alert(2)> for 5 hours. So it does.")
RECIPE = loader.load(None, ["evaluate.max_new_tokens=40", "ask.product_url='https://shop/{uid}'"])


class Speaker:
    """A model whose words follow from its prompt alone; `most` is the largest batch that it was asked."""

    def __init__(self) -> None:
        self.most, self.times, self.hold = 0, 0, threading.Event()
        self.hold.set()

    def __call__(self, talks: Any, drawn: Any) -> list[Answer]:
        self.hold.wait(30)
        self.times, self.most = self.times + 1, max(self.most, len(talks))
        return [self.answer(talk, drawn) for talk in talks]

    def answer(self, talk: Any, drawn: Any) -> Answer:
        rows, _, question = talk[-1].content.rpartition("\n\n")
        named = [n for n, name in enumerate(NAMES) if name in question]
        # A question without a name goes on about the row that fits best, which comes first.
        shown = [n for n, name in enumerate(NAMES) if name in rows]
        number = named[0] if named else min(shown, key=lambda n: rows.index(NAMES[n]), default=0)
        said = [f"It weighs {number + 3} ounces.", "It weighs 99 tons.", ABSTAIN, "It is made of steel."][number % 4]
        common = {"decoding": drawn, "model_version": "m1", "prompt_tokens": 7, "answer_tokens": 5, "seconds": 0.1}
        return Answer(text=said, prompt_hash="h", **common)


class Kept:
    """What a server had recorded."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.opinions: list[Any] = []

    def answered(self, name: str, reply: Any, run_id: str | None) -> None:
        self.answers[name] = (reply, run_id)

    def judged(self, judged: Any) -> bool:
        self.opinions.append(judged)
        return judged.id in self.answers


def indexed(place: Path) -> Path:
    """The index of PRODUCTS and HOSTILE."""
    index.update(place / "index", [rows.shard(place, [*PRODUCTS, HOSTILE])])
    return place / "index"


def champion() -> Target:
    return Target(name="champion", tune=LocalTune(base_model="b"), style="grounded", model="m", run_id="r1")


def application(folder: Path, speaker: Speaker, target: Target, **limits: Any) -> Any:
    """A server of the champion, its base and the catalogue alone; its `state.kept` is what it had recorded."""
    base = champion().model_copy(update={"name": "base", "model": None, "run_id": None})
    wanted = {"champion": (target, RECIPE), "base": (base, RECIPE), "catalogue": (nobody(None, "grounded"), RECIPE)}
    models = Models(Places(lambda: wanted, lambda recipe: str(folder), lambda tune, model: speaker))
    models.refresh()
    app = made(models, Limits(**limits), Kept())
    app.state.kept = app.state.server.records
    return app
