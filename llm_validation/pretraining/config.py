"""What a pretraining run is: its configuration, and the two functions of the step that drive it.

The batch of step t is a pure function of (seed, t), and the learning rate one of t.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator

#: How often to write a checkpoint or to measure does not change what is trained; every other field does.
WITHOUT_EFFECT = frozenset({"checkpoint_every", "evaluations"})


@dataclass(frozen=True)
class Pretraining:
    """Everything a run depends on besides its text.

    size              a key of `model.SIZES`
    vocab_size        at most so many tokens in the tokenizer (256 bytes and 2 special tokens are the least)
    context           T, tokens in a block, at least 2
    batch             B, blocks in a step over all processes together; a multiple of their number
    steps             optimiser steps; steps · batch · context tokens are read
    stories           stories drawn from a generated language to train on, read again from the start when used up
    held_out          stories (of a language) or blocks (of documents) to measure the loss on; at least 2
    rate              peak learning rate; it falls along a cosine to a hundredth of it at the last step
    warmup            steps over which the rate first rises linearly
    weight_decay      AdamW's, on matrices alone
    clip              largest norm of the gradient
    seed              of weights, order of blocks, drawn stories, and what is held out
    compile           torch.compile, where there is a GPU
    checkpoint_every  steps between checkpoints; 0 for none
    evaluations       points of the learning curve, evenly spaced over the steps, the last one at the end; 0 for none
    ValueError names a field out of its range.
    """

    size: str
    vocab_size: int = 512
    context: int = 64
    batch: int = 32
    steps: int = 400
    stories: int = 20_000
    held_out: int = 1_000
    rate: float = 3e-3
    warmup: int = 20
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    compile: bool = False
    checkpoint_every: int = 200
    evaluations: int = 10

    def __post_init__(self) -> None:
        least = {"context": 2, "batch": 1, "steps": 1, "stories": 1, "held_out": 2}
        least |= dict.fromkeys(("warmup", "checkpoint_every", "evaluations"), 0)
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least {bound}")
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} = {getattr(self, name)} must be > 0")

    @property
    def tokens(self) -> int:
        """Tokens read over the whole run."""
        return self.steps * self.batch * self.context

    @property
    def evaluated_after(self) -> frozenset[int]:
        """How many steps are done at each point of the learning curve: at most `evaluations` of 1, …, steps."""
        return frozenset(math.ceil(k * self.steps / self.evaluations) for k in range(1, self.evaluations + 1))

    @property
    def schedule(self) -> Schedule:
        """What the optimiser does."""
        return Schedule(
            self.steps, self.rate, self.warmup, self.clip, decay="cosine to the end", beta2=0.95,
            weight_decay=self.weight_decay,
        )  # fmt: skip


#: One per size, for the default language. A story of it is 26 tokens long, and 420 tokens are all there are in its
#: tokenizer, whatever vocab_size allows. On a CPU a run reads its stories about once; `small` reads 26 M tokens, its
#: 7.8 M of stories three times, and `base` 49 M, its 15.6 M as often: drawing and encoding more would take longer than
#: the training. A corpus deserves more steps.
PRESETS = {
    "smoke": Pretraining(
        "smoke", batch=16, steps=120, stories=2_000, held_out=200, rate=1e-2, warmup=10, evaluations=4
    ),
    "micro": Pretraining("micro", batch=8, steps=2_000, stories=40_000, rate=4e-3),
    "tiny": Pretraining("tiny", batch=8, steps=1_400, stories=30_000, rate=2e-3),
    "mini": Pretraining("mini", batch=8, steps=1_400, stories=30_000, rate=1e-3),
    "small": Pretraining(
        "small",
        vocab_size=8192,
        context=512,
        batch=64,
        steps=800,
        stories=300_000,
        rate=1e-3,
        warmup=80,
        compile=True,
        checkpoint_every=100,
    ),
    "base": Pretraining(
        "base",
        vocab_size=16384,
        context=512,
        batch=64,
        steps=1_500,
        stories=600_000,
        rate=6e-4,
        warmup=150,
        compile=True,
        checkpoint_every=100,
    ),
}


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, blocks: int) -> np.ndarray:
    return generator(seed, "order of blocks", epoch).permutation(blocks)


def batch_at(seed: int, step: int, batch: int, blocks: int) -> np.ndarray:
    """The numbers (B,) of the blocks in the batch of that step: each epoch is a fresh permutation of all blocks."""
    places = np.arange(step * batch, (step + 1) * batch)
    return np.array([_epoch_order(seed, int(place // blocks), blocks)[place % blocks] for place in places])
