"""The loss that is fed back: the sum over all labels, however the model makes its logits, with or without Triton."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy
from trl.trainer import utils

from tasks.backends.local import engines
from tasks.backends.local.jobs import Folder
from tasks.backends.local.training import measure, trainer
from tasks.backends.local.training.feed import loss_of
from tasks.examples.tokens import IGNORED
from tests.kit.models import build, linked, tune

LOGITS = torch.randn(2, 7, 11, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[IGNORED, IGNORED, 3, 4, 2, IGNORED, IGNORED], [IGNORED, 9, 9, 2, IGNORED, IGNORED, IGNORED]])


class Whole(torch.nn.Module):
    """Makes all logits; takes no columns, as older models."""

    def forward(self, input_ids, use_cache=None):
        return SimpleNamespace(logits=LOGITS)


class Choosing(torch.nn.Module):
    """Makes the logits of the columns asked for, as models of transformers."""

    def forward(self, input_ids, use_cache=None, logits_to_keep=0):
        return SimpleNamespace(logits=LOGITS[:, logits_to_keep])


class Deaf(torch.nn.Module):
    """Takes columns and makes all logits all the same, as models under Unsloth on a GPU."""

    def forward(self, input_ids, use_cache=None, logits_to_keep=0):
        return SimpleNamespace(logits=LOGITS)


@pytest.mark.parametrize("model", [Whole, Choosing, Deaf])
def test_the_loss_is_the_sum_over_the_labels(model):
    by_hand = sum(
        cross_entropy(LOGITS[row, n - 1], LABELS[row, n])
        for row in range(2)
        for n in range(1, 7)
        if LABELS[row, n] != IGNORED
    )
    found = loss_of(model(), {"input_ids": LABELS.clamp(min=0), "labels": LABELS})
    assert float(found) == pytest.approx(float(by_hand), rel=1e-5)


class Headed(torch.nn.Module):
    """A model with a head, and what it does to its logits besides."""

    def __init__(self, after, chooses):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = torch.nn.Embedding(900, 8), torch.nn.Linear(8, 900, bias=False)
        self.after, self.rows = after, []
        if chooses:
            self.forward = self.choosing

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, use_cache=None):
        return self.choosing(input_ids)

    def choosing(self, input_ids, use_cache=None, logits_to_keep=slice(None)):
        hidden = self.table(input_ids)[:, logits_to_keep]
        return SimpleNamespace(logits=self.after(self.head(hidden)))


@pytest.mark.parametrize("chooses", [True, False])
@pytest.mark.parametrize("capped", [False, True])
def test_the_held_out_loss_in_chunks_is_the_loss(chooses, capped, monkeypatch):
    model = Headed(lambda x: 3 * torch.tanh(x / 3) if capped else x, chooses)
    made = []
    model.head.register_forward_hook(lambda module, given, out: made.append(out.flatten(0, -2).shape[0]))
    monkeypatch.setattr(measure.memory, "MEASURED", 3)
    inputs = {"input_ids": LABELS.clamp(min=0) + 100, "labels": LABELS}
    assert float(measure._chunked(model, inputs)) == pytest.approx(float(loss_of(model, inputs)), rel=1e-6)
    # The first column, the same once more to compare, then three positions at a time; or all at once.
    assert made[:2] == [2, 2] and (max(made[2:-1]) == 3) == (not capped)


@pytest.mark.skipif(engines.has_gpu(), reason="where there is a GPU the kernel is used")
def test_training_without_a_gpu_leaves_the_kernel_of_triton_alone(tmp_path, monkeypatch):
    # The ordinary build of torch brings Triton to machines without a GPU, where none of its kernels runs.
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", object())
    link = linked(tmp_path, tune(build(tmp_path / "llama", "llama"), max_steps=1))
    folder = Folder.of(link.key)
    folder.write("link.json", link.model_dump(mode="json"))
    trainer.run(folder)
    assert folder.status.state == "succeeded" and len(folder.points) == 1
