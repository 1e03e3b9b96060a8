"""f-divergences from their generators: the functions that a divergence, an FDO loss and its minimiser are made of.

A generator f is convex on (0, ∞), strictly at 1, with f(1) = 0. For tables p and q, R = p/q,

    D_f(p‖q) = Σ_{p,q>0} q f(p/q) + f(0)·q(p = 0) + f'(∞)·p(q = 0),     f'(∞) = lim f(u)/u.

With the conjugate f*(t) = sup_{u≥0} tu − f(u) and an increasing link g from ℝ into the slopes of f, FDO is the loss
−E₊[g(r)] + E₋[f*(g(r))], with minimum −D_f(D⁺‖D⁻) at r = g⁻¹(f'(R)) (`theory.divergences.losses`).

| name              | f(u)                            | link g(r)          | minimiser r |
|-------------------|---------------------------------|--------------------|-------------|
| kl                | u log u                         | r                  | 1 + log R   |
| reverse_kl        | −log u                          | −e^{−r}            | log R       |
| jensen_shannon    | ½u log u − ½(u+1) log((u+1)/2)  | ½ log 2σ(r)        | log R       |
| total_variation   | ½ abs(u − 1)                    | ½ tanh r           | ±∞          |
| squared_hellinger | (√u − 1)²                       | 1 − e^{−r/2}       | log R       |
| pearson           | (u − 1)²                        | r                  | 2(R − 1)    |
| neyman            | (u − 1)²/u                      | 1 − e^{−2r}        | log R       |
| alpha:a           | (uᵃ − au − (1−a))/(a(a−1))      | a > 1: r; else f'(eʳ) | a > 1: f'(R); else log R |

A user's own f is `theory.divergences.custom_generator.custom(f)`. Source: Haldar, Wang, Song, Lin, Xing (arXiv
2502.00657),
section 4;
the conjugates are standard (a test checks each against its definition), links other than those of kl and TV ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, xlogy

from theory.validate import Array

Elementwise = Callable[[Array], Array]
LOG2 = math.log(2.0)


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator f and what a loss needs of it; all functions act elementwise on float64 arrays.

    name          as in `GENERATORS`
    f             f(u), u > 0
    slope         f'(u), u > 0 (0 at a kink of TV)
    curvature     f''(u), u > 0, away from kinks
    at_zero       f(0+); inf allowed; None: not known, an error where it is needed
    at_infinity   f'(∞) = lim f(u)/u; as `at_zero`
    perspective   q·f(p/q) for p, q > 0, without overflow of p/q
    conjugate     f*(t), inf outside its domain
    link          g(r)
    link_slope    g'(r)
    ratio         f*'(g(r)): the ratio R at which r is optimal
    cost          f*(g(r)), in closed form
    cost_slope    its derivative, ratio·g', without overflow of the ratio
    optimum       log R → g⁻¹(f'(R)), with ±inf where the minimum is not attained
    """

    name: str
    f: Elementwise
    slope: Elementwise
    curvature: Elementwise
    at_zero: float | None
    at_infinity: float | None
    perspective: Callable[[Array, Array], Array]
    conjugate: Elementwise
    link: Elementwise
    link_slope: Elementwise
    ratio: Elementwise
    cost: Elementwise
    cost_slope: Elementwise
    optimum: Elementwise


class Infinite(float):
    """±∞ that says why: `outcome` is the first outcome that makes it so, `reason` one phrase.

    In comparisons and arithmetic it is the float inf; only its text tells more.
    """

    outcome: int
    reason: str

    def __new__(cls, outcome: int, reason: str, sign: float = 1.0) -> Infinite:
        number = super().__new__(cls, math.copysign(math.inf, sign))
        number.outcome, number.reason = outcome, reason
        return number

    def __neg__(self) -> Infinite:
        return Infinite(self.outcome, self.reason, -math.copysign(1.0, self))

    def __reduce__(self) -> tuple[type[Infinite], tuple[int, str, float]]:
        return Infinite, (self.outcome, self.reason, math.copysign(1.0, self))

    def __repr__(self) -> str:
        return f"{float.__repr__(self)} (outcome {self.outcome}: {self.reason})"

    __str__ = __repr__


