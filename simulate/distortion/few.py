"""Few alternatives: claims D20 and D21, by linear programs over populations, the audit, and samples.

None of these functions calls the closed form that its estimate is judged against.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit
from scipy.stats import binomtest

from simulate.montecarlo import Estimate, Experiments, proportion
from simulate.profiles import Profile
from theory.distortion.audit.interval import audit
from theory.distortion.factors import linear_factor
from theory.validate import Array

Rng = np.random.Generator

#: Utilities of the winner and of the other alternatives, and of the best one, in the programs' grid of types.
COARSE = np.array([0.0, 1e-4, 0.3, 0.7, 1.0])
FINE = np.union1d(COARSE, np.linspace(0.0, 1.0, 201))
#: A program that exceeds L(β) by less than this share is at L(β): the program's rounding is 1e-7.
ABOVE = 2e-6
#: Halvings of an interval by which a threshold is found.
HALVINGS = 10


def worst_borda(bt_beta: float, each: float, together: float) -> float:
    """sup u(a)/u(c) over populations on a grid in which c has the highest Borda score: a program with u(c) = 1.

    each      μ(a)
    together  μ(a) + μ(c); the others are clones of one alternative y and share the rest
    """
    c, a, y = (axis.ravel() for axis in np.meshgrid(COARSE, FINE, COARSE, indexing="ij"))
    wins = lambda one, other: expit(bt_beta * (one - other)) - 0.5
    rest = 1.0 - together
    score_c = each * wins(c, a) + rest * wins(c, y)
    score_a = (together - each) * wins(a, c) + rest * wins(a, y)
    score_y = each * wins(y, a) + (together - each) * wins(y, c)
    rivals: list[Array] = [score_a - score_c, *([score_y - score_c] if rest > 1e-12 else [])]
    found = linprog(-a, A_ub=rivals, b_ub=np.zeros(len(rivals)), A_eq=[c], b_eq=[1.0], method="highs")
    if not found.success:
        raise ArithmeticError(f"the program over populations stopped: {found.message}")
    return float(-found.fun)


def _threshold(exceeds: Callable[[float], bool], below: float, above: float) -> Estimate:
    """Where the program leaves L(β): it stays there at `above` and exceeds it at `below`."""
    for _ in range(HALVINGS):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if exceeds(middle) else (below, middle)
    return Estimate(0.5 * (below + above), n=HALVINGS)


def _exceeds(bt_beta: float, together: float) -> bool:
    return worst_borda(bt_beta, 0.5 * together, together) > linear_factor(bt_beta) * (1.0 + ABOVE)


def mass_threshold(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D20: least mass on a and c together, split evenly, at which the program stays at L(β)."""
    return _threshold(lambda together: _exceeds(bt_beta, together), 0.0, 1.0)


def temperature_threshold(n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D20: largest β at which the program with uniform pairs stays at L(β)."""
    return _threshold(lambda beta: _exceeds(beta, 2.0 / n_alternatives), 9.0, 3.0)


def uniform_pairs(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D20: the program's value with uniform pairs."""
    return Estimate(worst_borda(bt_beta, 1.0 / n_alternatives, 2.0 / n_alternatives))


def audited_pair(bt_beta: float, margin: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D21: the general audit on two alternatives, policy x."""
    rates = np.array([[0.5, 0.5 + margin], [0.5 - margin, 0.5]])
    return Estimate(audit(rates, [1.0, 0.0], bt_beta).upper)


def called_safe(bt_beta: float, n_comparisons: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D21: how often a 95 % bound on the win rate certifies distortion ≤ (1 + L)/2 where it is just above that.

    The population has types (0, 1) and (e, 0) at the worst e of a grid, weighed so that y is worth (1 + L)/2 times x.
    """
    target = 0.5 * (1.0 + linear_factor(bt_beta))
    e = np.linspace(1e-3, 1.0, 4000)
    # u(y)/u(x) = w/((1 − w)e) = target; the largest margin of x over e is the one that is just not safe
    weight = target * e / (1.0 + target * e)
    margin = float(((1.0 - weight) * (expit(bt_beta * e) - 0.5) - weight * (expit(bt_beta) - 0.5)).max())
    samples = 20 * profile.replicates
    wins, times = np.unique(rng.binomial(n_comparisons, 0.5 + margin, samples), return_counts=True)
    bounds = [binomtest(int(k), n_comparisons, alternative="greater").proportion_ci(0.95).low for k in wins]
    return proportion(int(times[np.array(bounds) > 0.5 + margin].sum()), samples)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D20.threshold": mass_threshold,
    "D20.three": temperature_threshold,
    "D20.uniform": uniform_pairs,
    "D21.exact": audited_pair,
    "D21.coverage": called_safe,
}
