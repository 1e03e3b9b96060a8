"""A continuous law on which the true reward of Best-of-N turns: a Gaussian proxy that some responses fool.

    a response that does not   proxy ~ N(0, 1), truth = correlation · proxy + independent noise of mean 0
    one that does              proxy ~ N(shift, 1), truth `truth` on average, whatever the proxy;   chance `share`

However small the share, the tail of the proxy belongs to those that fool it: Best-of-N's truth tends to `truth`. Under
pessimism everything but the normaliser and the KL is a closed form: with z = m − λ and a proxy N(m, 1),

    E relu(r̂ − λ) = zΦ(z) + φ(z),   E relu² = (z² + 1)Φ(z) + zφ(z),   E (r̂ − m) relu(r̂ − λ) = Φ(z).

share = 0 is the jointly Gaussian proxy, on which neither turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, xlogy

from theory.numerics import gauss_legendre, normal_density
from theory.validate import Array, check_between, check_finite, check_reciprocal, check_whole, check_word

#: How many standard deviations below the least and above the largest mean the integrals go.
BELOW, ABOVE = 9.0, 12.0
#: Least weight of the penalty: below it the normaliser lies in a tail that has no relative precision.
LEAST_BETA = 1e-12
#: Most responses: the best of them stays within `ABOVE` but for 2e-18.
MOST = 10**15
#: Least temperature of soft Best-of-N.
COLDEST = 0.05


@dataclass(frozen=True)
class Selected:
    """What a policy reaches: mean `truth` and `proxy`, `kl` (nats) and `chi_square` from the reference."""

    truth: float
    proxy: float
    kl: float
    chi_square: float


@dataclass(frozen=True)
class FaultyProxy:
    """The law above: correlation in [−1, 1], share in [0, 1), shift in [0, 10], truth of what fools the proxy."""

    correlation: float
    share: float = 0.0
    shift: float = 0.0
    truth: float = 0.0

    def __post_init__(self) -> None:
        check_between("correlation", self.correlation, -1.0)
        check_between("share", self.share, ends="[)")
        check_between("shift", self.shift, high=10.0)
        check_finite("truth", self.truth)

    @property
    def _parts(self) -> tuple[Array, Array, Array, Array]:
        """Weights, means of the proxy, means of the truth and slopes of truth on proxy, of the two parts."""
        weights = np.array([1.0 - self.share, self.share])
        return weights, np.array([0.0, self.shift]), np.array([0.0, self.truth]), np.array([self.correlation, 0.0])

    def best_of_n(self, n: int) -> Selected:
        """Best-of-N by the proxy, by quadrature in the proxy; its χ² is n²/(2n − 1) − 1, its KL log n − (n − 1)/n."""
        n = check_whole("n", n, most=MOST)
        weights, means, truths, slopes = self._parts
        x, dx = gauss_legendre(np.linspace(-BELOW, ABOVE + self.shift, 49), 16)
        z = x[:, None] - means
        with np.errstate(divide="ignore"):
            below, beyond = np.log(ndtr(z) @ weights), ndtr(-z) @ weights
        log_below = np.where(beyond < 0.5, np.log1p(-np.minimum(beyond, 0.5)), below)
        density = normal_density(z) * weights
        best = dx * n * np.exp((n - 1) * log_below)
        truth = best @ (density * (truths + slopes * z)).sum(axis=1)
        proxy = best @ (x * density.sum(axis=1))
        return Selected(float(truth), float(proxy), math.log(n) - (n - 1) / n, n * n / (2 * n - 1) - 1.0)

    def pessimism(self, chi_beta: float) -> Selected:
        """The policy of density relu((r̂ − λ)/β); chi_beta = β ≥ 1e-12, in standard deviations of the proxy."""
        beta = check_reciprocal("chi_beta", chi_beta)
        if beta < LEAST_BETA:
            raise ValueError(f"chi_beta = {chi_beta} must be at least {LEAST_BETA:g}")
        weights, means, truths, slopes = self._parts
        excess = lambda level: float(weights @ _relu_mean(means - level))
        level = float(
            brentq(lambda x: excess(x) / beta - 1.0, weights @ means - beta - 1.0, self.shift + BELOW, xtol=1e-13)
        )
        z = means - level
        first, second = _relu_mean(z), (z**2 + 1.0) * ndtr(z) + z * normal_density(z)
        truth = weights @ (truths * first + slopes * ndtr(z)) / beta
        proxy = weights @ (means * first + ndtr(z)) / beta
        return Selected(float(truth), float(proxy), self._kl(level, beta), float(weights @ second) / beta**2 - 1.0)

    def soft(self, temperature: float) -> Selected:
        """Soft Best-of-N as N → ∞: the density exp(proxy/temperature), a shift of both parts by 1/temperature.

        temperature  at least 0.05, where the parts stand 20 apart from where they were
        """
        weights, means, truths, slopes = self._parts
        if not check_reciprocal("temperature", temperature) >= COLDEST:
            raise ValueError(f"temperature = {temperature} must be at least {COLDEST}")
        shift = 1.0 / temperature
        tilted = weights * np.exp(shift * means)
        log_mean = math.log(tilted.sum()) + 0.5 * shift**2
        tilted = tilted / tilted.sum()
        proxy = float(tilted @ means) + shift
        squares = math.log(weights @ np.exp(2.0 * shift * means)) + 2.0 * shift**2
        kl, chi_square = proxy * shift - log_mean, math.expm1(squares - 2.0 * log_mean)
        return Selected(float(tilted @ (truths + slopes * shift)), proxy, kl, chi_square)

    def at(self, kl: float, method: Literal["pessimism", "soft"]) -> Selected:
        """What `pessimism` or `soft` reaches where its KL is this, in (10⁻⁶, 10) nats."""
        if not 1e-6 < check_finite("kl", kl) < 10.0:
            raise ValueError(f"kl = {kl} must lie between 1e-06 and 10 nats")
        reached = {"pessimism": self.pessimism, "soft": self.soft}[check_word("method", method, ("pessimism", "soft"))]
        least = {"pessimism": 1e-7, "soft": COLDEST}[method]
        gap = lambda log_weight: reached(math.exp(log_weight)).kl - kl
        return reached(math.exp(brentq(gap, math.log(least) + 1e-9, math.log(1e5), xtol=1e-10)))

    def _kl(self, level: float, beta: float) -> float:
        """E h log h, h = relu(r̂ − λ)/β; in t = √(r̂ − λ) the integrand is smooth at λ too."""
        weights, means, _, _ = self._parts
        low = max(level, -BELOW)
        t, dt = gauss_legendre(np.linspace(math.sqrt(low - level), math.sqrt(self.shift + ABOVE - level), 49), 16)
        density = normal_density(level + t[:, None] ** 2 - means) @ weights
        return float((2.0 * t * dt) @ (density * xlogy(t**2 / beta, t**2 / beta)))


def _relu_mean(z: Array) -> Array:
    """E relu(Z + z) = zΦ(z) + φ(z)."""
    return z * ndtr(z) + normal_density(z)
