"""Thirty opinions teach: listed, approved, learned by the next link, asked again; what is held out stays as it was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deployments.demo import catalogue
from flows.finetune import finetune
from flows.prepare import ready
from flows.review import asked_again
from flows.serve import Traces
from tasks import links
from tasks.answers.reply import Reply, ReplyStep
from tasks.examples.export import of_split, read_rows
from tasks.recipe import loader
from tasks.record import feedback
from tasks.serving.protocol import Feedback
from tests.kit.models import build, tune

pytestmark = pytest.mark.usefixtures("orchestrator")


def judged(rows: list[dict[str, str]]) -> None:
    """A bad answer about each row, with the row's own first sentence as the right one."""
    kept, now = Traces(), time.time_ns()
    for number, row in enumerate(rows):
        name = f"chatcmpl-{number:032x}"
        step = ReplyStep(name="retrieve", start=now, end=now)
        asked = f"Tell me about {row['title']}!"
        kept.answered(
            name, Reply(question=asked, state="none", text="?", style="grounded", model="m", steps=(step,)), None
        )
        assert kept.judged(Feedback(id=name, helpful=False, correct=row["content"].split(". ")[0] + "."))
    kept.waiting.join()


def test_thirty_opinions_teach_the_next_link_and_nothing_that_is_held_out(own_root: Path, tmp_path: Path):
    catalogue.write(str(tmp_path / "catalogue.json"), 150)
    quick = tune(build(tmp_path / "model", "llama"), max_length=500, too_long="cut").model_dump_json()
    sizes = "evaluate={seen: 1, unseen: 1, heldout_rows: 4, max_new_tokens: 4}"
    changes = [f"catalogue.uri={tmp_path}/catalogue.json", f"tune={quick}", sizes, "split.holdout_share=0.3"]
    recipe = loader.load(None, [*changes])
    willing = loader.load(None, [*changes, "export.from_feedback=true"])
    work = ready(recipe)
    (before,) = links.chain(*work)
    willing = links.exporting(willing)
    assert links.chain(willing, work.prepared) == (before,)  # nobody has said anything yet
    (shard,) = work.prepared.shards
    trained, held = (of_split(shard.uri, split).to_pylist() for split in ("train", "holdout"))
    judged([*trained[:27], *held[:3]])
    listed = feedback.disliked()
    assert len(listed) == 30 and {one.cause for one in listed} == {"row_missing"}
    by_title = {row["title"]: row["uid"] for row in (*trained, *held)}
    for one in listed:
        feedback.approve(one.trace, uid=by_title[one.question.removeprefix("Tell me about ").removesuffix("!")])
    done = finetune(willing)
    (after,) = links.chain(willing, work.prepared)
    assert (done.key, done.state) == (after.key, "succeeded") and after.key != before.key
    assert after.holdout == before.holdout and after.train[-1].corrections == 27
    taught = read_rows(after.train[-1], ["uid"])["uid"].to_pylist()[-27:]
    assert set(taught) == {row["uid"] for row in trained[:27]}
    assert links.chain(*work) == (before,)
    again = asked_again(f"run:{done.mlflow_run_id}")
    assert len(again) == 30 and {one.before for one in again} == {"none"}
    assert not any(one.right for one in again)  # four steps of a model of random weights teach nobody
    feedback.forget(listed[0].trace)
    assert len(feedback.corrections()) == 29
