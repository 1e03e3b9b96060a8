"""How much work the measurements on open generation do in each profile, and what they start from.

Learning rates are those of the profile's own model size. A wider model, of width w, takes them at own width / w: under
Adam the best rate of a matrix falls as one over its inputs (Yang et al., arXiv 2203.03466, "μP", table 8). A narrower
one keeps them: above some rate a model does not learn to copy, however narrow it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from llm_validation.model.model import SIZES
from llm_validation.profiles import PROFILES
from llm_validation.rewards.model import RewardTraining
from llm_validation.training.device import DeviceRates


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
    """A pretrained model's folder (or its name), the effort of each topic, and what the device can do, if measured."""

    folder: str | Path
    best_of_n: BestOfNEffort = field(default_factory=BestOfNEffort)
    correction: CorrectionEffort = field(default_factory=CorrectionEffort)
    rates: DeviceRates | None = None


_SMOKE = (
    BestOfNEffort(
        length=24, sizes=(4, 16), rows=(64, 128), pool=128, streams=200, comparisons=400,
        reward=RewardTraining(steps=20, rate=3e-3), replicates=4,
    ),
    CorrectionEffort(warmup=10, steps=40, further_steps=40, batch=32, rate=6e-3, held_out=200, samples=100),
)  # fmt: skip
_GPU = (
    BestOfNEffort(
        length=128, sizes=(4, 16, 64, 256, 1024, 4096), rows=(2048, 4096, 8192, 16_384, 16_384, 32_768),
        pool=16_384, at_once=4096, streams=8000, comparisons=40_000, replicates=20,
        reward=RewardTraining(steps=1000, batch=64, rate=2e-4),
    ),
    CorrectionEffort(warmup=600, steps=600, further_steps=250, batch=256, rate=2e-4, held_out=20_000, samples=10_000),
)  # fmt: skip
#: profile → (Best-of-N, correction)
EFFORTS = {"smoke": _SMOKE, "cpu": (BestOfNEffort(), CorrectionEffort()), "gpu": _GPU}


def rate_factor(profile: str, size: str) -> float:
    """What a profile's learning rates are multiplied by at a model size: min(1, own width / width of `size`).

    KeyError for a profile that does not exist, ValueError for a size that does not.
    """
    own = PROFILES[profile].pretraining.size
    if size not in SIZES:
        raise ValueError(f"no model size {size!r}; there are {', '.join(SIZES)}")
    return min(1.0, SIZES[own].hidden / SIZES[size].hidden)


def context(folder: str | Path, profile: str, *, size: str | None = None, rates: DeviceRates | None = None) -> Context:
    """The context of a profile, for a model of a size of `model.SIZES`; None: the profile's own.

    KeyError for a profile that does not exist, ValueError for a size that does not.
    """
    best_of_n, correction = EFFORTS[profile]
    factor = 1.0 if size is None else rate_factor(profile, size)
    reward = replace(best_of_n.reward, rate=factor * best_of_n.reward.rate)
    slower = replace(correction, rate=factor * correction.rate)
    return Context(folder, replace(best_of_n, reward=reward), slower, rates)
