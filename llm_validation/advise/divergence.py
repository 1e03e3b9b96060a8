"""Divergences of chosen and rejected responses, from losses on held-out examples.

Whatever rewards r a training has left, a loss at them is at least offset − scale·D (`theory.divergences.losses`), so on
held-out examples (offset − loss)/scale estimates a lower bound of D⁺‖D⁻: of JS by BCO's loss, KL by KLDO's, TV by
KTO's, H² by the Hellinger loss. The rewards are a·log(π/π_ref) + b, (a, b) by logistic regression on the other half of
the held-out examples, so that no example judges rewards that it has set. KTO is read at the sign of r, where it is
least. These are estimates with a standard error. What is said with confidence is of TV and JS, whose terms are bounded
(BCO's at rewards that end at ±`LIMIT`), and holds for few examples too: `confidence`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from llm_validation.advise.accuracy import Groups
from llm_validation.advise.confidence import Sides, Units, foreseen, lower, units_of
from llm_validation.preferences.trace import Mean
from simulate.montecarlo import generator
from theory.divergences.losses import LOSSES
from theory.validate import Array

Flags = NDArray[np.bool_]
#: Losses read, the divergence that each bounds, and the claim.
READ = {"bco": ("JS", "V3"), "kto": ("TV", "V2"), "kldo": ("KL", "V1"), "hellinger": ("H²", "V6")}
#: Penalty on (a, b) of the regression, on log-ratios of unit spread: keeps separated classes finite.
RIDGE = 1e-2
#: An error of the terms below this is rounding: they are all equal.
ROUNDING = 1e-12
#: How likely a bound may be wrong that is given with confidence.
LEVEL = 0.025
#: Where BCO's rewards end for that. At most .57 can then be said of JS, of log 2 = .69; with 3 it were .64, but forty
#: pairs would say nothing where they do now.
LIMIT = 2.0
#: The most that an example can add to a loss.
MOST = {"kto": 1.0, "bco": math.log1p(math.exp(LIMIT))}


@dataclass(frozen=True)
class Bound:
    """A lower bound of a divergence, nats for JS and KL.

    mean  estimated; its error is nan where all examples say the same
    low   what holds with confidence 1 − level; 0 if nothing does, as of losses whose terms have no bound
    """

    divergence: str
    claim: str
    mean: Mean
    low: float = 0.0


def bounds(
    chosen: Array, rejected: Array, paired: bool, seed: int = 0, groups: Groups = None, level: float = LEVEL
) -> list[Bound]:
    """Of log-ratios (C,), (R,) of held-out examples; [] with fewer than four of a class, or than two in a half."""
    if min(chosen.size, rejected.size) < 4:
        return []
    halves = _halves(chosen.size, rejected.size, paired, seed, groups)
    if min(int(half.sum()) for one in halves for half in (one, ~one)) < 2:
        return []
    r = np.empty(chosen.size), np.empty(rejected.size)
    for flip in (False, True):
        own, other = ([half ^ flip ^ far for half in halves] for far in (False, True))
        fitted = _calibrated(chosen[other[0]], rejected[other[1]])
        r[0][own[0]], r[1][own[1]] = fitted(chosen[own[0]]), fitted(rejected[own[1]])
    judged = foreseen((chosen, rejected), units_of(chosen.size, rejected.size, groups), _calibrated, seed)
    found = []
    for name, (divergence, claim) in READ.items():
        plus, minus = _terms(name, *r)
        loss = LOSSES[name]
        total = Mean.of(plus + minus, groups and groups[0]) if paired else Mean.sum(plus, minus, groups)
        error = total.stderr / loss.scale if total.stderr > ROUNDING else math.nan
        mean = Mean((loss.offset - total.value) / loss.scale, error, total.n)
        found.append(Bound(divergence, claim, mean, _low(name, *judged, level)))
    return found


def _low(name: str, rewards: Sides, units: Units, level: float) -> float:
    """What is not refuted at `level`; 0 of a loss without a bound on its terms."""
    if name not in MOST:
        return 0.0
    inside = [side.clip(-LIMIT, LIMIT) for side in rewards]
    return lower(LOSSES[name], _terms(name, *inside), MOST[name], units, level)


def _halves(chosen: int, rejected: int, paired: bool, seed: int, groups: Groups) -> tuple[Flags, Flags]:
    """Which chosen and rejected examples are in the first half; a pair, and what shares a prompt, is in one half."""
    draw = generator(seed, "halves")
    if groups is None:
        sides = draw.permutation(chosen) % 2 == 0, draw.permutation(rejected) % 2 == 0
        return sides[0], sides[0 if paired else 1]
    first = draw.permutation(max(int(side.max()) for side in groups) + 1) % 2 == 0
    return first[groups[0]], first[groups[1]]


def _terms(name: str, chosen: Array, rejected: Array) -> tuple[Array, Array]:
    """What every example adds to the loss; KLDO's logarithm by its value and slope at the mean (delta method)."""
    if name == "kldo":
        log_mean = float(logsumexp(rejected)) - math.log(rejected.size)
        return -chosen, log_mean + np.exp(rejected - log_mean) - 1.0
    if name == "kto":
        return np.heaviside(-chosen, 0.5), np.heaviside(rejected, 0.5)
    parts = LOSSES[name].parts
    assert parts is not None
    return np.asarray(parts.positive(chosen)), np.asarray(parts.negative(rejected))


def _calibrated(chosen: Array, rejected: Array):  # type: ignore[no-untyped-def]
    """x ↦ a·x + b of the logistic regression of the label on x, classes weighted alike."""
    values = np.concatenate([chosen, rejected])
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    x = [(side - centre) / spread for side in (chosen, rejected)]

    def loss(theta: Array) -> tuple[float, Array]:
        r = [theta[0] * side + theta[1] for side in x]
        value = np.logaddexp(0, -r[0]).mean() + np.logaddexp(0, r[1]).mean() + 0.5 * RIDGE * float(theta @ theta)
        slopes = -expit(-r[0]) / r[0].size, expit(r[1]) / r[1].size
        gradient = [
            sum(float(s @ side) for s, side in zip(slopes, x, strict=True)),
            sum(float(s.sum()) for s in slopes),
        ]
        return float(value), np.array(gradient) + RIDGE * theta

    a, b = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return lambda values: a * (values - centre) / spread + b


def read_across(found: list[Bound]) -> list[tuple[str, float]]:
    """What the bounds of TV and JS say of one another: (sentence, number), each as sure as the bound it comes from.

    TV ≥ JS/log 2 (Lin, 1991), KL ≥ 2 TV² (Pinsker), JS ≥ the capacity of TV: log 2 − h((1 + TV)/2).
    """
    low = {bound.divergence: bound.low for bound in found}
    t = low["TV"]
    entropy = -sum(x * math.log(x) for x in ((1 + t) / 2, (1 - t) / 2) if x > 0)
    return [
        ("TV from JS, by TV ≥ JS/log 2", low["JS"] / math.log(2.0)),
        ("JS from TV, by JS ≥ log 2 − h((1 + TV)/2)", math.log(2.0) - entropy),
        ("KL from TV, by KL ≥ 2 TV²", 2.0 * t * t),
    ]
