"""The law of Best-of-N and order statistics: enumeration, closed forms, quadrature, properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import digamma, ndtr, ndtri

from theory.best_of_n.law import (
    best_of_n_kl,
    best_of_n_law,
    best_of_n_reward,
    kl_bound,
    kl_with_atoms,
    win_rate,
    win_rate_with_atoms,
)
from theory.best_of_n.order_statistics import (
    beta_nodes,
    equivalent_n,
    expected_best,
    expected_inverse_range,
    expected_max,
)

#: E max of N standard normal rewards, from the spec.
NORMAL = {2: 0.5642, 4: 1.0294, 16: 1.7660, 64: 2.3437, 1024: 3.2482}


def enumerated(policy: np.ndarray, rewards: np.ndarray, n: int) -> np.ndarray:
    """The law of the best of n draws, all n-tuples, ties shared by the tied draws."""
    law = np.zeros(policy.size)
    for drawn in itertools.product(range(policy.size), repeat=n):
        top = [y for y in drawn if rewards[y] == max(rewards[list(drawn)])]
        for y in top:
            law[y] += np.prod(policy[list(drawn)]) / len(top)
    return law


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(1, 5))
    weights = np.array(draw(st.lists(st.floats(0.0, 1.0), min_size=size, max_size=size)))
    weights[draw(st.integers(0, size - 1))] += 0.5
    rewards = np.array(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)), dtype=float)
    return weights / weights.sum(), rewards


@given(tables(), st.integers(1, 4), st.floats(0.0, 1.0))
def test_law_win_rate_kl_and_reward_by_enumeration(table, n, ties):
    policy, rewards = table
    law = enumerated(policy, rewards, n)
    np.testing.assert_allclose(best_of_n_law(policy, rewards, n), law, rtol=1e-12, atol=1e-15)
    duel = (rewards[:, None] > rewards) + ties * (rewards[:, None] == rewards)
    assert win_rate(n, policy, rewards, ties) == pytest.approx(law @ duel @ policy, abs=1e-12)
    held = law > 0
    assert best_of_n_kl(policy, rewards, n) == pytest.approx(law[held] @ np.log(law[held] / policy[held]), abs=1e-12)
    assert best_of_n_reward(policy, rewards, n) == pytest.approx(law @ rewards, abs=1e-12)


@given(tables(), st.integers(2, 10**6))
def test_bounds_are_strict_for_every_table(table, n):
    policy, rewards = table
    assert best_of_n_kl(policy, rewards, n) < kl_bound(n)
    assert win_rate(n, policy, rewards) < win_rate(n)
    assert best_of_n_law(policy, rewards, n).sum() == pytest.approx(1.0, abs=1e-12)


def test_one_draw_is_the_policy():
    policy, rewards = [0.2, 0.3, 0.5], [1.0, 1.0, 0.0]
    np.testing.assert_allclose(best_of_n_law(policy, rewards, 1), policy, rtol=1e-15)
    assert (best_of_n_kl(policy, rewards, 1), kl_bound(1)) == (0.0, 0.0)
    assert win_rate(1, policy, rewards) == pytest.approx(0.5, abs=1e-15)


def test_large_n_keeps_its_digits():
    # the top response has probability 10⁻⁹: at N = 10⁶ it wins with probability 1 − (1 − 10⁻⁹)^N
    policy = np.array([0.5, 0.5 - 1e-9, 1e-9])
    top = best_of_n_law(policy, [0.0, 1.0, 2.0], 10**6)[2]
    assert top == pytest.approx(-math.expm1(1e6 * math.log1p(-1e-9)), rel=1e-13)
    rare = best_of_n_law([1e-12, 1.0 - 1e-12], [0.0, 1.0], 3)[0]
    assert rare == pytest.approx(1e-36, rel=1e-12)


def test_atoms_of_a_table_give_the_table():
    masses = np.array([0.3, 0.25, 0.05, 0.4])
    edges = np.concatenate(([0.0], np.cumsum(masses)))
    edges[-1] = 1.0
    atoms = np.column_stack([edges[:-1], edges[1:]])
    for n in (1, 2, 7, 300):
        assert kl_with_atoms(n, atoms) == pytest.approx(best_of_n_kl(masses, np.arange(4.0), n), abs=1e-12)
        assert win_rate_with_atoms(n, atoms, 0.3) == pytest.approx(win_rate(n, masses, np.arange(4.0), 0.3), abs=1e-12)


@given(st.integers(2, 200), st.floats(0.0, 0.97), st.floats(0.02, 1.0))
def test_one_atom_by_quadrature(n, low, width):
    high = min(1.0, low + width)
    q, p = high**n - low**n, high - low

    def integral(f, a, b):
        return quad(f, a, b, points=[1 - 1 / n] if a < 1 - 1 / n < b else None, limit=200)[0]

    def density(u):
        return n * u ** (n - 1) * (math.log(n) + (n - 1) * math.log(u)) if u > 0 else 0.0

    rest = integral(density, 0.0, low) + integral(density, high, 1.0)
    expected = rest + (q * math.log(q / p) if q > 0 else 0.0)
    assert kl_with_atoms(n, [(low, high)]) == pytest.approx(expected, abs=1e-7)
    assert kl_with_atoms(n, [(low, high)]) <= kl_bound(n)
    assert win_rate_with_atoms(n, [(low, high)]) <= win_rate(n)


def test_without_atoms_the_bounds_are_attained():
    assert [win_rate(n) for n in (1, 3, 9)] == [0.5, 0.75, 0.9]
    assert kl_with_atoms(4, []) == kl_bound(4) == pytest.approx(0.636294, abs=1e-6)
    fine = np.full(20_000, 1 / 20_000)
    assert best_of_n_kl(fine, np.arange(20_000.0), 4) == pytest.approx(kl_bound(4), abs=1e-6)
    assert best_of_n_kl(np.full(5, 0.2), np.arange(5.0), 4) == pytest.approx(0.606690, abs=1e-6)


def test_expected_max_has_its_known_values():
    for n, value in NORMAL.items():
        assert expected_max(n) == pytest.approx(value, abs=6e-5)
    assert expected_max(1) == pytest.approx(0.0, abs=1e-15)
    assert expected_max(2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-13)
    assert expected_max(3) == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-13)


@pytest.mark.parametrize("n", [1.5, 7.0, 1e3, 1e6])
def test_expected_max_by_adaptive_quadrature(n):
    parts = [quad(lambda x: -math.expm1(n * math.log(ndtr(x))), a, a + 1)[0] for a in range(12)]
    below = quad(lambda x: ndtr(x) ** n, -9, 0)[0]
    assert expected_max(n) == pytest.approx(sum(parts) - below, rel=1e-10)


def test_expected_best_of_other_laws():
    for n in (1, 2, 100):  # exponential: harmonic numbers; Pareto: a ratio of Gamma functions
        assert expected_best(lambda p: -np.log(p), n) == pytest.approx(sum(1 / k for k in range(1, n + 1)), rel=1e-12)
        pareto = math.exp(math.lgamma(n + 1) + math.lgamma(0.6) - math.lgamma(n + 0.6))
        assert expected_best(lambda p: p**-0.4, n) == pytest.approx(pareto, rel=1e-9)
    for n in (10**6, 10**12):
        assert expected_best(lambda p: -ndtri(p), n) == pytest.approx(expected_max(n), rel=1e-12)


@given(st.floats(1.0, 1e9))
def test_equivalent_n_inverts_expected_max(n):
    assert equivalent_n(expected_max(n)) == pytest.approx(n, rel=1e-9)


def test_a_rounding_error_below_the_mean_is_one_response_whatever_the_unit():
    in_thousands = lambda n: 1000.0 + expected_max(n)
    assert equivalent_n(1000.0 - 5e-7, in_thousands) == 1.0
    with pytest.raises(ValueError, match="outside"):
        equivalent_n(1000.0 - 5e-6, in_thousands)


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [(1, 2, 6e-3), (4, 5, 2e-4), (63, 2, 2e-4), (300, 21, 1e-6), (995_000, 5001, 1e-9), (1, 10**6, 3e-3)],
)
def test_beta_nodes_integrate_what_they_are_for(a, b, error):
    """Moments, and E[−log(1 − U)] = ψ(a + b) − ψ(b), which grows at U = 1 like the tail means do."""
    nodes, weights = beta_nodes(a, b, 4)
    assert ((nodes > 0) & (nodes < 1)).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert weights @ nodes == pytest.approx(a / (a + b), rel=error)
    assert weights @ nodes**2 == pytest.approx(a * (a + 1) / (a + b) / (a + b + 1), rel=error)
    assert weights @ -np.log1p(-nodes) == pytest.approx(digamma(a + b) - digamma(b), rel=error)


def test_inverse_range(rng):
    for n in (3, 4, 16, 120):
        x = rng.standard_normal((100_000, n))
        sample = 1 / np.ptp(x, axis=1)
        if n > 3:  # at n = 3 the variance is infinite
            assert abs(sample.mean() - expected_inverse_range(n)) < 4 * sample.std() / math.sqrt(sample.size)
    # n = 3: W/σ of three normals, ∫ over the density 3·√(2/π)… checked by quadrature of the range's own density
    density = lambda w: quad(
        lambda x: 6 * math.exp(-(x**2) / 2 - (x + w) ** 2 / 2) / (2 * math.pi) * (ndtr(x + w) - ndtr(x)), -10, 10
    )[0]
    assert expected_inverse_range(3) == pytest.approx(quad(lambda w: density(w) / w, 1e-12, 14)[0], rel=1e-6)
