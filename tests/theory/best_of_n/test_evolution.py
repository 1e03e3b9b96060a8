"""Density evolution: the exact law against enumeration, quadrature, a second engine, and the numbers of the spec."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betainc, gammainccinv, ndtr, ndtri
from scipy.stats import beta

from theory.best_of_n.evolution import cut_fractions, distribution_power, evolve, survivor_counts
from theory.best_of_n.examples import EXAMPLES
from theory.best_of_n.gaussian import correlated_reward
from theory.best_of_n.order_statistics import equivalent_n, expected_best, expected_max
from theory.best_of_n.processes import SPAN, TAIL, RewardProcess, gamma_process, gaussian_process
from theory.best_of_n.rejection import (
    expected_reward,
    speculative_reward,
    survivor_distribution,
    survivor_law,
    winner_survival,
)
from theory.best_of_n.schedule import information_schedule

#: The spec's B4: n, v, keep, closure, Monte Carlo and its error.
SPEC = [
    (64, (0.25, 0.5, 0.75), 0.5, 2.3193, 2.2940, 0.002),
    (256, (0.2, 0.4, 0.6, 0.8), 0.5, 2.7995, 2.7878, 0.0015),
    (1024, (0.1, 0.3, 0.6), 0.25, 3.0474, 3.036, 0.003),
    (1024, (0.6,), 0.05, 3.2300, 3.230, 0.003),
    (8, (0.25, 0.5, 0.75), 0.5, 1.3575, 1.118, 0.002),
]


#: n, v, keep, mean best reward and standard error: a simulation that shares no code with the package, all rows
#: followed to their end and the best of all as control variate.
SIMULATED = [
    (64, (0.25, 0.5, 0.75), 0.5, 2.29502, 1.6e-4),
    (256, (0.2, 0.4, 0.6, 0.8), 0.5, 2.78869, 2.9e-4),
    (1024, (0.6,), 0.05, 3.22699, 3.1e-4),
    (8, (0.25, 0.5, 0.75), 0.5, 1.11905, 2.4e-4),
    (8, (0.5,), 0.2, 1.25552, 1.7e-4),
    (8, (0.25, 0.5, 0.75), 0.8, 1.38754, 0.8e-4),
    (8, (0.02, 0.1, 0.3, 0.6, 0.9), 0.7, 1.08172, 3.0e-4),
    (2, (0.3,), 0.5, 0.30850, 2.3e-4),
    (5, (0.3, 0.6), (0.8, 0.5), 1.07704, 1.2e-4),
    (10, (0.05, 0.1, 0.2, 0.4, 0.8, 0.9), 0.8, 1.35637, 2.2e-4),
    (16, (0.1, 0.2, 0.4, 0.6, 0.8), 0.7, 1.62268, 2.2e-4),
    (32, (0.1, 0.5, 0.9), 0.6, 1.98701, 1.9e-4),
]


@pytest.mark.parametrize(("n", "v", "keep", "exact", "error"), SIMULATED)
def test_an_independent_simulation(n, v, keep, exact, error):
    assert abs(speculative_reward(n, v, keep) - exact) < 3 * error + 2e-4


@pytest.mark.parametrize(
    ("counts", "v"),
    [
        ((5, 4, 3, 2, 1, 1), (0.1, 0.2, 0.5, 0.6, 0.8)),  # first order alone is off by 1.6·10⁻³
        ((8, 5, 3, 2, 1), (0.01, 0.02, 0.5, 0.6)),  # 2.1·10⁻³
        ((64, 16, 4, 1), (0.1, 0.5, 0.9)),
        ((48, 14, 4, 2, 2), (0.2, 0.4, 0.6, 0.8)),
        ((256, 64, 16, 4, 1), (0.2, 0.4, 0.6, 0.8)),
    ],
)
def test_interactions_of_few_survivors(counts, v):
    process = gaussian_process(v)
    exact = expected_reward(process, counts, product=True)
    assert abs(expected_reward(process, counts) - exact) < 4e-4
    fractions, weights = cut_fractions(counts)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    means = [(before - after) / (before + 1) for before, after in itertools.pairwise(counts)]
    np.testing.assert_allclose(weights @ fractions, means, atol=1e-3)


@pytest.mark.parametrize(("n", "v", "keep", "closure", "exact", "error"), SPEC)
def test_the_numbers_of_the_spec(n, v, keep, closure, exact, error):
    assert speculative_reward(n, v, keep, closure=True) == pytest.approx(closure, abs=1.5e-4)
    assert abs(speculative_reward(n, v, keep) - exact) < error


# the theorem, without the quadrature rule: enumeration on a small lattice


def walk(probabilities: tuple[float, ...], decisions: int) -> RewardProcess:
    """Integer increments 0, 1, … with these probabilities."""
    below = np.cumsum(probabilities)

    def distribution(x: np.ndarray) -> np.ndarray:
        return np.concatenate(([0.0], below))[np.clip(np.floor(x).astype(int) + 1, 0, below.size)]

    size = (decisions + 1) * len(probabilities)
    return RewardProcess((distribution,) * (decisions + 1), (None,) * decisions, np.arange(-size, size + 1.0))


def enumerated_reward(probabilities: tuple[float, ...], counts: tuple[int, ...]) -> float:
    """E[best] over all paths of all rows, ties broken at random: exact, exponential."""
    steps = range(len(probabilities))

    def go(scores: tuple[int, ...], j: int) -> float:
        total = 0.0
        for drawn in itertools.product(steps, repeat=len(scores)):
            weight = math.prod(probabilities[i] for i in drawn)
            now = tuple(s + d for s, d in zip(scores, drawn, strict=True))
            if j == len(counts) - 1:
                total += weight * max(now)
                continue
            ordered = tuple(sorted(now, reverse=True)[: counts[j + 1]])  # tied rows are alike: no need to choose
            total += weight * go(ordered, j + 1)
        return total

    return go((0,) * counts[0], 0)


def quantile_rule(counts: tuple[int, ...], size: int) -> np.ndarray:
    """Cut fractions (size^J, J) at the mid-quantiles of the Beta laws: equal weights, no smoothness needed."""
    levels = (np.arange(size) + 0.5) / size
    laws = [beta(a - b, b + 1).ppf(levels) if a > b else np.zeros(1) for a, b in itertools.pairwise(counts)]
    return np.array(list(itertools.product(*laws)))


@pytest.mark.parametrize(
    ("probabilities", "counts"),
    [((0.5, 0.5), (3, 1)), ((0.3, 0.5, 0.2), (3, 2)), ((0.5, 0.5), (4, 2, 1)), ((0.7, 0.3), (3, 2, 2))],
)
def test_the_law_is_exact_with_ties(probabilities, counts):
    process = walk(probabilities, len(counts) - 1)
    final = evolve(process, quantile_rule(counts, 400 if len(counts) == 2 else 120)).final
    best = np.diff(distribution_power(final, counts[-1]), prepend=0.0, axis=-1) @ process.nodes
    assert best.mean() == pytest.approx(enumerated_reward(probabilities, counts), abs=2e-3)


# one decision, by nested quadrature


@pytest.mark.parametrize(("n", "k", "v"), [(8, 1, 0.5), (8, 3, 0.2), (64, 10, 0.7), (5, 4, 0.9)])
def test_one_decision_by_quadrature(n, k, v):
    rest = math.sqrt(1 - v)

    def best_given(u):
        s = math.sqrt(v) * ndtri(u + (1 - u) * (np.arange(1000) + 0.5) / 1000)  # the survivors' score
        x = np.linspace(-6, 8, 701)
        F = ndtr((x[:, None] - s) / rest).mean(axis=1)
        return 8.0 - np.trapezoid(F**k, x)

    levels, weights = np.polynomial.legendre.leggauss(24)
    u = beta(n - k, k + 1).ppf((levels + 1) / 2)
    expected = sum(w / 2 * best_given(x) for w, x in zip(weights, u, strict=True))
    assert expected_reward(gaussian_process([v]), (n, k)) == pytest.approx(expected, abs=7e-4)


def test_survivors_of_one_decision_are_order_statistics():
    """The mean score of the k best of n, and their distribution: Σ over ranks of the order statistics' laws."""
    process = gaussian_process([0.49])
    for n, k in ((8, 3), (64, 32), (2, 1)):
        law = survivor_law(process, (n, k), 1)
        ranks = np.arange(n - k + 1, n + 1)
        assert law.sum() == pytest.approx(1.0, abs=1e-12)
        for score in (-0.3, 0.2, 0.9):
            u = ndtr(score / 0.7)
            exact = np.mean([betainc(rank, n + 1 - rank, u) for rank in ranks])
            assert survivor_distribution(process, (n, k), 1, score) == pytest.approx(exact, abs=2e-4)
    # an unused decision changes nothing
    two = gaussian_process([0.2, 0.49])
    np.testing.assert_allclose(
        survivor_distribution(two, (8, 8, 3), 2, 0.5), survivor_distribution(process, (8, 3), 1, 0.5), atol=1e-4
    )