def log_ratio(p: Array, q: Array) -> Array:
    """log R = log p − log q; ±inf outside one support, 0 where both are 0 (such an outcome has no ratio). No checks."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(p > 0, p, 0.0)), np.log(np.where(q > 0, q, 0.0))
    neither = (p == 0) & (q == 0)
    return np.where(neither, 0.0, logs[0]) - np.where(neither, 0.0, logs[1])


def divergence_of_masses(p: Array, q: Array, made: Generator) -> float:
    """Σ q f(p/q) for nonnegative masses that need not sum to one (joint tables, products). No checks."""
    both = (p > 0) & (q > 0)
    with np.errstate(over="ignore"):
        terms = made.perspective(p[both], q[both])
    value = float(np.sum(terms))
    if math.isinf(value):
        first = int(np.flatnonzero(both)[int(np.argmax(terms))])
        return Infinite(first, f"p = {p[first]:g}, q = {q[first]:g} overflow for {made.name}")
    ends = ((p == 0) & (q > 0), q, made.at_zero, "f(0)"), ((q == 0) & (p > 0), p, made.at_infinity, "f'(∞)")
    for alone, mass, limit, name in ends:
        if not alone.any():
            continue
        first = int(np.flatnonzero(alone)[0])
        where = f"p = {p[first]:g}, q = {q[first]:g}"
        if limit is None:
            raise ValueError(f"outcome {first} has {where}: the generator {made.name} needs {name} stated")
        if math.isinf(limit):
            return Infinite(first, f"{where} and {name} = ∞ for {made.name}")
        value += limit * float(mass[alone].sum())
    return max(0.0, value)


def _logs(p: Array, q: Array) -> Array:
    return np.log(p) - np.log(q)


def alpha_divergence(alpha: float) -> Generator:
    """f(u) = (u^α − αu − (1−α))/(α(α−1)), any finite α but 0 and 1 (those limits are reverse_kl and kl).

    D_2 = ½χ²(p‖q), D_½ = 2H², D_{−1} = ½χ²(q‖p). f' = (u^{α−1} − 1)/(α − 1); f*(t) = (s^{α/(α−1)} − 1)/α with
    s = 1 + (α−1)t, for α > 1 the constant −1/α = −f(0) where s ≤ 0. The link is f'(eʳ), and r itself for α > 1,
    as for pearson. Rounding is 1e-16/|α(α−1)|: near the two limits take those.
    """
    a = float(alpha)
    if not math.isfinite(a) or a in (0.0, 1.0):
        raise ValueError(f"alpha = {alpha} must be finite, and not 0 (reverse_kl) or 1 (kl)")
    b = a - 1.0

    def base(t: Array) -> Array:
        return np.maximum(1.0 + b * t, 0.0)

    def slope_at(log_u: Array) -> Array:
        return np.expm1(b * log_u) / b

    def conjugate(t: Array) -> Array:
        with np.errstate(divide="ignore"):
            inside = np.expm1(a / b * np.log(base(t))) / a
        # for α < 1 the domain ends at f'(∞) = 1/(1−α), where f* = −1/α if α < 0
        return np.where(1.0 + b * t < 0, np.inf, inside) if a < 1 else inside

    with_identity = a > 1
    return Generator(
        name=f"alpha:{int(a) if a.is_integer() else a!r}",
        f=lambda u: (u**a - a * u - (1.0 - a)) / (a * b),
        slope=lambda u: slope_at(np.log(u)),
        curvature=lambda u: u ** (a - 2.0),
        at_zero=1.0 / a if a > 0 else math.inf,
        at_infinity=-1.0 / b if a < 1 else math.inf,
        perspective=lambda p, q: (np.exp(a * np.log(p) - b * np.log(q)) - a * p + b * q) / (a * b),
        conjugate=conjugate,
        link=identity if with_identity else slope_at,
        link_slope=np.ones_like if with_identity else (lambda r: np.exp(b * r)),
        ratio=(lambda r: base(r) ** (1.0 / b)) if with_identity else np.exp,
        cost=conjugate if with_identity else (lambda r: np.expm1(a * r) / a),
        cost_slope=(lambda r: base(r) ** (1.0 / b)) if with_identity else (lambda r: np.exp(a * r)),
        optimum=slope_at if with_identity else identity,
    )


def _pearson_conjugate(t: Array) -> Array:
    t = np.maximum(t, -2.0)  # below the slope at u = 0 the supremum over u ≥ 0 is −f(0) = −1
    return t + 0.25 * t * t


def _jensen_shannon_f(u: Array) -> Array:
    return 0.5 * (xlogy(u, u) - (u + 1.0) * np.log(0.5 * (u + 1.0)))


def identity(r: Array) -> Array:
    """r, as float64."""
    return np.asarray(r, float)


_TABLE = (
    Generator(
        name="kl",
        f=lambda u: xlogy(u, u),
        slope=lambda u: 1.0 + np.log(u),
        curvature=lambda u: 1.0 / u,
        at_zero=0.0,
        at_infinity=math.inf,
        perspective=lambda p, q: p * _logs(p, q),
        conjugate=lambda t: np.exp(t - 1.0),
        link=identity,
        link_slope=np.ones_like,
        ratio=lambda r: np.exp(r - 1.0),
        cost=lambda r: np.exp(r - 1.0),
        cost_slope=lambda r: np.exp(r - 1.0),
        optimum=lambda L: 1.0 + L,
    ),
    Generator(
        name="reverse_kl",
        f=lambda u: -np.log(u),
        slope=lambda u: -1.0 / u,
        curvature=lambda u: u**-2.0,
        at_zero=math.inf,
        at_infinity=0.0,
        perspective=lambda p, q: q * _logs(q, p),
        conjugate=lambda t: np.where(t < 0, -1.0 - np.log(np.where(t < 0, -t, 1.0)), np.inf),
        link=lambda r: -np.exp(-r),
        link_slope=lambda r: np.exp(-r),
        ratio=np.exp,
        cost=lambda r: r - 1.0,
        cost_slope=np.ones_like,
        optimum=identity,
    ),
    Generator(
        name="jensen_shannon",
        f=_jensen_shannon_f,
        slope=lambda u: 0.5 * np.log(2.0 * u / (u + 1.0)),
        curvature=lambda u: 0.5 / (u * (u + 1.0)),
        at_zero=0.5 * LOG2,
        at_infinity=0.5 * LOG2,
        # p log σ(log R) + q log σ(−log R), each with the log 2 of the mixture's weight
        perspective=lambda p, q: 0.5 * (p * (LOG2 + log_expit(_logs(p, q))) + q * (LOG2 + log_expit(_logs(q, p)))),
        conjugate=lambda t: np.where(
            2.0 * t < LOG2, -0.5 * np.log(np.where(2.0 * t < LOG2, 2.0 - np.exp(2.0 * t), 1.0)), np.inf
        ),
        link=lambda r: 0.5 * (LOG2 + log_expit(r)),
        link_slope=lambda r: 0.5 * expit(-r),
        ratio=np.exp,
        cost=lambda r: -0.5 * (LOG2 + log_expit(-r)),
        cost_slope=lambda r: 0.5 * expit(r),
        optimum=identity,
    ),
    Generator(
        name="total_variation",
        f=lambda u: 0.5 * np.abs(u - 1.0),
        slope=lambda u: 0.5 * np.sign(u - 1.0),
        curvature=np.zeros_like,
        at_zero=0.5,
        at_infinity=0.5,
        perspective=lambda p, q: 0.5 * np.abs(p - q),
        conjugate=lambda t: np.where(t <= 0.5, np.maximum(t, -0.5), np.inf),
        link=lambda r: 0.5 * np.tanh(r),
        link_slope=lambda r: 2.0 * expit(2.0 * r) * expit(-2.0 * r),
        ratio=np.ones_like,
        cost=lambda r: 0.5 * np.tanh(r),
        cost_slope=lambda r: 2.0 * expit(2.0 * r) * expit(-2.0 * r),
        optimum=lambda L: np.where(L == 0, 0.0, np.copysign(np.inf, L)),
    ),
    Generator(
        name="squared_hellinger",
        f=lambda u: (np.sqrt(u) - 1.0) ** 2,
        slope=lambda u: 1.0 - u**-0.5,
        curvature=lambda u: 0.5 * u**-1.5,
        at_zero=1.0,
        at_infinity=1.0,
        perspective=lambda p, q: (np.sqrt(p) - np.sqrt(q)) ** 2,
        conjugate=lambda t: np.where(t < 1, t / np.where(t < 1, 1.0 - t, 1.0), np.inf),
        link=lambda r: -np.expm1(-0.5 * r),
        link_slope=lambda r: 0.5 * np.exp(-0.5 * r),
        ratio=np.exp,
        cost=lambda r: np.expm1(0.5 * r),
        cost_slope=lambda r: 0.5 * np.exp(0.5 * r),
        optimum=identity,
    ),
    Generator(
        name="pearson",
        f=lambda u: (u - 1.0) ** 2,
        slope=lambda u: 2.0 * (u - 1.0),
        curvature=lambda u: np.full_like(u, 2.0),
        at_zero=1.0,
        at_infinity=math.inf,
        perspective=lambda p, q: (p - q) * ((p - q) / q),
        conjugate=_pearson_conjugate,
        link=identity,
        link_slope=np.ones_like,
        ratio=lambda r: np.maximum(1.0 + 0.5 * r, 0.0),
        cost=_pearson_conjugate,
        cost_slope=lambda r: np.maximum(1.0 + 0.5 * r, 0.0),
        optimum=lambda L: 2.0 * np.expm1(L),
    ),
    Generator(
        name="neyman",
        f=lambda u: (u - 1.0) * ((u - 1.0) / u),
        slope=lambda u: 1.0 - u**-2.0,
        curvature=lambda u: 2.0 * u**-3.0,
        at_zero=math.inf,
        at_infinity=1.0,
        perspective=lambda p, q: (p - q) * ((p - q) / p),
        conjugate=lambda t: np.where(t <= 1, 2.0 - 2.0 * np.sqrt(np.where(t <= 1, 1.0 - t, 0.0)), np.inf),
        link=lambda r: -np.expm1(-2.0 * r),
        link_slope=lambda r: 2.0 * np.exp(-2.0 * r),
        ratio=np.exp,
        cost=lambda r: -2.0 * np.expm1(-r),
        cost_slope=lambda r: 2.0 * np.exp(-r),
        optimum=identity,
    ),
)

#: Every generator by name. A test holds each conjugate, link and minimiser against its definition.
GENERATORS: dict[str, Generator] = {generator.name: generator for generator in _TABLE}
#: Other names in use.
ALIASES = {
    "js": "jensen_shannon",
    "tv": "total_variation",
    "chi_square": "pearson",
    "pearson_chi_square": "pearson",
    "neyman_chi_square": "neyman",
}
