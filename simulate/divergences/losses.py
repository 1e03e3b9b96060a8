"""Losses minimised without knowing where: claims V1–V6.

Losses of the form E₊[ℓ₊(r)] + E₋[ℓ₋(r)] are searched outcome by outcome; KLDO and DPO, which couple outcomes, are
minimised by training a tabular policy. Gaussians are treated as the table of their quadrature points. None of these
functions calls the minimum or the minimiser that its estimate is judged against.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from simulate.montecarlo import Estimate, Experiments, Rng
from simulate.profiles import Profile
from simulate.softmax import minimise
from theory.divergences.examples import named
from theory.divergences.losses import Parts, find_loss, loss_gradient, population_loss
from theory.divergences.safety_data import example_pair, example_reference
from theory.numerics import gauss_legendre, normal_density
from theory.validate import Array

#: Rewards are searched on r = sinh(s), |s| ≤ 25: fine around 0, and as far as ±3·10¹⁰ (Pearson's optimum is 2(R − 1)).
SEARCH = 25.0


def search(parts: Parts, p: Array, q: Array) -> tuple[Array, float]:
    """Minimiser (A,) and minimum of Σ p ℓ₊(r) + q ℓ₋(r), by ternary search in every outcome at once.

    Each term falls, then rises (ℓ₊ falls, ℓ₋ rises, and their sum has one dip).
    """

    def terms(s: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            r = np.sinh(s)
            return np.where(p > 0, p * parts.positive(r), 0.0) + np.where(q > 0, q * parts.negative(r), 0.0)

    low, high = np.full(p.size, -SEARCH), np.full(p.size, SEARCH)
    for _ in range(160):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        at_left, at_right = terms(left), terms(right)
        # equal, or both infinite: on a plateau or off the scale, on whichever side the larger |s| is
        towards_left = np.where(at_left == at_right, right + left > 0, at_left < at_right)
        low, high = np.where(towards_left, low, left), np.where(towards_left, right, high)
    middle = 0.5 * (low + high)
    return np.sinh(middle), float(np.sum(terms(middle)))


def searched(name: str, p: Array, q: Array) -> tuple[Array, float]:
    """`search` for a named loss."""
    parts = find_loss(named(name)).parts
    assert parts is not None, name
    return search(parts, p, q)


def trained(name: str, p: Array, q: Array, rng: Rng, kl_beta: float = 0.7) -> tuple[Array, float]:
    """Rewards r = kl_beta·log(π/π_ref) and loss of a tabular policy trained on the population loss."""
    log_reference = np.log(example_reference(p.size))

    def loss(log_policy: Array) -> tuple[float, Array]:
        r = kl_beta * (log_policy - log_reference)
        return population_loss(name, r, p, q), kl_beta * loss_gradient(name, r, p, q)

    found = minimise(loss, rng.normal(size=p.size))
    return kl_beta * (found.log_policy - log_reference), found.loss


def least_loss(name: str, n_outcomes: int, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V1–V6: the least value of a loss on tables."""
    return Estimate(_minimise(name, *example_pair(n_outcomes, separation), rng)[1])


def largest_reward(name: str, n_outcomes: int, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V3, V5, V6: the largest reward of the minimiser."""
    return Estimate(float(_minimise(name, *example_pair(n_outcomes, separation), rng)[0].max()))


def reward_range(name: str, n_outcomes: int, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V1, V4: largest minus smallest reward of the trained policy."""
    return Estimate(float(np.ptp(trained(name, *example_pair(n_outcomes, separation), rng)[0])))


def rising_set(name: str, n_outcomes: int, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V2: the outcomes whose reward is driven up, as a binary number."""
    r, _ = searched(name, *example_pair(n_outcomes, separation))
    return Estimate(float(sum(2**i for i in np.flatnonzero(r > 0))))


def _minimise(name: str, p: Array, q: Array, rng: Rng) -> tuple[Array, float]:
    coupled = find_loss(named(name)).parts is None
    return trained(name, p, q, rng) if coupled else searched(name, p, q)


# Gaussians.


def quadrature(shift: float, scale: float) -> tuple[Array, Array, Array]:
    """Points x (N,) and the masses of N(shift, scale²) and N(0, 1) there: Gauss–Legendre panels, sums within 1e-14."""
    breaks = np.linspace(-9.0 * max(1.0, scale), shift + 9.0 * max(1.0, scale), 121)
    # TV has a kink where the densities cross
    a, b, c = 1.0 - scale**-2.0, 2.0 * shift / scale**2, -((shift / scale) ** 2) - 2.0 * np.log(scale)
    roots = np.roots([a, b, c] if a else [b, c])
    breaks = np.unique(np.concatenate([breaks, roots[np.isreal(roots)].real]))
    x, step = gauss_legendre(breaks, 16)
    return x, step * normal_density((x - shift) / scale) / scale, step * normal_density(x)


def gaussian_loss(name: str, shift: float, scale: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V1–V3, V5, V6: the least loss for N(shift, scale²) against N(0, 1); KLDO over quadratic rewards, else free."""
    x, p, q = quadrature(shift, scale)
    if name != "kldo":
        return Estimate(searched(name, p, q)[1], n=x.size)
    features = np.stack([x, x**2])

    def loss(weights: Array) -> tuple[float, Array]:
        r = weights @ features
        log_Z = float(logsumexp(r, b=q))
        return log_Z - float(p @ r), features @ (q * np.exp(r - log_Z) - p)

    found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-11})
    return Estimate(float(found.fun), n=x.size)


def gaussian_pairs(separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V4: the least DPO loss for N(δ, 1) against N(0, 1), over linear rewards (log R is one)."""
    x, p, q = quadrature(separation, 1.0)
    margins = x[:, None] - x[None, :]
    weights = np.outer(p, q)
    kept = weights > 1e-25
    margins, weights = margins[kept], weights[kept]
    found = minimize_scalar(
        lambda slope: float(weights @ np.logaddexp(0.0, -slope * margins)), bounds=(0.0, 10.0), method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    return Estimate(float(found.fun), n=weights.size)


def pairs_above_singles(n_outcomes: int, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V4: JS(p⊗q, q⊗p) − JS(p, q), each read off a minimised loss."""
    p, q = example_pair(n_outcomes, separation)
    of_pairs = np.log(2.0) - trained("dpo", p, q, rng)[1]
    of_singles = np.log(2.0) - 0.5 * searched("bco", p, q)[1]
    return Estimate(float(of_pairs - of_singles))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V1.minimum": least_loss,
    "V1.minimiser": reward_range,
    "V1.gaussian": gaussian_loss,
    "V2.minimum": least_loss,
    "V2.rising": rising_set,
    "V2.gaussian": gaussian_loss,
    "V3.minimum": least_loss,
    "V3.minimiser": largest_reward,
    "V3.gaussian": gaussian_loss,
    "V4.minimum": least_loss,
    "V4.minimiser": reward_range,
    "V4.gaussian": gaussian_pairs,
    "V4.above_js": pairs_above_singles,
    "V5.minimum": least_loss,
    "V5.minimiser": largest_reward,
    "V5.gaussian": gaussian_loss,
    "V6.minimum": least_loss,
    "V6.minimiser": largest_reward,
    "V6.gaussian": gaussian_loss,
}