def test_survivors_with_an_asymmetric_scorer_error():
    """The decision's own threshold integrated out, against a mixture over all thresholds."""
    exact = walk((0.2, 0.5, 0.3), 2)
    error = walk((0.6, 0.1, 0.1, 0.2), 2).increments[0]  # 0 … 3, most often 0
    process = RewardProcess(exact.increments, (error, error), np.arange(-14.0, 15.0))
    counts = (6, 3, 1)
    rule = quantile_rule(counts, 120)
    evolution = evolve(process, rule)
    stage = evolution.stages[1]
    mixture = (stage.kept / (1 - stage.fractions)[:, None])[stage.path].mean(axis=0)
    np.testing.assert_allclose(survivor_law(process, counts, 2), mixture, atol=4e-3)
    np.testing.assert_allclose(survivor_law(process, counts, 3), evolution.final.mean(axis=0), atol=4e-3)
    closed = evolve(process, np.array([[0.5, 2 / 3]])).final[0]
    assert np.abs(closed - evolution.final.mean(axis=0)).max() > 2e-2  # another law than the closure's


# the quadrature rule and the lattice


@pytest.mark.parametrize(
    ("n", "v", "keep"),
    [
        (8, (0.25, 0.5, 0.75), 0.5),
        (8, (0.1, 0.4), 0.6),
        (8, (0.5,), 0.2),
        (12, (0.2, 0.4, 0.6), 0.4),
        (64, (0.3, 0.3001, 0.6), 0.5),
        (64, (1e-4, 0.3), 0.5),
        (1024, (0.1, 0.3, 0.6), 0.25),
    ],
)
def test_accuracy_and_time(n, v, keep):
    counts = survivor_counts(n, keep, len(v))
    process = gaussian_process(v, spacing=0.004)
    fractions, weights = cut_fractions(counts, 7, product=True)
    final = np.concatenate([evolve(process, part).final for part in np.array_split(fractions, 12) if part.size])
    best = np.diff(distribution_power(final, counts[-1]), prepend=0.0, axis=-1) @ process.nodes
    assert abs(speculative_reward(n, v, keep) - weights @ best) < (2e-4 if n < 64 else 5e-5)

    def seconds() -> float:
        start = time.process_time()
        speculative_reward(n, v, keep)
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.05


