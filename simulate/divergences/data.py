"""Kinds of data, separation of representations, and the public normaliser: claims V10–V12."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax, logsumexp, rel_entr

from simulate.divergences.losses import searched
from simulate.montecarlo import Estimate, Experiments, Rng, mean, proportion
from simulate.profiles import Profile
from theory.divergences.examples import representation
from theory.divergences.normaliser import GUARD, REGIMES, Regime
from theory.divergences.safety_data import Kind, SafetyData, example_safety
from theory.divergences.separation import class_separation, fit_gaussian, rank_correlation, silhouette
from theory.validate import Array

KINDS: tuple[Kind, Kind] = ("cr", "preference")
#: Divergences of two laws, spelt out: nothing here calls the generators that predict them.
DIVERGENCES: dict[str, Callable[[Array, Array], float]] = {
    "kl": lambda p, q: float(rel_entr(p, q).sum()),
    "jensen_shannon": lambda p, q: float(0.5 * (rel_entr(p, 0.5 * (p + q)) + rel_entr(q, 0.5 * (p + q))).sum()),
    "total_variation": lambda p, q: float(0.5 * np.abs(p - q).sum()),
}

# V10.


def minimised_gap(generator: str, overlap: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V10: least FDO loss on preference data minus that on compliance–refusal data, joint tables."""
    data = example_safety(overlap)
    least = {kind: searched(generator, *(table.ravel() for table in data.joint(kind)))[1] for kind in KINDS}
    return Estimate(least["preference"] - least["cr"])


