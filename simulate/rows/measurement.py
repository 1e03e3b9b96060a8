"""A measured number with its place in the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from simulate.montecarlo import Estimate
from theory.claim import Setting


@dataclass(frozen=True)
class Measurement:
    """An estimate of the check `check` of claim `claim` at `setting`."""

    claim: str
    check: str
    setting: Setting
    estimate: Estimate

    @property
    def value(self) -> float:
        return self.estimate.value


def measurement(
    claim: str, check: str, setting: Setting, value: float, stderr: float = 0.0, n: int = 1, note: str = ""
) -> Measurement:
    """`value` ± `stderr` from `n` samples at a place; `note` is the estimate's witness.

    stderr  0 where nothing was sampled: an exact probability of the trained model, one number per seed
    note    what a reader should know of this one number: the worst prompt, the divergence estimated
    """
    return Measurement(claim, check, setting, Estimate(float(value), float(stderr), n, witness=note))
