"""A claim of one's own, measured and judged like the package's: for a study or a class.

>>> import numpy as np
>>> from simulate.montecarlo import mean
>>> from theory.claim import Claim, equal, grid
>>> mine = equal("square", "mean square of uniform draws", lambda top: top**2 / 3, at=grid(top=(1.0, 2.0)), within=0.05,
...              because="a thousand draws")
>>> claim = Claim("S1", "Squares", (), "E X² = top²/3.", "ours", "equality", "mine", (mine,))
>>> rows = judge(claim, {"square": lambda top, *, rng, profile: mean(rng.uniform(0, top, 4000) ** 2)})
>>> [(row.setting, row.verdict) for row in rows]
[('top=1', 'agrees'), ('top=2', 'agrees')]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulate.montecarlo import Estimate, Experiment, generator
from simulate.profiles import PROFILES
from simulate.rows import pool
from simulate.rows.grid import rows_of
from simulate.rows.measurement import Measurement
from theory.claim import Claim, Verdict, setting_key


@dataclass(frozen=True)
class Judged:
    """One check at one setting: what was predicted, what came out, and the verdict."""

    check: str
    setting: str
    predicted: float
    estimate: Estimate
    verdict: Verdict


def judge(
    claim: Claim, experiments: Mapping[str, Experiment], *, profile: str = "smoke", seed: int = 0
) -> tuple[Judged, ...]:
    """Measure every check of a claim at every one of its settings, and judge it.

    Parameters
    ----------
    claim : Claim
        Not one of the package's, or with experiments of one's own.
    experiments : mapping
        Name of a check → f(**setting, rng, profile) -> Estimate, which must not call the check's prediction.
    profile : str
        How much work `profile.replicates` and the like allow: smoke, cpu.
    seed : int

    Returns
    -------
    tuple of Judged

    Raises
    ------
    KeyError
        A check without an experiment, or no such profile.
    TypeError
        An experiment that returns no Estimate.

    Examples
    --------
    >>> from simulate.judge import judge
    >>> from simulate.montecarlo import mean
    >>> from theory.claims import find_claim
    >>> def largest(n, *, rng, profile):
    ...     return mean(rng.standard_normal((20_000, n)).max(axis=1))
    >>> claim = find_claim("B3")
    >>> from dataclasses import replace
    >>> [row.verdict for row in judge(replace(claim, checks=claim.checks[:1]), {"normal": largest})][:2]
    ['inconclusive', 'inconclusive']
    """
    missing = [check.name for check in claim.checks if check.name not in experiments]
    if missing:
        raise KeyError(f"{claim.id}.{missing[0]} has no experiment")
    found = []
    for check in claim.checks:
        for setting in check.settings:
            key, predicted = setting_key(setting), check.predict(setting)
            rng = generator(seed, claim.id, check.name, key)
            estimate = experiments[check.name](**setting, rng=rng, profile=PROFILES[profile])
            if not isinstance(estimate, Estimate):
                raise TypeError(f"experiment {check.name!r} must return an Estimate, got {type(estimate).__name__}")
            rows = rows_of(seed, [Measurement(claim.id, check.name, setting, estimate)], 0.0, "")
            found.append(Judged(check.name, key, predicted, estimate, pool.judge(check, rows)))
    return tuple(found)
