"""How much work the measurements on open generation do in each profile, and what they start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from llm_validation.reward_model import RewardTraining


@dataclass(frozen=True)
class BestOfNEffort:
    """Best-of-N and Speculative Rejection.

    length       T, tokens of a response, if the model's context holds them after a prompt of one token
    sizes, rows  N, and the rows in all on which each is measured, in groups of N
    pool         rows from which the reward law and v(t) are measured
    at_once      rows that are generated side by side
    streams, comparisons, reward    texts, comparisons and training of the reward model
    replicates   of the bootstrap behind predicted numbers
    """

    length: int = 56
    sizes: tuple[int, ...] = (4, 16, 64, 256)
    rows: tuple[int, ...] = (2048, 2048, 4096, 4096)
    pool: int = 4096
    at_once: int = 2048
    streams: int = 3000
    comparisons: int = 6000
    reward: RewardTraining = field(default_factory=lambda: RewardTraining(steps=120, rate=6e-3))
    replicates: int = 20


@dataclass(frozen=True)
class CorrectionEffort:
    """Aligner.

    warmup, steps   optimiser steps of the identity warm-up, at most, and of each training on corrections
    further_steps   of the shorter trainings: other upstream models, distillation, joint training
    batch, rate     triples in a step; learning rate (at 2e-3 and above `tiny` does not learn to copy)
    held_out        triples on which floors are measured
    samples         answers sampled from each stacked model
    """

    warmup: int = 600
    steps: int = 250
    further_steps: int = 100
    batch: int = 64
    rate: float = 1e-3
    held_out: int = 4000
    samples: int = 1500


@dataclass(frozen=True)
class Context:
    """A pretrained model's folder (or its name), and the effort of each topic."""

    folder: str | Path
    best_of_n: BestOfNEffort = field(default_factory=BestOfNEffort)
    correction: CorrectionEffort = field(default_factory=CorrectionEffort)


_SMOKE = (
    BestOfNEffort(
        length=24, sizes=(4, 16), rows=(64, 128), pool=128, streams=200, comparisons=400,
        reward=RewardTraining(steps=20, rate=3e-3), replicates=4,
    ),
    CorrectionEffort(warmup=10, steps=40, further_steps=40, batch=32, rate=6e-3, held_out=200, samples=100),
)  # fmt: skip
_GPU = (
    BestOfNEffort(
        length=256, sizes=(4, 16, 64, 256, 1024), rows=(4096, 8192, 32_768, 65_536, 65_536), pool=32_768,
        at_once=4096, streams=20_000, comparisons=100_000, replicates=50,
        reward=RewardTraining(steps=2000, batch=64, rate=2e-4),
    ),
    CorrectionEffort(warmup=200, steps=1500, further_steps=600, batch=256, rate=2e-4, held_out=40_000, samples=20_000),
)  # fmt: skip
#: profile → (Best-of-N, correction)
EFFORTS = {"smoke": _SMOKE, "cpu": (BestOfNEffort(), CorrectionEffort()), "gpu": _GPU}


def context(folder: str | Path, profile: str) -> Context:
    """The context of a profile. KeyError for a profile that does not exist."""
    best_of_n, correction = EFFORTS[profile]
    return Context(folder, best_of_n, correction)
