"""The line that shows how a grid is going: jobs done, tokens per second, MFU, time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

from llm_validation.catalogue.train import Task, Trained, Trainer
from llm_validation.training.device import training_flops_per_token


@dataclass(eq=False)
class Tally:
    """What one job trained so far: positions of prefix trees through forward and backward, and their FLOPs."""

    tokens: int = 0
    flops: float = 0.0

    def counting(self, trainer: Trainer) -> Trainer:
        """The trainer, each of its trainings added to this tally."""

        def train(task: Task) -> Trained:
            trained = trainer(task)
            self.tokens += trained.tokens
            self.flops += trained.tokens * training_flops_per_token(task.model, task.trie.tokens.shape[1])
            return trained

        return train


class _Expected(Protocol):
    """What the dashboard has to know of a job."""

    @property
    def key(self) -> str: ...

    @property
    def work(self) -> float: ...


class Dashboard:
    """A progress bar over jobs; time left is by the jobs' expected work, not by their number.

    peak  FLOP/s of matrix products that the MFU is relative to; None: no MFU
    """

    def __init__(self, jobs: Sequence[_Expected], label: str, peak: float | None) -> None:
        self.work = {job.key: job.work for job in jobs}
        self.total, self.peak = sum(self.work.values()), peak
        self.started, self.done, self.tokens, self.flops = time.perf_counter(), 0.0, 0, 0.0
        self.bar = tqdm(
            total=len(jobs),
            desc=label,
            unit="job",
            disable=not jobs,
            bar_format="{desc}: {n_fmt}/{total_fmt} jobs [{elapsed}{postfix}]",
        )

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def add(self, key: str, tokens: int, flops: float) -> None:
        """A job is done."""
        self.done += self.work[key]
        self.tokens, self.flops = self.tokens + tokens, self.flops + flops
        self.bar.set_postfix_str(self.line(key, time.perf_counter() - self.started))
        self.bar.update()

    def line(self, key: str, seconds: float) -> str:
        """Tokens per second and MFU since the start, time left, and the job that was finished last."""
        left = seconds * (self.total - self.done) / self.done if self.done else float("nan")
        parts = [f"{self.tokens / seconds:,.0f} trained tokens/s"] if self.tokens else []
        if self.peak and self.flops:
            parts.append(f"MFU {100 * self.flops / seconds / self.peak:.1f} %")
        return ", ".join([*parts, f"{tqdm.format_interval(left)} left", key])