def sampled_gap(generator: str, overlap: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V10: plug-in divergence of 10⁶ compliance–refusal draws minus that of 10⁶ preference draws."""
    data = example_safety(overlap)
    gaps = [_sampled(data, "cr", generator, rng) - _sampled(data, "preference", generator, rng)
            for _ in range(profile.repeats)]  # fmt: skip
    if all(math.isinf(gap) for gap in gaps):
        return Estimate(gaps[0], n=len(gaps))
    return mean(gaps)


def _sampled(data: SafetyData, kind: Kind, generator: str, rng: Rng) -> float:
    n = 10**6
    p, q = (rng.multinomial(n, table.ravel()) / n for table in data.joint(kind))
    return DIVERGENCES[generator](p, q)


# V11.


def gaussian_distances(shifts: Array, covs: Array) -> Array:
    """Bhattacharyya distances (S,) of Gaussians whose means are `shifts` (S, d) apart, covariances (2, S, d, d)."""
    middle = covs.mean(axis=0)
    quadratic = np.einsum("sd,sd->s", shifts, np.linalg.solve(middle, shifts[:, :, None])[:, :, 0])
    log_dets = np.linalg.slogdet(covs)[1]
    return np.asarray(quadratic / 8.0 + 0.5 * np.linalg.slogdet(middle)[1] - 0.25 * log_dets.sum(axis=0))


def fitted_distance(first: Array, second: Array) -> float:
    """The plug-in distance of two classes of points (n, d)."""
    (mean1, cov1), (mean2, cov2) = fit_gaussian(first), fit_gaussian(second)
    return float(gaussian_distances((mean1 - mean2)[None], np.stack([cov1, cov2])[:, None])[0])


def plug_in_excess(separation: float, dimension: int, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: n times (plug-in Bhattacharyya distance − δ²/8) for two spherical Gaussians, n points each.

    Only means and covariances matter, so those are drawn: normal and Wishart (Bartlett's factor). Control variate:
    the tangent of the distance in the two means and covariances, whose mean is 0.
    """
    count, d = 2 * profile.replicates, dimension
    delta = separation * np.eye(d)[0]
    factors = np.zeros((2, count, d, d))
    lower = np.tril_indices(d, -1)
    factors[:, :, lower[0], lower[1]] = rng.normal(size=(2, count, lower[0].size))
    factors[:, :, np.arange(d), np.arange(d)] = np.sqrt(rng.chisquare(n - 1 - np.arange(d), size=(2, count, d)))
    covs = factors @ factors.transpose(0, 1, 3, 2) / (n - 1)
    shifts = delta + rng.normal(size=(count, d)) * math.sqrt(2.0 / n)
    middle = covs.mean(axis=0)
    tangent = (shifts - delta) @ delta / 4.0 - (delta @ middle @ delta - delta @ delta) / 8.0
    return mean(n * (gaussian_distances(shifts, covs) - separation**2 / 8.0 - tangent))


def plug_in_distance(separation: float, dimension: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: plug-in distance of two Gaussians with different covariances, 10⁶ points each in a few batches."""
    scales = np.sqrt(1.0 + np.arange(dimension) / dimension)
    found = []
    for _ in range(max(2, profile.repeats // 4)):
        first = rng.normal(size=(200_000, dimension)) + separation * np.eye(dimension)[0]
        second = rng.normal(size=(200_000, dimension)) * scales
        found.append(fitted_distance(first, second))
    return mean(found)


def after_pca(class_axis: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: the metric after two principal axes, 20 000 points per class, several times."""
    mean1, mean2, variances = representation(class_axis)
    found = []
    for _ in range(max(2, profile.repeats // 2)):
        X = rng.normal(size=(40_000, mean1.size)) * np.sqrt(variances)
        X[:20_000] += mean1
        X[20_000:] += mean2
        axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:2].T
        found.append(fitted_distance(X[:20_000] @ axes, X[20_000:] @ axes))
    return mean(found)


def mean_silhouette(separation: float, dimension: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: the silhouette of spherical Gaussians, 500 points per class, several times."""
    labels = np.repeat([0, 1], 500)
    shift = separation * labels[:, None] * np.eye(dimension)[0]
    draws = [rng.normal(size=(1000, dimension)) + shift for _ in range(max(2, profile.repeats))]
    return mean([silhouette(points, labels) for points in draws])


def shrinkage_helps(separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: error of the plug-in distance minus its error with shrinkage ½; 40 dimensions, 60 points per class."""
    d, n, exact = 40, 60, separation**2 / 8.0
    labels = np.repeat([0, 1], n)
    gains = []
    for _ in range(max(4, profile.repeats)):
        points = rng.normal(size=(2 * n, d)) + separation * labels[:, None] * np.eye(d)[0]
        plain, shrunk = (class_separation(points, labels, shrinkage=s).bhattacharyya for s in (0.0, 0.5))
        gains.append(abs(plain - exact) - abs(shrunk - exact))
    return mean(gains)


def rank_interval(correlation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V11: coverage of the interval for Spearman's ρ; bivariate normal pairs have (6/π)·asin(correlation/2)."""
    exact = 6.0 / math.pi * math.asin(correlation / 2.0)
    covered, samples = 0, 2 * profile.replicates
    for _ in range(samples):
        x, y = rng.normal(size=(2, 20))
        found = rank_correlation(x, correlation * x + math.sqrt(1.0 - correlation**2) * y)
        covered += found.low <= exact <= found.high
    return proportion(covered, samples)


# V12.


def coefficient(case: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V12: min(A, U)/(U + 1e-9) from batches of 10⁵ preferred and 10⁵ dispreferred responses."""
    regime = REGIMES[case]
    r = regime.kl_beta * np.log(regime.policy / regime.reference)
    found = []
    for _ in range(profile.repeats):
        preferred, rejected = (rng.multinomial(10**5, table) / 10**5 for table in (regime.p, regime.q))
        A, U = float(preferred @ r), float(logsumexp(r, b=rejected))
        found.append(min(A, U) / (U + GUARD))
    return mean(found)


def steps_of(regime: Regime, normalised: bool, rate: float, steps: int) -> float:
    """Change of E₋[log π] over gradient steps on the logits; the gradient is that of −A + c·U with c held fixed."""
    theta = np.log(regime.policy)
    start = float(regime.q @ log_softmax(theta))
    for _ in range(steps):
        r = regime.kl_beta * (log_softmax(theta) - np.log(regime.reference))
        A, U = float(regime.p @ r), float(logsumexp(r, b=regime.q))
        c = min(A, U) / (U + GUARD) if normalised else 1.0

        def detached(x: Array, c: float = c) -> float:
            rewards = regime.kl_beta * (log_softmax(x) - np.log(regime.reference))
            return float(-regime.p @ rewards + c * logsumexp(rewards, b=regime.q))

        # central differences: nothing here knows the gradient
        h = 1e-5
        gradient = [(detached(theta + h * e) - detached(theta - h * e)) / (2.0 * h) for e in np.eye(theta.size)]
        theta = theta - rate * np.array(gradient)
    return float(regime.q @ log_softmax(theta)) - start


def drift(case: str, loss: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V12: d/dt E₋[log π] from one step of size 1e-6."""
    return Estimate(steps_of(REGIMES[case], loss == "normalised", 1e-6, 1) / 1e-6)


def pushed_up(case: str, steps: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V12: change of E₋[log π] over steps of 0.01 with the factor."""
    return Estimate(steps_of(REGIMES[case], True, 0.01, steps))


def kldo_down(case: str, steps: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V12: minus its change over the same steps of KLDO."""
    return Estimate(-steps_of(REGIMES[case], False, 0.01, steps))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V10.gap": minimised_gap,
    "V10.sampled": sampled_gap,
    "V10.disjoint": sampled_gap,
    "V10.cr_above": sampled_gap,
    "V11.bhattacharyya": plug_in_excess,
    "V11.distance": plug_in_distance,
    "V11.after_pca": after_pca,
    "V11.silhouette": mean_silhouette,
    "V11.shrinkage": shrinkage_helps,
    "V11.rank_interval": rank_interval,
    "V12.coefficient": coefficient,
    "V12.drift": drift,
    "V12.pushed_up": pushed_up,
    "V12.kldo_down": kldo_down,
}
