"""Parity: an adapter read back answers as in training; one that was changed on the way does not, and it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tasks.backends.local import engines, models, parity
from tasks.backends.local.jobs import Folder
from tasks.backends.local.training import trainer
from tasks.core.errors import BackendError
from tests.kit.models import build, linked, tune


@pytest.fixture(scope="module", params=[False, True], ids=["16 bits", "4 bits"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A job done in this process."""
    place = tmp_path_factory.mktemp("parity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(place / "root"))
        base = build(place / "base", "llama")
        link = linked(place, tune(base, load_in_4bit=request.param, learning_rate=5e-2))
        folder = Folder.of(link.key)
        folder.path.mkdir(parents=True)
        folder.write("link.json", link.model_dump(mode="json"))
        trainer.run(folder)
        return folder


def test_an_adapter_read_back_answers_as_in_training_and_merging_moves_little(done):
    found = parity.asked(done, str(done.adapter))
    assert (found.asked, found.same, found.holds) == (parity.PROMPTS, parity.PROMPTS, True)
    assert 0 <= found.merged <= found.bound
    said = parity.RecordedAnswers.model_validate(done.read("said.json"))
    assert all(len(answer) == parity.TOKENS for answer in said.answers)


def test_a_base_in_4_bits_is_not_rounded_again(done):
    from peft import PeftModel

    tune, recorded = done.link.tune, done.read("said.json", parity.RecordedAnswers)
    if not tune.load_in_4bit:
        pytest.skip("a base in 16 bits")
    model = PeftModel.from_pretrained(engines.base(models.resolve(tune), True, False), str(done.adapter))
    with engines.evaluating(model):
        apart = parity.predicted(model, recorded)
    again = model.merge_and_unload()  # peft rounds the sum to 4 bits
    with engines.evaluating(again):
        rounded = parity.distance(apart, parity.predicted(again, recorded))
    assert parity.asked(done, str(done.adapter)).merged < rounded / 4


def test_an_adapter_that_was_changed_on_the_way_is_told(done, tmp_path):
    for file in done.adapter.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "adapter_model.safetensors")
    save_file({name: -3 * weight for name, weight in weights.items()}, tmp_path / "adapter_model.safetensors")
    found = parity.asked(done, str(tmp_path))
    assert not found.holds and found.same < found.asked
    assert f"{found.same} of {found.asked} answers" in found.summary


def test_a_job_that_noted_nothing_proves_nothing(tmp_path):
    assert parity.asked(Folder(tmp_path), str(tmp_path)) is None


def test_an_adapter_that_cannot_be_read_is_an_error_that_names_it(done, tmp_path):
    with pytest.raises(BackendError, match="cannot be compared"):
        parity.asked(done, str(Path(tmp_path, "nowhere")))
