"""Lower bounds of a divergence that hold with a stated confidence at any number of held-out examples: by betting.

No rewards r make E[offset − ℓ₊(r) − ℓ₋(r)] larger than scale·D (`theory.divergences.losses`). Prompts come one after
the other, each judged by rewards that are fitted to those before it. Who stakes a share of a fortune of 1 on "D > τ" at
every prompt, at odds that are fair for D = τ, has 1 or less on average if D ≤ τ, so more than 1/level with probability
`level` at most (Markov): the bound is the least τ that the fortune does not refute so. Nothing is assumed of the terms
but that they are bounded (Waudby-Smith and Ramdas, JRSS B 86 (2024), section 4; here an even mixture of fixed stakes).

Crossed halves would not do: where chosen and rejected are alike, both halves are right together or wrong together.

Shapes: C chosen and R rejected examples; U units: prompts, or where none is shared pairs, or some of each class.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simulate.montecarlo import generator
from theory.divergences.losses import Loss
from theory.proximal.feedback import Index
from theory.validate import Array

#: A number for each of the chosen, and each of the rejected examples.
Sides = tuple[Array, Array]
#: The unit of each.
Units = tuple[Index, Index]

#: Shares at stake, of all that a unit may cost: the smallest suits some 10⁵ units.
STAKES = 2.0 ** -np.arange(8)
#: Share of the units that the first rewards are fitted to; nothing is judged on them.
FIRST = 0.125


def units_of(chosen: int, rejected: int, groups: Units | None) -> Units:
    """Units of C and R examples: their prompts, pairs, or as many as the rarer class has, the other dealt to them."""
    if groups is not None:
        numbers = np.unique(np.concatenate(groups), return_inverse=True)[1]
        return numbers[:chosen], numbers[chosen:]
    count = min(chosen, rejected)
    return np.arange(chosen) % count, np.arange(rejected) % count


def foreseen(ratios: Sides, units: Units, fit: Callable[[Array, Array], Callable[[Array], Array]], seed: int) -> tuple[
    Sides, Units
]:  # fmt: skip
    """Rewards of the examples that are judged, by what is fitted to the units before theirs, and their units.

    ratios  log-ratios (C,), (R,);  fit  (chosen, rejected) → the function that makes rewards of log-ratios
    Units come in random order; fitted is after an eighth of them, a quarter, a half.
    """
    count = 1 + int(max(side.max() for side in units))
    place = generator(seed, "order").permutation(count)
    places = [place[side] for side in units]
    rewards, until = [np.full(side.size, math.nan) for side in ratios], max(2, int(FIRST * count))
    while until < count:
        before = [own < until for own in places]
        if min(int(some.sum()) for some in before) >= 2:
            fitted = fit(ratios[0][before[0]], ratios[1][before[1]])
            for into, side, own in zip(rewards, ratios, places, strict=True):
                now = (own >= until) & (own < 2 * until)
                into[now] = fitted(side[now])
        until *= 2
    judged = [~np.isnan(side) for side in rewards]
    return (rewards[0][judged[0]], rewards[1][judged[1]]), (units[0][judged[0]], units[1][judged[1]])


def lower(loss: Loss, terms: Sides, most: float, units: Units, level: float) -> float:
    """The least D in [0, 1] that is not refuted at `level`, in the unit of the loss's divergence.

    terms  ℓ₊ (C,) and ℓ₋ (R,) of the examples judged, each in [0, most]
    """
    if min(side.size for side in terms) == 0:
        return 0.0
    count = np.unique(np.concatenate(units)).size
    size = 1 + int(max(side.max() for side in units))
    gains, weights = np.zeros(size), np.zeros(size)
    for values, own in zip(terms, units, strict=True):
        share = count / own.size  # a unit's examples of a class, of as many as a unit has on average
        gains += share * np.bincount(own, 0.5 * loss.offset - values, size) / loss.scale
        weights += 0.5 * share * np.bincount(own, minlength=size)
    return not_refuted(gains, weights, (2.0 * most - loss.offset) / loss.scale, level)


def not_refuted(gains: Array, weights: Array, cost: float, level: float) -> float:
    """The least τ in [0, 1] at which staking on gains − weights·τ > 0 earns no more than 1/level.

    gains, weights  (U,), with gains ≥ −cost·weights: what a unit's terms fall short of the offset by, and its size
    """

    def refutes(tau: float) -> bool:
        won = (gains - weights * tau) / (weights.max() * (cost + tau))  # ≥ −1, where all at stake is lost
        with np.errstate(divide="ignore"):
            fortunes = np.log1p(np.multiply.outer(STAKES, won.clip(-1.0))).sum(axis=1)
        return float(np.logaddexp.reduce(fortunes)) - math.log(STAKES.size) > -math.log(level)

    low, high = 0.0, 1.0
    if not refutes(low):
        return low
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if refutes(middle) else (low, middle)
    return low
