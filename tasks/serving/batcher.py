"""Batcher: conversations that wait for one model are answered together, as many as a batch of it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

from tasks.backends.contract import Answer, Decoding
from tasks.core.models import Message

Talk = Sequence[Message]
Asked = Callable[[Sequence[Talk], Decoding], Sequence[Answer]]
MOST = 8  # a local model's own batch: with more it would answer them one batch after the other
GATHERED = 0.005  # seconds in which those who ask at the same time become one batch


class LateError(Exception):
    """Its turn came after the moment until which it could wait."""


class _Waiting(NamedTuple):
    talk: Talk
    decoding: Decoding
    until: float
    answer: Future[Answer]


class Batcher:
    """One model; `asked` is called by one thread at a time. Whoever still holds a batcher may use it."""

    def __init__(self, asked: Asked, most: int = MOST) -> None:
        self.asked, self.most = asked, most
        self._lock, self._waiting = Lock(), list[_Waiting]()
        self._thread = ThreadPoolExecutor(1, "model")

    def answers(self, talks: Sequence[Talk], decoding: Decoding, until: float) -> list[Answer]:
        """One answer a conversation. LateError where they are not there at `until`, of time.monotonic()."""
        mine = [_Waiting(talk, decoding, until, Future()) for talk in talks]
        with self._lock:
            self._waiting += mine
        for _ in mine:
            self._thread.submit(self._batch)
        try:
            return [one.answer.result(max(0.0, until - time.monotonic())) for one in mine]
        except TimeoutError as error:
            raise LateError from error

    def __len__(self) -> int:
        return len(self._waiting)

    def _batch(self) -> None:
        """Answer those who have waited longest, if another batch has not taken them."""
        if not self._waiting:
            return
        time.sleep(GATHERED)
        with self._lock:
            same = [one for one in self._waiting if one.decoding == self._waiting[0].decoding][: self.most]
            self._waiting = [one for one in self._waiting if not any(one is taken for taken in same)]
        there = [one for one in same if one.until > time.monotonic() and one.answer.set_running_or_notify_cancel()]
        if there:
            self._answer(there)

    def _answer(self, several: list[_Waiting]) -> None:
        try:
            given = self.asked([one.talk for one in several], several[0].decoding)
            for one, answer in zip(several, given, strict=True):
                one.answer.set_result(answer)
        except Exception as error:
            if len(several) == 1:
                several[0].answer.set_exception(error)
                return
            for one in several:  # which of them it is shows when each is asked alone
                self._answer([one])
