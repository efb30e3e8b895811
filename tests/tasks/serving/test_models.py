"""Models: a champion and an index are replaced under way, and whoever holds the old ones is answered."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.answers import index
from tasks.core.errors import AnswerError
from tasks.serving.batcher import Batcher, LateError
from tasks.serving.models import Models, Places
from tasks.serving.refusals import RefusedRequest
from tests.kit import rows, serving

WEIGHT = f"How much does the {serving.NAMES[0]} weigh?"


class World:
    """What a server is given, to be changed under way."""

    def __init__(self, folder, recipe=serving.RECIPE):
        self.wanted = {"champion": (serving.champion(), recipe)}
        self.folder, self.speakers, self.prepared, self.trouble = folder, [], 0, None
        self.models = Models(Places(self.want, self.index, self.load))

    def want(self):
        if self.trouble:
            raise AnswerError(self.trouble)
        return self.wanted

    def index(self, recipe):
        self.prepared += 1
        return str(self.folder)

    def load(self, tune, model):
        self.speakers.append(serving.Speaker())
        return self.speakers[-1]

    def promote(self, model):
        target, recipe = self.wanted["champion"]
        self.wanted = {"champion": (target.model_copy(update={"model": model}), recipe)}


def soon(seconds=30):
    return time.monotonic() + seconds


def test_a_champion_is_loaded_once_and_replaced_without_dropping_a_request(folder):
    world = World(folder)
    for _ in range(3):
        world.models.refresh()
    assert len(world.speakers) == 1 and world.prepared == 1
    first = world.models["champion"]
    world.speakers[0].hold.clear()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(first.reply, [WEIGHT], soon())
        while not len(first.batcher()) and not held.running():
            threading.Event().wait(0.01)
        world.promote("m2")
        world.models.refresh()
        second = world.models["champion"]
        assert second.target.model == "m2" and second is not first
        assert second.reply([WEIGHT], soon()).state == "answered"  # while the old one still works
        world.speakers[0].hold.set()
        assert held.result().state == "answered"
    assert [s.times for s in world.speakers] == [1, 1]
    assert first.reply([WEIGHT], soon()).state == "answered"


def test_a_grown_index_is_opened_and_the_model_stays_loaded(tmp_path):
    source = tmp_path / "c.json"
    source.write_text("{}\n")
    recipe = serving.RECIPE.model_copy(
        update={"catalogue": serving.RECIPE.catalogue.model_copy(update={"uri": str(source)})}
    )
    old = rows.shard(tmp_path / "a", serving.PRODUCTS)
    index.update(tmp_path / "index", [old])
    world = World(tmp_path / "index", recipe)
    world.models.refresh()
    before = world.models["champion"]
    assert before.reply(["What is the Cobalt Anvil 77?"], soon()).state == "none"
    source.write_text("{}\n{}\n")
    index.update(tmp_path / "index", [old, rows.shard(tmp_path / "b", [("Cobalt Anvil 77", "It is heavy.")], index=1)])
    world.models.refresh()
    after = world.models["champion"]
    assert after.reply(["What is the Cobalt Anvil 77?"], soon()).state != "none" and world.prepared == 2
    assert after.batcher() is before.batcher() and len(world.speakers) == 1
    assert before.reply([WEIGHT], soon()).state == "answered"


def test_what_cannot_be_had_now_leaves_what_is_there(folder):
    world = World(folder)
    world.trouble = "no model is 'champion': `shardtune finetune --promote` makes one"
    world.models.refresh()
    with pytest.raises(RefusedRequest, match="finetune --promote") as refused:
        world.models["champion"]
    assert refused.value.status == 503
    world.trouble = None
    world.models.refresh()
    world.trouble = "MLflow is away"
    world.models.refresh()
    assert world.models["champion"].reply([WEIGHT], soon()).state == "answered"


def test_those_who_wait_are_answered_together_and_late_ones_not_at_all(folder):
    speaker = serving.Speaker()
    batcher = Batcher(speaker)
    speaker.hold.clear()
    talk = World(folder)
    talk.models.refresh()
    model = talk.models["champion"]
    model.batcher._made[:] = [batcher]
    asked = [f"How much does the {name} weigh?" for name in serving.NAMES[:9]]
    with ThreadPoolExecutor(9) as threads:
        late = threads.submit(model.reply, [WEIGHT], soon(0.2))
        with pytest.raises(LateError):
            late.result()
        held = [threads.submit(model.reply, [q], soon()) for q in asked]
        while len(batcher) < 8:
            threading.Event().wait(0.01)
        speaker.hold.set()
        assert [one.result().state for one in held]
    assert speaker.most == 8 and speaker.times <= 4
