"""Chat: a question without a product of its own goes on with the one before it."""

from __future__ import annotations

from flows import chat
from tasks.answers import index
from tasks.answers.reply import Target
from tasks.backends.contract import Answer
from tasks.recipe import loader
from tasks.recipe.tuning import LocalTune
from tests.kit.catalogues import line, run, source

ROWS = [
    line("B001", "Copper Tea Kettle", "A copper kettle that holds two litres. It weighs 1.4 kg when it is empty."),
    line("B002", "Girls Ballet Tutu Neon Pink", "High quality 3 layer ballet tutu, 12 inches in length, for dancers."),
]


def test_a_follow_up_is_answered_from_the_product_before_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path))
    index.update(tmp_path / "index", run(source(tmp_path, ROWS), tmp_path).prepared.shards)
    target = Target(name="base", tune=LocalTune(base_model="none"), style="grounded")
    recipe = loader.load(None, ["catalogue.uri=c.json"])
    monkeypatch.setattr(chat.respond, "target", lambda *_: (target, recipe))
    monkeypatch.setattr(chat, "indexed", lambda _: str(tmp_path / "index"))
    monkeypatch.setattr(chat.traces, "write", lambda *_: None)
    said = "It weighs 1.4 kg when it is empty."

    def answer(talks, drawn):
        common = {"prompt_tokens": 1, "answer_tokens": 9, "seconds": 0.0}
        return [Answer(text=said, prompt_hash="0", decoding=drawn, model_version="1", **common) for _ in talks]

    monkeypatch.setattr(chat, "resident", lambda *_: answer)
    ask = chat.opened("base", recipe, None)
    first, then = ask("What is the Copper Tea Kettle?"), ask("and how heavy is it?")
    assert first.source is not None and then.source is not None and then.source.uid == "B001"
    assert "1.4 kg" in then.text
    assert chat.opened("base", recipe, None)("and how heavy is it?").state == "none"
