"""Order statistics behind Best-of-N: the expected maximum, its inverse in N, and quadrature for random thresholds.

    E max of N        ∫₀^∞ (1 − Φ(x)^N) dx − ∫_{−∞}^0 Φ(x)^N dx          standard normal rewards, N real
    E max of N        ∫₀^∞ q(1 − e^{−s/N}) e^{−s} ds                     q the upper quantile function of any law
    threshold         of n i.i.d. rows the k best are kept: the share of the law below the cut is Beta(n − k, k + 1)

Everything runs on logarithms of distribution functions (Φ^N = e^{N log Φ}), so that N may be far beyond 10⁶.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, log_ndtr, ndtr

from theory.numerics import gauss_legendre
from theory.validate import Array, as_number, check_between, check_whole

#: Largest N for which `equivalent_n` looks; Φ(−12) · 10¹⁵ is still far below rounding.
LARGEST_N = 1e15
#: Ends of the axis of integration, in standard deviations.
LOW, HIGH = -9.0, 12.0


def expected_max(n: float) -> float:
    """Expected maximum of n independent standard normal rewards, ∫ x d(Φ(x)^n) (B3).

    Parameters
    ----------
    n : float
        In [1, 10¹⁵]; a real n interpolates the whole numbers (it is the law Φ^n).

    Returns
    -------
    float
        In standard deviations; relative error below 1e-12. 1/√π for n = 2, about √(2 log n) for large n.

    Raises
    ------
    ValueError
        n outside the range.

    References
    ----------
    Standard.

    Examples
    --------
    >>> from theory.best_of_n import expected_max
    >>> round(expected_max(16), 6)
    1.765991
    """
    n = check_between("n", n, 1.0, LARGEST_N)
    x, w = gauss_legendre(np.linspace(LOW, HIGH, 43), 16)
    log_power = n * log_ndtr(x)
    return float(w @ np.where(x > 0, -np.expm1(log_power), -np.exp(log_power)))


def expected_best(upper_quantile: Callable[[Array], Array], n: float) -> float:
    """Expected maximum of n independent rewards of any continuous law; n real ≥ 1.

    upper_quantile  p ↦ the reward that is exceeded with probability p, vectorised over p in (0, 1); it may grow
                    like a power of log 1/p or like p^{-a}, a < ½, at p → 0

    The best of n is exceeded in a single draw with probability p = 1 − e^{−s/n}, s exponential. In y = log s the
    integrand e^{y − e^y}·q is smooth; the rule's relative error is below 1e-10 for such laws.
    """
    n = check_between("n", n, 1.0, LARGEST_N)
    # s up to 38 (e^{-38} = 3e-17), but p must stay below 1 in float64.
    y, w = gauss_legendre(np.linspace(-80.0, math.log(38.0), 121), 12)
    s = np.exp(y)
    p = np.minimum(-np.expm1(-s / n), 1.0 - 2.0**-53)
    return float(w @ (s * np.exp(-s) * upper_quantile(p)))


def equivalent_n(reward: float, expected: Callable[[float], float] = expected_max, largest: float = LARGEST_N) -> float:
    """The real N* ≥ 1 with E max_{N*} = `reward`: the Best-of-N that is as good on average (B6).

    Parameters
    ----------
    reward : float
        In the unit of `expected`.
    expected : callable
        N ↦ E max_N, increasing; standard normal rewards by default.
    largest : float
        Up to which N to look.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        reward below E max₁ (no Best-of-N is that bad) or above E max_largest.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.best_of_n import equivalent_n, expected_max
    >>> round(equivalent_n(expected_max(16)), 6)
    16.0
    """
    reward, largest = as_number("reward", reward), check_between("largest", largest, 1.0, LARGEST_N)
    low, high = expected(1.0), expected(largest)
    # A rounding error below the mean is N* = 1, not an error of the caller.
    if low - 1e-9 * max(1.0, abs(low)) <= reward <= low:
        return 1.0
    if not low < reward <= high:
        raise ValueError(
            f"reward = {reward} is outside [{low:.6g}, {high:.6g}], the range of Best-of-N up to {largest:g}"
        )
    return math.exp(brentq(lambda y: expected(math.exp(y)) - reward, 0.0, math.log(largest), xtol=1e-13, rtol=1e-14))


def beta_nodes(a: float, b: float, count: int) -> tuple[Array, Array]:
    """A quadrature rule of the Beta(a, b) law: `count` nodes in (0, 1) and weights that sum to one; b > 1.

    Gauss–Hermite in z = Φ^{-1}(quantile level). A law cut at U varies like √log 1/(1 − U), singular at U = 1 and
    slow for polynomials in U, but smooth in z: at n = 64, k = 1 four nodes leave 10⁻⁶ of the mean of a normal law cut
    at U, where Gauss nodes of the Beta law itself leave 3·10⁻³; at n = 2 they leave 3·10⁻⁴. a and b up to 10⁹.
    """
    z, weights = np.polynomial.hermite_e.hermegauss(count)
    return 1.0 - betaincinv(b, a, ndtr(-z)), weights / weights.sum()


def expected_inverse_range(n: int) -> float:
    """E[1/(max − min)] of n independent standard normal rewards, n ≥ 3 (it is infinite for n = 2).

    ∫₀^∞ f(w)/w dw, f(w) = n(n−1) ∫ φ(x) φ(x+w) [Φ(x+w) − Φ(x)]^{n−2} dx, the density of the range.
    """
    n = check_whole("n", n)
    if n < 3:
        raise ValueError(f"n = {n}: the mean inverse range of fewer than three normal rewards is infinite")
    x, wx = gauss_legendre(np.linspace(-9.0, 9.0, 25), 12)
    w, ww = gauss_legendre(np.linspace(0.0, 18.0, 49), 12)
    between = ndtr(x[:, None] + w) - ndtr(x)[:, None]
    log_density = -(x[:, None] ** 2) / 2 - (x[:, None] + w) ** 2 / 2 - math.log(2.0 * math.pi)
    with np.errstate(divide="ignore"):
        log_density = log_density + (n - 2) * np.log(between)
    return float(n * (n - 1) * (wx @ np.exp(log_density) @ (ww / w)))
