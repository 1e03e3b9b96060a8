"""A user's own generator: any callable f as a `Generator`, its slope and conjugate computed numerically and checked.

What cannot be computed from values of f is not guessed: f(0) is taken from f(0.0) if that is a number and otherwise
has to be stated, f'(∞) has to be stated; both are asked for only where a divergence or a conjugate needs them.

    f'(u)   sixth-order central differences in log u (relative error about 1e-11), unless `slope` is given
    f*(t)   sup_{u≥0} tu − f(u), by bisection on f'(u) = t, then by search around it (f may have kinks); at t = f'(∞) a
            limit, ∞ where tu − f(u) goes on rising in log u
    g(r)    f'(eʳ) unless `link` is given: increasing onto the slopes of f, so that the minimiser is r = log R, and
            f*(g(r)) = eʳ f'(eʳ) − f(eʳ) needs no search; it saturates beyond r = ±12, the range in which f is checked
            and f* is exact to 1e-9 (the error is that of f'(u) times u), and takes its limits at r = ±∞

Ours; the definitions are those of `theory.divergences.generators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from theory.divergences.generators import Elementwise, Generator
from theory.solution import CertificateError
from theory.validate import Array, check_between

#: Where convexity and the conjugate are checked: u from e^{-12} to e^{12}, dense around 1.
SATURATED = 12.0
CHECK_POINTS = np.exp(np.sort(np.concatenate([np.linspace(-SATURATED, SATURATED, 241), np.linspace(-0.47, 0.47, 40)])))
#: Step of the central differences in log u, and the accuracy of f that the checks ask for.
STEP, ACCURACY = 0.015, 1e-9
#: |log u| and |r| beyond which searches stop: powers of e^{±200} up to the third stay finite.
FARTHEST, FARTHEST_REWARD = 200.0, 1e12


def custom(
    f: Elementwise,
    *,
    name: str = "custom",
    slope: Elementwise | None = None,
    at_zero: float | None = None,
    at_infinity: float | None = None,
    link: Elementwise | None = None,
) -> Generator:
    """The generator of a callable f, with slope and conjugate computed numerically and checked.

    Parameters
    ----------
    f : callable
        Elementwise on float64 arrays of u > 0; f(1) = 0, convex, strictly at 1.
    name : str
        What messages call it.
    slope : callable, optional
        f', elementwise; numerical by default.
    at_zero, at_infinity : float, optional
        f(0+) and f'(∞) = lim f(u)/u, inf allowed; f(0) is taken from f(0.0) where that is a number.
    link : callable, optional
        Increasing g whose values are slopes of f, elementwise; g(r) = f'(eʳ) by default.

    Returns
    -------
    Generator
        Accepted wherever a name is.

    Raises
    ------
    ValueError
        A limit that is no number; f not elementwise and finite, f(1) ≠ 0, f not convex (three points that show it are
        named) or affine around 1.
    CertificateError
        The numerical conjugate misses Fenchel–Young equality.

    References
    ----------
    Ours; the definitions are those of `theory.divergences.generators`.

    Examples
    --------
    >>> from theory.divergences import custom, f_divergence
    >>> triangle = custom(lambda u: (u - 1) ** 2 / (u + 1), name="triangle", at_infinity=1.0)
    >>> round(f_divergence([0.75, 0.25], [0.25, 0.75], triangle), 12)
    0.5
    """
    for argument, given in (("f", f), ("slope", slope), ("link", link)):
        if not callable(given) and (given is not None or argument == "f"):
            raise TypeError(f"{argument} must be a function, got {type(given).__name__}")
    at_zero, at_infinity = _stated("at_zero", at_zero), _stated("at_infinity", at_infinity)
    _check_generator(f, name, at_zero, at_infinity)
    derivative = slope if slope is not None else _numerical_slope(f)
    start = _value_at_zero(f) if at_zero is None else at_zero

    conjugate = np.vectorize(lambda t: _conjugate(f, derivative, start, at_infinity, float(t), name), otypes=[float])

    def curvature(u: Array) -> Array:
        log_u = np.log(u)
        return (derivative(np.exp(log_u + STEP)) - derivative(np.exp(log_u - STEP))) / (2.0 * STEP * u)

    def tangent(u: Array) -> Array:
        """uf'(u) − f(u) = f*(f'(u))"""
        return u * derivative(u) - f(u)

    def link_slope(r: Array) -> Array:
        return np.where(np.abs(r) < SATURATED, _inside(r) * curvature(_inside(r)), 0.0)

    made = Generator(
        name=name,
        f=f,
        slope=derivative,
        curvature=curvature,
        at_zero=start,
        at_infinity=at_infinity,
        perspective=lambda p, q: q * f(p / q),
        conjugate=conjugate,
        link=_saturating(derivative, None, at_infinity),
        link_slope=link_slope,
        ratio=np.exp,
        cost=_saturating(tangent, None if start is None else -start, None),
        cost_slope=lambda r: _inside(r) * link_slope(r),
        optimum=lambda log_R: np.asarray(log_R, float),
    )
    if link is not None:
        made = _with_link(made, link)
    _check_conjugate(made)
    return made


def _stated(name: str, limit: float | None) -> float | None:
    """A limit that is stated, in (−inf, inf]; ValueError names it where it is none."""
    return None if limit is None else check_between(name, limit, -math.inf, math.inf, ends="(]")


def _with_link(made: Generator, link: Elementwise) -> Generator:
    """The same f with a link of the user's: conjugate, ratio and optimum are searched."""
    ratio = np.vectorize(lambda r: _ratio_of_slope(made.slope, _at(link, r)), otypes=[float])

    def link_slope(r: Array) -> Array:
        return (link(r + STEP) - link(r - STEP)) / (2.0 * STEP)

    return replace(
        made,
        link=link,
        link_slope=link_slope,
        ratio=ratio,
        cost=lambda r: made.conjugate(link(r)),
        cost_slope=lambda r: ratio(r) * link_slope(r),
        optimum=np.vectorize(lambda log_R: _invert(link, _at(made.slope, np.exp(log_R))), otypes=[float]),
    )


