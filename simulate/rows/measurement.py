"""One measured number of a language model, with its place in the ledger: what every experiment here returns."""

from __future__ import annotations

from dataclasses import dataclass

from theory.claim import Setting


@dataclass(frozen=True)
class Measured:
    """`value` ± `stderr` of the check `check` of claim `claim` at `setting`; `n` samples behind it.

    stderr  0 where nothing was sampled: an exact probability of the trained model, one number per seed
    note    what a reader should know of this one number: the worst prompt, the divergence estimated
    """

    claim: str
    check: str
    setting: Setting
    value: float
    stderr: float = 0.0
    n: int = 1
    note: str = ""
