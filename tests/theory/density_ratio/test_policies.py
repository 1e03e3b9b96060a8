"""Constrained optima against cvxpy, grids and descents from everywhere (R8, R5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

from tests.oracles.strategies import distributions
from theory.density_ratio.limits import TABLES
from theory.density_ratio.losses import measure_loss
from theory.density_ratio.policies import Folded, constrained_optimum, local_minima
from theory.density_ratio.ratios import measures, mixture, pooled_reference_weight
from theory.divergences import tables

laws = distributions(4)
fractions = st.floats(0.05, 0.95)


def least_by_descent(p: np.ndarray, q: np.ndarray, w: np.ndarray, starts: int, rng: np.random.Generator) -> float:
    """Least loss of L-BFGS from the reference, the vertices and random logits."""

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_policy = log_softmax(theta)
        ratio = np.exp(np.clip(log_policy - np.log(w), -300, 300))
        slope = (q * ratio - p) / (1 + ratio)
        value = measure_loss("logistic", log_policy - np.log(w), p, q)
        return value, slope - np.exp(log_policy) * slope.sum()

    corners = [np.log(w) + 8 * np.eye(w.size)[j] for j in range(w.size)]
    begin = [np.log(w), *corners, *(3 * rng.normal(size=w.size) for _ in range(starts))]
    options = {"gtol": 1e-12, "ftol": 0.0, "maxiter": 5000}
    return min(float(minimize(loss, x, jac=True, method="L-BFGS-B", options=options).fun) for x in begin)


def residual(found, p, q, w) -> float:
    """Largest residual of λwρ² + (q̃ + λw)ρ − p̃ = 0, relative to its largest term."""
    ratio, multiplier = np.exp(found.log_ratio), found.multiplier
    terms = np.array([multiplier * w * ratio**2, q * ratio, multiplier * w * ratio, -p])
    return float(np.max(np.abs(terms.sum(axis=0)) / np.maximum(np.abs(terms).max(axis=0), 1e-300)))


@given(laws, laws, laws, st.one_of(st.none(), fractions), st.one_of(st.none(), fractions))
def test_optima_are_certified_stationary_policies(p, q, w, alpha, fraction):
    found = constrained_optimum(p, q, w, alpha=alpha, chosen_fraction=fraction)
    above, below = measures(p, q, alpha, fraction)
    assert found.policy.sum() == pytest.approx(1.0, rel=1e-13)
    assert found.gap < 1e-12
    assert residual(found, above, below, w) < 1e-7
    total = float(w @ (above / below))
    assert (found.multiplier >= 0) == (total >= 1 - 1e-12) or abs(total - 1) < 1e-9
    assert found.value == pytest.approx(measure_loss("logistic", np.log(found.policy / w), above, below), abs=1e-12)
    assert found.value <= measure_loss("logistic", np.log(p / w), above, below) + 1e-12
    assert found.value <= measure_loss("logistic", np.zeros(4), above, below) + 1e-12


def test_one_hundred_and_fifty_tables_against_brute_force(rng):
    worst, negative, upper = 0.0, 0, 0
    for k in range(150):
        size = 2 + k % 4
        p, q, w = (rng.dirichlet(np.full(size, 0.6)) + 1e-3 for _ in range(3))
        p, q, w = p / p.sum(), q / q.sum(), w / w.sum()
        alpha = (None, 0.3)[k % 2]
        found = constrained_optimum(p, q, w, alpha=alpha)
        worst = max(worst, abs(found.value - least_by_descent(*measures(p, q, alpha), w, 1, rng)))
        negative += found.multiplier < 0
        upper += found.upper is not None
    assert worst < 1e-12
    assert negative > 40
    assert upper > 5


def test_two_outcomes_against_a_grid():
    grid = np.linspace(1e-6, 1 - 1e-6, 200_001)
    for p, q, w in ((0.96, 0.3, 0.05), (0.02, 0.9, 0.98), (0.7, 0.1, 0.6), (0.5, 0.5, 0.001)):
        losses = sum(
            a * np.log1p(v / x) + b * np.log1p(x / v)
            for a, b, v, x in ((p, q, w, grid), (1 - p, 1 - q, 1 - w, 1 - grid))
        )
        found = constrained_optimum([p, 1 - p], [q, 1 - q], [w, 1 - w])
        assert found.value == pytest.approx(losses.min(), abs=1e-6)
        assert found.value <= losses.min() + 1e-15
        minima = grid[1:-1][(losses[1:-1] < losses[:-2]) & (losses[1:-1] < losses[2:])]
        places = sorted(float(point.policy[0]) for point in local_minima([p, 1 - p], [q, 1 - q], [w, 1 - w]))
        np.testing.assert_allclose(places, minima, atol=1e-5)


@pytest.mark.parametrize("member", ["lsif", "kliep"])
def test_convex_members_against_cvxpy(member, rng):
    import cvxpy as cp

    for k in range(6):
        p, q, w = rng.dirichlet(np.full(5, 0.7), size=3)
        w = (w + 0.01) / (w + 0.01).sum()
        if k % 3 == 1:
            p = np.array([0.0, 0.3, 0.3, 0.4, 0.0])
        if k % 3 == 2 and member == "lsif":
            q = np.array([0.0, 0.3, 0.3, 0.4, 0.0])
        ratio = cp.Variable(5, nonneg=True)
        if member == "lsif":
            loss = 0.5 * cp.sum(cp.multiply(q, cp.square(ratio))) - p @ ratio
        else:
            loss = q @ ratio - p[p > 0] @ cp.log(ratio[np.flatnonzero(p > 0)])
        program = cp.Problem(cp.Minimize(loss), [w @ ratio == 1])
        program.solve(solver="CLARABEL")
        found = constrained_optimum(p, q, w, member=member)
        assert found.value == pytest.approx(program.value, abs=1e-6)
        assert found.value <= program.value + 1e-7


@given(laws, laws, fractions, st.sampled_from(["logistic", "lsif", "kliep"]))
def test_the_reference_that_makes_it_consistent(p, q, alpha, member):
    for share, right in ((None, q), (alpha, mixture(p, q, alpha))):
        found = constrained_optimum(p, q, right, alpha=share, member=member)
        np.testing.assert_allclose(found.policy, p, atol=1e-12)
        assert found.multiplier == pytest.approx(0.0, abs=1e-12)


@given(laws, laws, fractions, fractions)
def test_mixture_references_lie_on_one_side(p, q, alpha, share):
    """From share·p⁺ + (1−share)·p⁻: λ ≥ 0 iff the share is at least α (DDRO: always)."""
    assume(np.abs(p - q).max() > 1e-3)
    assume(abs(share - alpha) > 1e-3)
    reference, d = mixture(p, q, share), mixture(p, q, alpha)
    total = 1 + (share - alpha) / (1 - alpha) * tables.chi_square(p, d)
    assert float(reference @ (p / d)) == pytest.approx(total, rel=1e-12)
    assert constrained_optimum(p, q, reference).multiplier >= 0
    assert (constrained_optimum(p, q, reference, alpha=alpha).multiplier > 0) == (share > alpha)


def test_uniqueness_of_the_reference_needs_full_support():
    """Disjoint laws: DDRO reaches p⁺ from every reference that has its proportions."""
    p, q = TABLES["apart"]
    for share in (0.1, 0.6):
        found = constrained_optimum(p, q, share * p + (1 - share) * np.array([0.0, 0.0, 0.5, 0.5]))
        np.testing.assert_allclose(found.policy, p, atol=1e-12)


@given(laws, laws, laws)
def test_shape_of_the_two_roots(p, q, w):
    """What the isolation of roots rests on: lower roots convex in u; the upper one convex up to u*, concave after."""
    folded = Folded(p, q, w)
    for j in range(p.size):
        turn, fold = folded.turning(j), float(folded.folds[j])
        assert 0.0 < turn < fold
        near = 0.2 * min(turn, fold - turn)
        pieces = [(1e-3 * turn, 0.999 * turn, 1.0), (turn - near, turn, 1.0)]
        pieces += [(turn, turn + near, -1.0), (turn + 1e-3 * (fold - turn), 0.999 * fold, -1.0)]
        for low, high, sign in pieces:
            u = np.linspace(low, high, 9)
            upper = np.array([folded.upper(x)[j] for x in u])
            lower = np.array([folded.lower(x)[j] for x in u])
            assert (np.diff(upper) < 0).all()
            assert (np.diff(lower) > 0).all()
            assert (sign * np.diff(upper, 2) > -1e-14 * upper[0]).all()
            assert (np.diff(lower, 2) > -1e-14 * lower[-1]).all()
            step = 1e-6 * u[4]
            for root in (folded.lower, folded.upper):
                slope = abs(root(u[4] + step)[j] - root(u[4] - step)[j]) / (2 * step)
                assert folded.slope(u[4], root(u[4]))[j] == pytest.approx(slope, rel=1e-4)


# Pooled batches (R5).


@given(laws, laws, fractions, st.floats(0.5, 0.95))
def test_pooled_rdro_is_consistent_from_its_own_mixture(p, q, alpha, fraction):
    weight = pooled_reference_weight(alpha, fraction)
    found = constrained_optimum(p, q, mixture(p, q, min(weight, 1 - 1e-12)), alpha=alpha, chosen_fraction=fraction)
    np.testing.assert_allclose(found.policy, p, atol=1e-8)
    assert found.multiplier == pytest.approx((1 - alpha) * (2 * fraction - 1) / 2, abs=1e-8)


def test_below_one_half_it_is_only_stationary():
    p, q = TABLES["six"]
    alpha, fraction = 0.7, 0.2
    reference = mixture(p, q, pooled_reference_weight(alpha, fraction))
    above, below = measures(p, q, alpha, fraction)
    multiplier = (1 - alpha) * (2 * fraction - 1) / 2
    ratio = p / reference
    np.testing.assert_allclose(multiplier * reference * ratio * (1 + ratio) + below * ratio, above, rtol=1e-12)
    found = constrained_optimum(p, q, reference, alpha=alpha, chosen_fraction=fraction)
    assert found.value < measure_loss("logistic", np.log(ratio), above, below) - 5e-4


def test_pooling_biases_unless_half_are_chosen():
    p, q = TABLES["six"]
    for alpha in (0.2, 0.3, 0.5, 0.8):
        reference = mixture(p, q, alpha)
        for fraction in (0.2, 0.5, 0.7):
            found = constrained_optimum(p, q, reference, alpha=alpha, chosen_fraction=fraction)
            off = 0.5 * np.abs(found.policy - p).sum()
            assert off < 1e-12 if fraction == 0.5 else off > 0.01


# Edges.


def test_two_local_minima():
    p, q = TABLES["trap"]
    best, trap = local_minima(p, q, [0.05, 0.95])
    assert best.value == constrained_optimum(p, q, [0.05, 0.95]).value
    np.testing.assert_allclose([best.policy[0], trap.policy[0]], [0.9123, 0.2761], atol=1e-4)
    assert trap.value - best.value == pytest.approx(0.0533, abs=1e-4)


@pytest.mark.parametrize(
    ("p", "q", "w"),
    [
        ([0.0168, 0.214, 0.1728, 0.5964], [0.2621, 0.2627, 0.4158, 0.0594], [0.3668, 0.2905, 0.3356, 0.0071]),
        ([0.1202, 0.8787, 0.0011], [0.2569, 0.7419, 0.0012], [0.9976, 0.0013, 0.0011]),
    ],
)
def test_an_optimum_between_two_roots_of_one_branch(p, q, w, rng):
    """The mass passes 1 twice between the ends of a piece, so that both ends are on one side."""
    p, q, w = (np.array(law) for law in (p, q, w))
    least = least_by_descent(p, q, w, 20, rng)
    assert constrained_optimum(p, q, w).value == pytest.approx(least, abs=1e-12)
    assert len(local_minima(p, q, w)) == 2


def test_a_root_at_the_very_beginning_of_its_branch():
    """All that was chosen is one outcome: alone it has mass 1, on its upper root as 1/w exceeds √p/(√(p+q) − √p)."""
    found = constrained_optimum([1.0, 0.0], [0.5, 0.5], [0.2, 0.8])
    np.testing.assert_allclose(found.policy, [1.0, 0.0], atol=1e-12)
    assert found.upper == 0
    assert found.multiplier == pytest.approx(-(0.5 - 0.2) / 1.2)
    assert found.value == pytest.approx(math.log(1.2) + 0.5 * math.log(6.0))


def test_outcomes_nobody_saw_take_the_rest():
    found = constrained_optimum([0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(found.policy, [0.1, 0.2, 0.3, 0.4], atol=1e-15)
    assert found.value == pytest.approx(2 * math.log(2), rel=1e-15)
    full = constrained_optimum([1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.5, 0.2, 0.3])
    assert full.policy[2] == 0.0


@pytest.mark.parametrize(
    ("member", "p", "q", "w", "policy", "multiplier"),
    [  # π₀ = (w₀²/q₀)·(p₀/w₀ − λ) at the λ where the others begin; π₀ = p₀/(q₀/w₀ + λ)
        ("lsif", [0.7, 0.1, 0.2], [1.0, 0.0, 0.0], [0.4, 0.2, 0.4], [0.2, 0.8 / 3, 1.6 / 3], 0.5),
        ("kliep", [1.0, 0.0, 0.0], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6], [0.4, 0.15, 0.45], -0.5),
    ],
)
def test_outcomes_of_one_class_share_the_rest_as_the_reference_does(member, p, q, w, policy, multiplier):
    found = constrained_optimum(p, q, w, member=member)
    np.testing.assert_allclose(found.policy, policy, rtol=1e-12)
    assert found.multiplier == pytest.approx(multiplier)
    assert found.gap < 1e-12


def test_references_below_the_underflow_of_exp():
    """The first outcome costs nothing once chosen, and takes what the ratio ⅖ of the last one leaves."""
    log_w = np.array([-3000.0, -5000.0, 0.0])
    found = constrained_optimum([0.6, 0.2, 0.2], [0.0, 0.5, 0.5], log_reference=log_w)
    np.testing.assert_allclose(found.policy, [0.6, 0.0, 0.4], atol=1e-12)
    np.testing.assert_allclose(found.log_ratio, [3000 + math.log(0.6), math.log(0.4), math.log(0.4)], rtol=1e-9)