def _at(function: Elementwise, x: float) -> float:
    """A function of arrays at one number."""
    return float(np.asarray(function(np.array([x], dtype=np.float64)))[0])


def _inside(r: Array) -> Array:
    """eʳ with r moved into the range in which f is checked."""
    return np.exp(np.clip(np.asarray(r, dtype=np.float64), -SATURATED, SATURATED))


def _saturating(function: Elementwise, at_minus: float | None, at_plus: float | None) -> Elementwise:
    """r → function(eʳ), with its limits at r = ∓∞ where they are known."""

    def extended(r: Array) -> Array:
        values = np.asarray(function(_inside(r)), dtype=np.float64)
        for limit, end in ((at_minus, -np.inf), (at_plus, np.inf)):
            if limit is not None:
                values = np.where(np.asarray(r) == end, limit, values)
        return values

    return extended


def _check_generator(f: Elementwise, name: str, at_zero: float | None, at_infinity: float | None) -> None:
    """f(1) = 0, finite, convex on `CHECK_POINTS` and beyond, by the limits stated, not affine around 1."""
    u = CHECK_POINTS
    values = np.asarray(f(u), dtype=np.float64)
    if values.shape != u.shape:
        raise ValueError(f"generator {name} must act elementwise: {u.shape} gave {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"generator {name}: f({u[bad[0]]:g}) = {values[bad[0]]} is not finite")
    at_one = _at(f, 1.0)
    if not abs(at_one) <= 1e-12:
        raise ValueError(f"generator {name}: f(1) = {at_one!r}, not 0")
    chords = np.diff(values) / np.diff(u)
    # rounding of f, divided by the spacing, is how far a chord may be off
    rounding = 8e-16 * (np.abs(values[:-1]) + np.abs(values[1:]) + 1.0) / np.diff(u)
    falls = np.flatnonzero(np.diff(chords) < -(rounding[:-1] + rounding[1:]))
    if falls.size:
        i = int(falls[0])
        raise ValueError(f"generator {name} is not convex: see f at u = {u[i]:g}, {u[i + 1]:g}, {u[i + 2]:g}")
    for argument, limit, least in (
        ("at_zero", at_zero, values[0] - u[0] * chords[0]),
        ("at_infinity", at_infinity, chords[-1]),
    ):
        if limit is not None and limit < least - ACCURACY * (1.0 + abs(least)):
            raise ValueError(
                f"generator {name}: {argument} = {limit:g}, which is at least {least:g} by its other values"
            )
    for h in (0.5, 0.1, 0.02):
        if not float(np.sum(f(np.array([1.0 - h, 1.0 + h])))) > 1e-12:
            raise ValueError(f"generator {name} is affine on [1 − {h:g}, 1 + {h:g}]: D_f would not tell p from q")


def _check_conjugate(made: Generator) -> None:
    """Fenchel–Young: f*(f'(u)) = u f'(u) − f(u), and f(v) + f*(t) ≥ vt elsewhere, on a coarser grid."""
    u = np.exp(np.linspace(-4.0, 4.0, 9))
    t = np.asarray(made.slope(u), float)
    conjugates = np.asarray(made.conjugate(t), float)
    scale = 1.0 + np.abs(u * t) + np.abs(made.f(u))
    equality = np.abs(conjugates - (u * t - made.f(u))) / scale
    inequality = (np.outer(u, t) - made.f(u)[:, None] - conjugates) / (scale[:, None] + scale)
    worst = max(float(equality.max()), float(inequality.max()))
    if not worst <= ACCURACY:
        raise CertificateError(f"the conjugate of generator {made.name} misses Fenchel–Young by {worst:.1e}")


def _numerical_slope(f: Elementwise) -> Elementwise:
    def slope(u: Array) -> Array:
        u = np.asarray(u, dtype=np.float64)
        log_u = np.log(u)

        def chord(steps: float) -> Array:
            high, low = np.exp(log_u + steps * STEP), np.exp(log_u - steps * STEP)
            return f(high) - f(low)

        return (45.0 * chord(1.0) - 9.0 * chord(2.0) + chord(3.0)) / (60.0 * STEP * u)

    return slope


def _value_at_zero(f: Elementwise) -> float | None:
    """f(0.0) where f can say it, None where it cannot (0·log 0 is NaN)."""
    with np.errstate(all="ignore"):
        value = _at(f, 0.0)
    return None if math.isnan(value) else value


def _ratio_of_slope(slope: Elementwise, t: float) -> float:
    """u with f'(u) = t by bisection in log u; 0 or inf if every slope up to e^{±FARTHEST} lies on one side."""

    def slope_at(log_u: float) -> float:
        return _at(slope, math.exp(log_u))

    low = high = 0.0
    width = 1.0
    with np.errstate(all="ignore"):
        while slope_at(low) > t:
            low -= width
            width *= 2.0
            if low < -FARTHEST:
                return 0.0
        width = 1.0
        while not slope_at(high) >= t:
            high += width
            width *= 2.0
            if high > FARTHEST:
                return math.inf
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if slope_at(middle) >= t else (middle, high)
    return math.exp(0.5 * (low + high))


def _conjugate(
    f: Elementwise, slope: Elementwise, at_zero: float | None, at_infinity: float | None, t: float, name: str
) -> float:
    """f*(t): tu − f(u) at the u of slope t, −f(0) below every slope, inf above f'(∞)."""
    if at_infinity is not None and t >= at_infinity:
        if math.isinf(t) or t > at_infinity + ACCURACY * (1.0 + abs(at_infinity)):
            return math.inf
        return _conjugate_at_the_end(f, at_infinity)  # or a numerical slope of f where it has its last one
    u = _ratio_of_slope(slope, t)
    if u == 0.0:
        if at_zero is None:
            raise ValueError(f"f*({t:g}) lies below every slope of the generator {name}: it needs f(0) stated")
        return -at_zero
    if math.isinf(u):
        if at_infinity is None:
            raise ValueError(f"f*({t:g}) lies above every slope of the generator {name}: it needs f'(∞) stated")
        u = math.exp(0.5 * FARTHEST)  # t is f'(∞) but for rounding
    return max(t * u - _at(f, u), _highest_near(lambda v: t * v - _at(f, v), u))


def _conjugate_at_the_end(f: Elementwise, at_infinity: float) -> float:
    """f*(f'(∞)) = lim tu − f(u), t = f'(∞), which rises with u: from its last steps in log u before it is all rounding.

    A limit is approached like a power u^{−a}, so that steps shrink by e^{−a}; where they hardly do there is none.
    """
    u = np.exp(SATURATED - np.array([2.0, 1.0, 0.0]))
    below = at_infinity * u - np.asarray(f(u), dtype=np.float64)
    before, last = np.diff(below)
    if last <= ACCURACY * (1.0 + abs(below[-1])):
        return float(below[-1])
    if last >= 0.99 * before:
        return math.inf
    return float(below[-1] + last**2 / (before - last))


def _highest_near(concave: Callable[[float], float], u: float) -> float:
    """Maximum of a concave function within the reach of the differences, which smear a kink of f; ternary search."""
    low, high = u * math.exp(-4.0 * STEP), u * math.exp(4.0 * STEP)
    for _ in range(80):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (left, high) if concave(left) < concave(right) else (low, right)
    return concave(0.5 * (low + high))


def _invert(increasing: Elementwise, value: float) -> float:
    """r with increasing(r) = value by bisection; ±inf if no |r| ≤ `FARTHEST_REWARD` passes the value."""
    low, high = -1.0, 1.0
    with np.errstate(all="ignore"):
        while not _at(increasing, low) < value:
            low *= 2.0
            if low < -FARTHEST_REWARD:
                return -math.inf
        while not _at(increasing, high) > value:
            high *= 2.0
            if high > FARTHEST_REWARD:
                return math.inf
        for _ in range(100):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _at(increasing, middle) < value else (low, middle)
    return 0.5 * (low + high)
