"""Watching: every step is judged, written down and timed, and a saved checkpoint is marked whole."""

from __future__ import annotations

import json
import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from tasks.backends.contract import JobStatus
from tasks.backends.local.jobs import Folder
from tasks.backends.local.training import watch as module
from tasks.backends.local.training.watch import Watch, judge
from tasks.core import store
from tasks.core.errors import TrainingError


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


class Training:
    """The calls that a trainer makes, with real state and arguments."""

    def __init__(self, folder, clock, steps=10):
        self.folder, self.clock = folder, clock
        self.watch = Watch(folder, JobStatus(state="running", heldout_before=4.0, facts={"device": "cpu"}))
        self.state = TrainerState(max_steps=steps, global_step=0, epoch=0.0)
        self.args = TrainingArguments(output_dir=str(folder.checkpoints), use_cpu=True)

    def step(self, took=2.0, examples=4, tokens=100, passes=1, **logs):
        self.watch.on_step_begin(self.args, self.state, TrainerControl())
        for _ in range(passes):
            self.watch.count({"examples": examples, "tokens": tokens})
        self.clock.now += took
        self.state.global_step += 1
        self.state.epoch = self.state.global_step / 4
        logs = {"loss": 3.0, "grad_norm": 1.0, "learning_rate": 1e-4} | logs
        self.watch.on_log(self.args, self.state, TrainerControl(), logs=logs)

    def save(self):
        place = self.folder.checkpoints / f"checkpoint-{self.state.global_step}"
        place.mkdir(parents=True)
        self.watch.on_save(self.args, self.state, TrainerControl())
        return place


@pytest.fixture
def training(tmp_path, clock):
    (tmp_path / "job").mkdir()
    return Training(Folder(tmp_path / "job"), clock)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 0.0])
def test_a_loss_that_means_nothing_stops_with_its_step(loss):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf|-inf|exactly 0) at step 17"):
        judge(loss, 1.0, 17)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_without_end_stops_with_its_step(norm):
    with pytest.raises(TrainingError, match=rf"gradient norm is {norm!r} at step 17.*learning_rate"):
        judge(3.0, norm, 17)


@pytest.mark.parametrize(("loss", "norm"), [(3.0, 1.0), (1e-9, 0.0), (80.0, 1e9)])
def test_a_loss_that_means_something_goes_on(loss, norm):
    judge(loss, norm, 1)


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"loss": 0.0}, {"grad_norm": math.inf}])
def test_a_bad_step_stops_the_training_and_is_no_point(training, bad):
    training.step()
    with pytest.raises(TrainingError, match="at step 2"):
        training.step(**bad)
    assert [p.step for p in training.folder.points] == [1]
    assert training.folder.status.step == 1


def test_float16_overflows_are_the_scalers_business_until_they_do_not_end(training):
    training.args.fp16 = True
    for _ in range(2):
        for _ in range(module.PATIENCE):
            training.step(grad_norm=math.inf)
        training.step(grad_norm=2.0)
    assert len(training.folder.points) == 2 * module.PATIENCE + 2
    with pytest.raises(TrainingError, match="gradient norm is inf"):
        for _ in range(module.PATIENCE + 1):
            training.step(grad_norm=math.inf)


def test_half_precision_may_overflow_for_a_while_and_not_for_ever(training):
    training.args.fp16 = True
    for _ in range(2):
        for _ in range(module.PATIENCE):
            training.step(grad_norm=math.inf)
        training.step(grad_norm=1.0)
    with pytest.raises(TrainingError, match=f"gradient norm is inf at step {3 * (module.PATIENCE + 1)}"):
        for _ in range(module.PATIENCE + 1):
            training.step(grad_norm=math.inf)
    with pytest.raises(TrainingError, match="loss is nan"):
        training.step(loss=math.nan)


def test_every_step_is_one_line_with_its_numbers(training):
    for n in range(3):
        training.step(took=1.5 + n, loss=3.0 - n / 10, learning_rate=1e-4 * (n + 1))
    lines = (training.folder.path / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    points = training.folder.points
    assert [p.loss for p in points] == [3.0, 2.9, 2.8]
    assert [p.epoch for p in points] == [0.25, 0.5, 0.75]
    assert [p.seconds for p in points] == [1.5, 2.5, 3.5]
    assert [p.learning_rate for p in points] == pytest.approx([1e-4, 2e-4, 3e-4])


def test_the_status_follows_and_keeps_what_was_known(training):
    training.step()
    training.step()
    status = training.folder.status
    assert (status.state, status.detail, status.step, status.steps) == ("running", "training", 2, 10)
    assert status.heldout_before == 4.0 and status.facts["device"] == "cpu"
    assert status.facts["eta_seconds"] == 16.0


def test_a_log_without_a_loss_is_no_step(training):
    training.step()
    training.watch.on_log(training.args, training.state, TrainerControl(), logs={"train_runtime": 3.0})
    training.watch.on_log(training.args, training.state, TrainerControl(), logs=None)
    assert len(training.folder.points) == 1


def test_speed_leaves_the_warm_up_step_out(training):
    training.step(took=60.0, examples=4, tokens=100)
    assert training.watch.speed(9)["seconds_per_step"] == 60.0  # there is no other yet
    training.step(took=2.0, examples=4, tokens=90)
    training.step(took=3.0, examples=6, tokens=110)
    told = training.watch.speed(4)
    assert told["seconds_per_step"] == 2.5 and told["eta_seconds"] == 10.0
    assert told["examples_per_second"] == 2.0 and told["tokens_per_second"] == 40.0
    assert told["peak_memory_bytes"] > 1 << 20


def test_all_passes_of_a_step_count_and_none_of_the_step_before(training):
    training.step()
    training.step(took=2.0, examples=3, tokens=50, passes=4)
    training.step(took=2.0, examples=3, tokens=50, passes=4)
    told = training.watch.speed(0)
    assert told["examples_per_second"] == 6.0 and told["tokens_per_second"] == 100.0


def test_speed_says_nothing_before_the_first_step(training):
    assert training.watch.speed(10) == {}


def test_a_saved_checkpoint_is_marked_whole_with_its_step(training):
    for _ in range(3):
        training.step()
    assert training.folder.whole_checkpoint() is None
    place = training.save()
    assert store.read(str(place / "whole.json")) == {"step": 3, "files": {}}
    assert training.folder.whole_checkpoint() == place
    training.step()
    assert training.folder.whole_checkpoint() == place
    assert training.save() == training.folder.whole_checkpoint()
