"""How much a profile trains, writes and reads: one frozen record per profile, and nothing else decides it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llm_validation.model.model import SIZES
from llm_validation.pretraining.config import PRESETS, Pretraining
from llm_validation.rewards.model import RewardTraining
from llm_validation.training.schedule import Schedule


@dataclass(frozen=True)
class BestOfN:
    """Best-of-N and Speculative Rejection.

    length       T, tokens of a response, if the model's context holds them after a prompt of one token
    sizes, rows  N, and the rows in all on which each is measured, in groups of N
    pool         rows from which the reward law and v(t) are measured
    at_once      rows that are written in one batch
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

    def __post_init__(self) -> None:
        largest = max(self.sizes)
        if self.at_once % largest or any(largest % n for n in self.sizes):
            raise ValueError(
                f"sizes {self.sizes} must divide the largest, and that at_once = {self.at_once}: they share rows"
            )


@dataclass(frozen=True)
class Correction:
    """Aligner.

    warmup, steps   optimiser steps of the identity warm-up, at most, and of each training on corrections
    further_steps   of the shorter trainings: other upstream models, distillation
    pairs           of each training on preference pairs
    batch, rate     triples in a step, which cost next to nothing; learning rate
    held_out        triples on which floors are measured
    samples         answers sampled from each stacked model
    """

    warmup: int = 400
    steps: int = 80
    further_steps: int = 40
    pairs: int = 100
    batch: int = 16_384
    rate: float = 2e-3
    held_out: int = 200_000
    samples: int = 1500


@dataclass(frozen=True)
class Profile:
    """The dials of a profile.

    pretraining  the base model: its size and how long it reads the generated language (or a corpus)
    seeds        independent seeds: designed laws, drawn data, catalogue, samples. The base model is shared,
                 and so is the reward model of Best-of-N
    fit          schedule of the reference fits
    runs         schedule of every alignment run, which scales its rate and length. Here and in fits AdamW forgets
                 squares of gradients in 20 steps (beta2 = .95): full batches have no noise to average over 1000
    best_of_n, correction    of the runs that generate freely
    betas        bt_beta of the users of D17, one prompt each
    """

    pretraining: Pretraining
    seeds: int
    fit: Schedule
    runs: Schedule
    best_of_n: BestOfN = field(default_factory=BestOfN)
    correction: Correction = field(default_factory=Correction)
    betas: tuple[float, ...] = (1.0, 5.0, 10.0)


#: Size of the model → peak learning rates of reference fits and of alignment runs: the wider, the slower, but by no
#: power of the width (2.7 times as wide, half the rate from mini to small; 1.5 times as wide, .4 of it from smoke to
#: micro). The rates of `best_of_n` and `correction` go by the width (`profile_at`): one rule for all would change rows.
RATES = {
    "smoke": (1e-2, 3e-3),
    "micro": (4e-3, 2e-3),
    "tiny": (2e-3, 1e-3),
    "mini": (1e-3, 5e-4),
    "small": (5e-4, 2e-4),
    "base": (3e-4, 1e-4),
}

#: Each profile at its own size. `smoke` shows that everything runs; its policies are not meant to be near their
#: predictions.
PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        PRESETS["smoke"],
        1,
        Schedule(steps=250, rate=1e-2),
        Schedule(steps=20, rate=3e-3, record=10),
        BestOfN(24, (4, 16), (64, 128), 128, 2048, 200, 400, RewardTraining(steps=20, rate=3e-3), 4),
        Correction(10, 40, further_steps=40, pairs=40, batch=1024, rate=6e-3, held_out=200, samples=100),
        betas=(5.0,),
    ),
    "cpu": Profile(PRESETS["tiny"], 3, Schedule(steps=160, rate=2e-3, beta2=0.95), Schedule(steps=200, beta2=0.95)),
    "gpu": Profile(
        PRESETS["small"],
        5,
        Schedule(steps=400, rate=5e-4),
        Schedule(steps=400, rate=2e-4, beta2=0.95),
        BestOfN(
            length=128,
            sizes=(4, 16, 64, 256, 1024, 4096),
            rows=(2048, 4096, 8192, 16_384, 16_384, 32_768),
            pool=16_384,
            at_once=4096,
            streams=8000,
            comparisons=40_000,
            reward=RewardTraining(steps=1000, batch=64, rate=2e-4),
        ),
        Correction(600, 600, further_steps=250, pairs=600, batch=256, rate=2e-4, held_out=20_000, samples=10_000),
    ),
}

#: Sizes that a profile runs one after another, if it is more than its own.
SIZES_OF: dict[str, tuple[str, ...]] = {"gpu": ("small", "base")}


def profile_at(name: str, size: str | None = None) -> Profile:
    """A profile at a size of the model, its own by default: that size's pretraining and learning rates.

    Where the model generates freely a wider one, of width w, learns at own width / w times the rate: under Adam the
    best rate of a matrix falls as one over its inputs (Yang et al., arXiv 2203.03466, "μP", table 8). A narrower one
    keeps the rate: above some rate a model does not learn to copy, however narrow it is. ValueError names what there
    is not.
    """
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; there are {', '.join(PROFILES)}")
    own = PROFILES[name]
    if size is None or size == own.pretraining.size:
        return own
    if size not in RATES:
        raise ValueError(f"no model size {size!r}; there are {', '.join(RATES)}")
    fit, runs = RATES[size]
    slower = min(1.0, SIZES[own.pretraining.size].hidden / SIZES[size].hidden)
    reward, correction = own.best_of_n.reward, own.correction
    return replace(
        own,
        pretraining=PRESETS[size],
        fit=replace(own.fit, rate=fit),
        runs=replace(own.runs, rate=runs),
        best_of_n=replace(own.best_of_n, reward=replace(reward, rate=slower * reward.rate)),
        correction=replace(correction, rate=slower * correction.rate),
    )


def folder_name(name: str, size: str | None = None) -> str:
    """Where a profile's rows go, below llm_validation/results: PROFILE at its own size, else PROFILE-SIZE."""
    return name if size is None or size == PROFILES[name].pretraining.size else f"{name}-{size}"
