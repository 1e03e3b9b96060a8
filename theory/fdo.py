"""f-divergences from their generators, and the FDO losses they give: generators, conjugates, links.

A generator f is convex on (0, ∞), f(1) = 0, strictly convex at 1. It defines, for tables p and q,

    D_f(p‖q) = Σ_{p,q>0} q f(p/q) + f(0)·q(p = 0) + f'(∞)·p(q = 0),     f'(∞) = lim f(u)/u,

and, with its conjugate f*(t) = sup_{u≥0} tu − f(u) and an increasing link g from ℝ onto the slopes of f, the loss

    FDO:   −E₊[g(r)] + E₋[f*(g(r))]      minimum −D_f(D⁺‖D⁻), at r = g⁻¹(f'(R)), R = dD⁺/dD⁻.

Every closed form here is written for both tails: nothing is computed as a difference of large numbers, and a
ratio p/q that overflows enters by its logarithm. Outcomes: A; tables p, q are (A,).

Source: FDO and the link g: Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), section 4; conjugates are standard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log1p, xlogy

from theory.checks import Array, check_distribution

Elementwise = Callable[[Array], Array]

#: Below this exponent exp underflows to 0; beyond its negative it overflows to inf, which is then meant.
_LOG2 = math.log(2.0)


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator f with everything a loss needs of it. Functions act elementwise on float64 arrays.

    name            as in `GENERATORS`
    f               f(u), u > 0
    slope           f'(u), u > 0 (a subgradient where f has a kink)
    at_zero         f(0+), inf allowed
    at_infinity     f'(∞) = lim f(u)/u, inf allowed
    conjugate       f*(t), inf outside its domain
    link            g(r), increasing from ℝ onto the interior of the range of slopes that the loss may use
    link_slope      g'(r)
    ratio           (f')⁻¹(g(r)) = f*'(g(r)): the ratio R at which r is optimal
    optimum         g⁻¹(f'(R)) as a function of log R: the minimiser of the loss, ±inf where it is not attained
    cost            f*(g(r)), in closed form
    perspective     q·f(p/q) for p, q > 0
    source          where it comes from
    """

    name: str
    f: Elementwise
    slope: Elementwise
    at_zero: float
    at_infinity: float
    conjugate: Elementwise
    link: Elementwise
    link_slope: Elementwise
    ratio: Elementwise
    optimum: Elementwise
    cost: Elementwise
    perspective: Callable[[Array, Array], Array]
    source: str


class Infinite(float):
    """±∞ that says why: `outcome` is the index of the first outcome responsible, `reason` one sentence.

    It is the float inf (or −inf) in every comparison and in arithmetic; only its text tells more.
    """

    outcome: int
    reason: str

    def __new__(cls, outcome: int, reason: str, sign: float = 1.0) -> Infinite:
        number = super().__new__(cls, math.copysign(math.inf, sign))
        number.outcome = outcome
        number.reason = reason
        return number

    def __neg__(self) -> Infinite:
        return Infinite(self.outcome, self.reason, -math.copysign(1.0, self))

    def __reduce__(self) -> tuple[type[Infinite], tuple[int, str, float]]:
        return Infinite, (self.outcome, self.reason, math.copysign(1.0, self))

    def __repr__(self) -> str:
        return f"{float.__repr__(self)} (outcome {self.outcome}: {self.reason})"

    __str__ = __repr__


def check_pair(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Two probability tables of the same length; ValueError names p or q, the entry, and what is wrong with it."""
    p = check_distribution("p", p)
    return p, check_distribution("q", q, p.size)