def test_a_million_rows_and_more():
    for n in (10**6, 10**9):
        assert speculative_reward(n, (0.5,), 0.5) == pytest.approx(expected_max(n), abs=2e-6)
    assert 4.3 < speculative_reward(10**6, (0.1, 0.4), 0.01) < expected_max(10**6)


def test_limits_of_what_is_known():
    n, counts = 40, survivor_counts(40, 0.3, 2)
    assert speculative_reward(n, (), 0.5) == expected_max(n)
    assert speculative_reward(n, (0.2, 0.6), 1.0) == expected_max(n)
    # nothing known: rows are dropped at random; everything known: nothing is lost
    assert speculative_reward(n, (0.0, 0.0), 0.3) == pytest.approx(expected_max(counts[-1]), abs=1e-5)
    assert speculative_reward(n, (1.0, 1.0), 0.3) == pytest.approx(expected_max(n), abs=2e-4)
    for v, survival in (((0.0, 0.0), counts[-1] / n), ((1.0, 1.0), 1.0)):
        assert winner_survival(gaussian_process(v), counts) == pytest.approx(survival, abs=3e-3)
    assert winner_survival(gaussian_process([0.3]), (7, 7)) == pytest.approx(1.0, abs=1e-12)


def test_two_rows_one_kept():
    """n = 2, k = 1: the better half of a bivariate normal pair, E = √v·E max₂; survival ½ + asin(√v)/π."""
    for v in (0.1, 0.5, 0.9):
        assert speculative_reward(2, [v], 0.5) == pytest.approx(math.sqrt(v) * expected_max(2), abs=1e-3)
        exact = 0.5 + math.asin(math.sqrt(v)) / math.pi
        assert winner_survival(gaussian_process([v]), (2, 1)) == pytest.approx(exact, abs=1e-3)


