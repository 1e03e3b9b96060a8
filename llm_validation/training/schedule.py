"""How long and how fast to train: the one schedule of everything that is trained here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    steps    optimiser steps
    rate     peak learning rate
    warmup   steps of linear warm-up
    clip     largest gradient norm, over all weights
    record   every so many steps a catalogue's policy is recorded
    decay    how the rate falls after the warm-up. "cosine": to a hundredth, which would be reached by one more step;
             "cosine to the end": which the last step has; "cosine to zero": from the first step on, warm-up or not;
             "plateau": constant for two thirds, then linearly to 0
    beta2, weight_decay  of AdamW, whose beta1 is 0.9; gains and biases (vectors) are not decayed
    """

    steps: int = 400
    rate: float = 1e-3
    warmup: int = 10
    clip: float = 1.0
    record: int = 20
    decay: Literal["cosine", "cosine to the end", "cosine to zero", "plateau"] = "cosine"
    beta2: float = 0.999
    weight_decay: float = 0.0

    def slower(self, factor: float) -> Schedule:
        """The same schedule at `factor` times the rate."""
        return replace(self, rate=factor * self.rate)

    def longer(self, factor: float) -> Schedule:
        """The same schedule over `factor` times the steps, or a part of them; at least one."""
        steps, record = (max(1, round(factor * number)) for number in (self.steps, self.record))
        return replace(self, steps=steps, record=record)

    def rate_at(self, step: int) -> float:
        """Learning rate of step 0, 1, …"""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "plateau":
            return self.rate * min(warm, 3.0 * (1.0 - step / self.steps))
        if self.decay == "cosine to zero":
            return self.rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = step - self.warmup + (self.decay == "cosine to the end")
        fallen = 0.5 * (1.0 + math.cos(math.pi * (done / max(1, self.steps - self.warmup))))
        return self.rate * (0.01 + 0.99 * fallen)
