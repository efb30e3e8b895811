"""Loss by epoch, and its picture."""

from __future__ import annotations

from tasks.backends.contract import LossPoint
from tasks.evaluation.plots import curve, epoch_means

POINTS = [LossPoint(step=n + 1, epoch=(n + 1) / 4, loss=float(8 - n)) for n in range(6)]


def test_the_last_step_of_an_epoch_belongs_to_it():
    assert epoch_means(POINTS) == {1: 6.5, 2: 3.5}


def test_the_picture_holds_both_curves():
    by_step, by_epoch = curve(POINTS).axes
    assert list(by_step.lines[0].get_ydata()) == [8, 7, 6, 5, 4, 3]
    assert list(by_epoch.lines[0].get_ydata()) == [6.5, 3.5]


def test_no_points_make_an_empty_picture():
    assert len(curve([]).axes) == 2