@given(st.lists(st.integers(1, 40), min_size=3, max_size=3), st.integers(0, 2), st.sampled_from(["early", "late"]))
@settings(max_examples=40)
def test_more_rows_never_hurt(numbers, raised, name):
    """The monotonicity lemma, and the closure overstates."""
    counts = sorted(numbers, reverse=True)
    process = gaussian_process(EXAMPLES[name].explained_variance[:2])
    more = list(counts)
    more[raised] += 1 if raised == 0 else int(more[raised] < more[raised - 1])
    value = expected_reward(process, counts)
    assert expected_reward(process, more) >= value - 5e-4
    assert expected_reward(process, counts, closure=True) >= value - 5e-4
    assert value <= expected_max(counts[0]) + 5e-4


# other processes, and the engine for any covariance


def test_lattices_reach_as_far_as_the_scores():
    """A symmetric one to 8.5 standard deviations of the widest score; a skewed one from the least value to its tail."""
    for process, sd in ((gaussian_process([0.3, 0.6]), 1.0), (gaussian_process([0.3, 0.6], [0.2, 3.4]), 2.0)):
        np.testing.assert_array_equal(process.nodes, -process.nodes[::-1])
        assert 0.0 <= process.nodes[-1] - SPAN * sd < process.spacing
    for shape in (0.7, 9.0):
        nodes, step = (made := gamma_process([0.3, 0.6], shape)).nodes, made.spacing
        assert step < -math.sqrt(shape) - nodes[0] < 4 * step
        highest = (gammainccinv(shape, TAIL) - shape) / math.sqrt(shape)
        assert 0.0 < nodes[-1] - highest < 3 * step


@pytest.mark.parametrize("name", ["linear", "late", "noisy"])
@pytest.mark.parametrize("n", [8, 64])
def test_two_engines_agree(name, n):
    example = EXAMPLES[name]
    assert correlated_reward(n, example.covariance(), 0.5) == pytest.approx(example.expected_reward(n, 0.5), abs=1e-3)


def test_only_the_correlation_counts_at_one_decision():
    for rho in (0.3, 0.8):
        scaled = np.array([[4.0, 2 * 3 * rho], [2 * 3 * rho, 9.0]])
        assert correlated_reward(32, scaled, 0.25) == pytest.approx(
            3 * speculative_reward(32, [rho**2], 0.25), abs=1e-3
        )
        noisy = speculative_reward(32, [rho**2 / 2], 0.25, noise=[0.25 / rho**2 * rho**2 - rho**2 / 4])
        ratio = (rho**2 / 2) / (rho**2 / 2 + 0.25 - rho**2 / 4)
        assert noisy == pytest.approx(speculative_reward(32, [rho**2 / 2 * ratio], 0.25), abs=1e-3)
    against = correlated_reward(32, [[1.0, -0.6], [-0.6, 1.0]], 0.25)
    assert against < expected_max(8) - 0.5  # a scorer that prefers bad rows


