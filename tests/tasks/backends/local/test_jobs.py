"""Job folders: a kill leaves nothing half that is read as whole, and one process at a time holds a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tasks.backends.contract import JobStatus, LossPoint
from tasks.backends.local.jobs import Folder
from tasks.core import settings
from tests.kit.links import made

HOLD = "import sys; from tasks.backends.local.jobs import Folder; from pathlib import Path\n"


@pytest.fixture
def folder(tmp_path):
    job = Folder(tmp_path / "job")
    job.path.mkdir()
    return job


def point(step):
    return LossPoint(step=step, epoch=step / 8, loss=4.0 - step / 10, learning_rate=1e-4, seconds=0.5)


def test_a_job_lies_under_the_root_by_its_key(own_root):
    key = made().key
    assert Folder.of(key).path == own_root / "jobs" / key == settings.local_root() / "jobs" / key


def test_what_was_written_is_read_and_what_was_not_is_none(folder):
    assert folder.read("link.json") is None
    assert folder.status == JobStatus(state="queued")
    assert folder.points == () and folder.process is None and folder.whole_checkpoint() is None
    link, status = made(), JobStatus(state="running", step=3, points=(point(1),), facts={"device": "cpu"})
    folder.write("link.json", link.model_dump(mode="json"))
    folder.write("status.json", status.model_dump(mode="json"))
    assert (folder.link.model_dump(), folder.link.key, folder.status) == (link.model_dump(), link.key, status)


def test_a_reader_never_meets_a_half_written_file(folder):
    large = [{"fill": "x" * 200_000, "number": n} for n in range(2)]
    folder.write("status.json", large[0])

    def write():
        for n in range(150):
            folder.write("status.json", large[n % 2])

    with ThreadPoolExecutor(1) as pool:
        writing, seen = pool.submit(write), []
        while not writing.done():
            seen.append(folder.read("status.json"))
        writing.result()
    assert len(seen) > 2 and all(value in large for value in seen)


def test_a_failed_write_leaves_the_old_file_and_no_rest(folder):
    folder.write("status.json", {"step": 1})
    with pytest.raises(TypeError):
        folder.write("status.json", {"step": object()})
    assert folder.read("status.json") == {"step": 1}
    assert [p.name for p in folder.path.iterdir()] == ["status.json"]


def test_points_are_kept_in_order_and_a_cut_line_is_left_out(folder):
    points = tuple(point(n) for n in (1, 2, 3))
    for one in points:
        folder.add_point(one)
    assert folder.points == points
    whole = (folder.path / "losses.jsonl").read_bytes()
    last = len(points[-1].model_dump_json()) + 1
    for lost in range(1, last + 1):
        (folder.path / "losses.jsonl").write_bytes(whole[:-lost])
        assert folder.points == points[:2]


def test_points_after_the_checkpoint_are_forgotten_and_made_again(folder):
    for n in range(1, 6):
        folder.add_point(point(n))
    with (folder.path / "losses.jsonl").open("a") as stream:
        stream.write('{"step": 6, "epo')  # cut by a kill
    folder.keep_points(3)
    assert [p.step for p in folder.points] == [1, 2, 3]
    folder.add_point(point(4))
    assert folder.points == tuple(point(n) for n in (1, 2, 3, 4))
    folder.keep_points(0)
    assert folder.points == ()


def test_the_newest_checkpoint_is_taken_and_half_ones_are_passed_over(folder):
    for step in (2, 9, 10, 25, 100, 105):
        place = folder.checkpoints / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "adapter_model.safetensors").write_bytes(b"weights")
        assert folder.whole_checkpoint() != place  # not before it is marked
        if step != 105:
            (place / "whole.json").write_text(json.dumps({"step": step}))
            assert folder.whole_checkpoint() == place
    assert folder.whole_checkpoint() == folder.checkpoints / "checkpoint-100"


def held_elsewhere(folder):
    """Whether a process of its own finds the job held."""
    code = f"{HOLD}print(Folder(Path(sys.argv[1])).is_locked())"
    done = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_a_held_job_is_held_for_every_other_process_and_free_at_the_end(folder):
    with folder.lock() as handle:
        assert handle is not None
        with folder.lock() as second:
            assert second is None
        assert folder.is_locked() and held_elsewhere(folder)
    assert not folder.is_locked() and not held_elsewhere(folder)


def test_the_lock_of_a_process_that_was_killed_is_free(folder):
    code = f"{HOLD}\nwith Folder(Path(sys.argv[1])).lock() as h: print(h is not None, flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline().strip() == "True"
    assert folder.is_locked()
    other.kill()
    other.communicate()
    assert not folder.is_locked()


def test_a_child_that_inherited_the_lock_goes_on_holding_it(folder):
    with folder.lock() as handle:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(handle,)
        )
    assert folder.is_locked()  # this process has let go; the child has not
    child.communicate()
    assert not folder.is_locked()


def test_holding_makes_the_folder(tmp_path):
    with Folder(tmp_path / "new" / "job").lock() as handle:
        assert handle is not None
    assert (tmp_path / "new" / "job").is_dir()


def recorded(folder, pid, started):
    folder.write("process.json", {"pid": pid, "started": started})
    return folder.process


def test_a_running_process_is_ours_by_number_and_start(folder):
    mine = psutil.Process()
    assert recorded(folder, mine.pid, mine.create_time()) == mine


def test_a_process_signs_for_itself_or_for_its_child(folder):
    folder.sign()
    assert folder.process == psutil.Process()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    folder.sign(psutil.Process(child.pid))
    assert folder.process.pid == child.pid
    child.communicate()
    assert folder.process is None


def test_a_number_used_again_by_another_process_is_not_ours(folder):
    mine = psutil.Process()
    assert recorded(folder, mine.pid, mine.create_time() - 60) is None
    assert recorded(folder, mine.pid, mine.create_time() + 60) is None


def test_a_process_that_is_gone_or_not_yet_reaped_is_none(folder):
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(child.pid).create_time()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended and stays a zombie
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert recorded(folder, child.pid, started) is None
    child.wait()
    assert recorded(folder, child.pid, started) is None


def test_a_damaged_checkpoint_gives_way_to_the_one_before(folder):
    for step in (2, 4):
        place = folder.checkpoints / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "optimizer.pt").write_bytes(b"moments")
        folder.mark_whole(place, step)
    assert folder.whole_checkpoint() == folder.checkpoints / "checkpoint-4"
    (folder.checkpoints / "checkpoint-4" / "optimizer.pt").write_bytes(b"momentz")
    assert folder.whole_checkpoint() == folder.checkpoints / "checkpoint-2"


def test_a_damaged_loss_is_left_out_and_no_other(folder):
    for step in (1, 2, 3):
        folder.add_point(point(step))
    losses = folder.path / "losses.jsonl"
    lines = losses.read_text().splitlines(keepends=True)
    losses.write_text(lines[0] + lines[1].replace('"step": 2', '"step": 7') + lines[2])
    assert [p.step for p in folder.points] == [1, 3]
