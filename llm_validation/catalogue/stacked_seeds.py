"""The seeds of one run, trained as one stack: each seed's run is written as if it were alone.

Every seed runs in a thread of its own. Where all that are still running have come to a training, the trainings of equal
shape are done as one stack (`train.train_stacked`), and each thread goes on with its own result. What seeds draw
is named by (seed, words) and nothing random is shared, so that rows are those of one seed after another, up to the
rounding of batched products.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from llm_validation.catalogue.train import Task, Trained, Trainer, train_stacked

T = TypeVar("T")


@dataclass(eq=False)
class _Request:
    """A seed's training: asked for, then done or failed."""

    seed: int
    task: Task
    trained: Trained | None = None
    error: BaseException | None = None

    @property
    def open(self) -> bool:
        return self.trained is None and self.error is None


class _Meeting:
    """Where the threads of `members` runs meet for their trainings."""

    def __init__(self, members: int) -> None:
        self.running, self.requests = members, list[_Request]()
        self.turn = threading.Condition()

    def train(self, seed: int, task: Task) -> Trained:
        """Ask for a training; returns when it is done, together with the others'."""
        request = _Request(seed, task)
        with self.turn:
            self.requests.append(request)
            self._train_if_all_here()
            while request.open:
                self.turn.wait()
        if request.error is not None:
            raise request.error
        assert request.trained is not None
        return request.trained

    def leave(self) -> None:
        """A run is over: the others wait for it no longer."""
        with self.turn:
            self.running -= 1
            self._train_if_all_here()

    def _train_if_all_here(self) -> None:
        if not self.requests or len(self.requests) < self.running:
            return
        waiting = sorted(self.requests, key=lambda request: request.seed)
        self.requests = []
        groups: dict[object, list[_Request]] = {}
        for request in waiting:
            groups.setdefault(request.task.shape, []).append(request)
        for group in groups.values():
            try:
                results = train_stacked([request.task for request in group])
            except BaseException as error:
                for request in group:
                    request.error = error
            else:
                for request, trained in zip(group, results, strict=True):
                    request.trained = trained
        self.turn.notify_all()


def run_stacked(runs: Sequence[Callable[[Trainer], T]]) -> list[T]:
    """The results of all runs, each given a trainer that waits for the others.

    One that raises leaves the others going to their end; the first error is then raised.
    """
    meeting = _Meeting(len(runs))

    def one(seed: int) -> T:
        try:
            return runs[seed](lambda task: meeting.train(seed, task))
        finally:
            meeting.leave()

    with ThreadPoolExecutor(len(runs)) as threads:
        futures = [threads.submit(one, seed) for seed in range(len(runs))]
    return [future.result() for future in futures]