def test_noise_of_any_size_is_a_correlation():
    """One decision: a score of variance v with error w ranks as an exact one of variance v²/(v + w)."""
    for v, w in ((0.5, 2.0), (0.5, 40.0), (1.0, 15.0)):
        exact = speculative_reward(64, [v * v / (v + w)], 0.1)
        assert speculative_reward(64, [v], 0.1, noise=[w]) == pytest.approx(exact, abs=5e-4)


def test_noise_only_hurts():
    rewards = [speculative_reward(64, (0.25, 0.5), 0.5, noise=(w, w)) for w in (0.0, 0.1, 1.0, 100.0)]
    assert rewards == sorted(rewards, reverse=True)
    assert rewards[-1] == pytest.approx(expected_max(16), abs=0.08)


def test_other_rewards():
    lognormal = speculative_reward(64, (0.5,), 1.0, transform=np.exp)
    assert lognormal == pytest.approx(expected_best(lambda p: np.exp(-ndtri(p)), 64), rel=2e-4)
    gamma = expected_reward(gamma_process([0.5], 2.0), (64, 64))
    exact = expected_best(lambda p: (gammainccinv(2.0, p) - 2.0) / math.sqrt(2.0), 64)
    assert gamma == pytest.approx(exact, abs=2e-4)
    assert expected_reward(gamma_process([0.25, 0.5], 1e4), (64, 32, 16)) == pytest.approx(
        speculative_reward(64, (0.25, 0.5), 0.5), abs=0.03
    )


def test_exponents_of_the_free_rejections():
    """log N*/log N approaches its limit; a cut below N^{1−v} rows loses the winner, one above keeps it."""
    v = 0.5
    # of N*: 1 for a cut a ≤ v, else (√(va) + √((1 − v)(1 − a)))²
    for cut, exponent in ((0.3, 1.0), (0.7, (math.sqrt(0.35) + math.sqrt(0.15)) ** 2)):
        errors, survival = [], []
        for n in (10**3, 10**6, 10**9):
            counts = (n, round(n ** (1 - cut)))
            star = equivalent_n(expected_reward(gaussian_process([v]), counts))
            errors.append(abs(math.log(star) / math.log(n) - exponent))
            survival.append(winner_survival(gaussian_process([v]), counts))
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.05
        assert survival == sorted(survival, reverse=cut > v)
    assert information_schedule(8, (0.5,)) == (8, 3)  # 2.83 rounds up
    assert information_schedule(256, (0.0, 0.25, 0.5, 1.0)) == (256, 256, 64, 16, 1)


def test_counts():
    assert survivor_counts(8, 0.5, 4) == (8, 4, 2, 1, 1)
    assert survivor_counts(5, 0.5, 1) == (5, 2)  # halves to even
    assert survivor_counts(100, (0.3, 1.0, 0.1), 3) == (100, 30, 30, 3)
    assert survivor_counts(30, 0.25, 2) == (30, 8, 2)


def test_the_mean_maximum_of_a_truncated_normal_by_quad():
    """The closure with one decision, by direct quadrature of the truncated law."""
    n, keep, v = 100, 0.2, 0.4
    cut = ndtri(1 - keep)

    def F(r):
        rest = math.sqrt(1 - v)
        density = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * ndtr((r - math.sqrt(v) * z) / rest)
        return quad(density, cut, 9)[0] / keep

    expected = 8.0 - quad(lambda r: F(r) ** 20, -4, 8, limit=100)[0]
    assert speculative_reward(n, [v], keep, closure=True) == pytest.approx(expected, abs=3e-5)
