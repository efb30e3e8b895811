"""Loss curves of providers: events and result files, as they are and as they break."""

from __future__ import annotations

import base64

import pytest

from tasks.backends.contract import LossPoint
from tasks.backends.openai import losses
from tasks.core.errors import BackendError

CSV = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.4,2.6,0.41\n2,2.25,0.5,,\n"
POINTS = (
    LossPoint(step=1, loss=2.5, accuracy=0.4, heldout_loss=2.6),
    LossPoint(step=2, loss=2.25, accuracy=0.5),
)


@pytest.mark.parametrize("raw", [CSV, base64.b64encode(CSV), b"\xef\xbb\xbf" + CSV, b"  " + base64.b64encode(CSV)])
def test_a_result_file_is_read_plain_and_in_base64(raw):
    assert losses.of_csv(raw) == POINTS


def test_azures_minus_one_is_not_a_loss():
    assert losses.of_csv(b"step,train_loss,valid_loss\n1,2.5,-1\n2,-1,-1\n") == (LossPoint(step=1, loss=2.5),)


@pytest.mark.parametrize("length", range(62, len(CSV)))
def test_a_file_that_was_cut_gives_only_whole_lines(length):
    for raw in (CSV[:length], base64.b64encode(CSV)[: 4 * length // 3]):
        assert all(point in POINTS for point in losses.of_csv(raw))


@pytest.mark.parametrize("raw", [b"<html>gone</html>", base64.b64encode(b"PK\x03\x04"), b""])
def test_what_is_no_result_file_is_an_error_that_says_what_came(raw):
    with pytest.raises(BackendError, match="result file"):
        losses.of_csv(raw)


def test_events_give_points_with_epochs_and_the_last_full_heldout_loss():
    events = [
        {"step": 2, "train_loss": 2.0, "total_steps": 4, "full_valid_loss": 2.2, "valid_loss": 9.0},
        {"step": 1, "train_loss": 2.5, "total_steps": 4, "valid_loss": 2.4, "train_mean_token_accuracy": 0.4},
        {"step": 4, "train_loss": 1.5, "total_steps": 4, "full_valid_loss": 1.9},
        {},
        {"step": 3, "train_loss": "NaN"},
    ]
    points = losses.of_events(events, 2)
    assert [(p.step, p.epoch, p.loss, p.heldout_loss) for p in points] == [
        (1, 0.5, 2.5, 2.4),
        (2, 1.0, 2.0, 2.2),
        (4, 2.0, 1.5, 1.9),
    ]
    assert losses.heldout(events) == 1.9
    assert losses.heldout([]) is None


def test_both_together_know_every_step_and_the_events_come_first():
    told = (LossPoint(step=1, loss=2.4, epoch=0.5),)
    assert losses.merged(told, POINTS) == (
        LossPoint(step=1, loss=2.4, epoch=0.5, accuracy=0.4, heldout_loss=2.6),
        POINTS[1],
    )
