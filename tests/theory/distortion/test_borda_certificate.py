"""The exact distortion of Borda and Copeland: its certificate closes, can fail, and agrees with LPs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from theory.distortion import borda_certificate
from theory.distortion.borda_certificate import BordaDual, _Face, borda_dual, certify_borda_factor
from theory.distortion.factors import borda_factor, borda_lower_factor, linear_factor, optimal_gamma
from theory.solution import CertificateError

#: Rounding of F relative to the size of its terms (at most 4, as λ₁φ ≤ 1 and λ₂φ ≤ 1; K·a is at most K).
ROUNDING = 1e-14


def margin(bt_beta: float, x: np.ndarray) -> np.ndarray:
    """σ(βx) − ½, from the definition of σ: shares no formula with the package's tanh."""
    return 1 / (1 + np.exp(-bt_beta * x)) - 0.5


def dual_function(bt_beta: float, dual: BordaDual, a: np.ndarray, b: np.ndarray, y: np.ndarray) -> np.ndarray:
    """F(a, b, y) = b − K a + λ₁[φ(a−y) − φ(b−y)] + λ₂ φ(a−y), elementwise."""
    ahead, behind = np.tanh(bt_beta / 2 * (a - y)) / 2, np.tanh(bt_beta / 2 * (b - y)) / 2
    return b - dual.factor * a + dual.lambda1 * (ahead - behind) + dual.lambda2 * ahead


# --- the certificate


@pytest.mark.parametrize("bt_beta", [1e-6, 1e-4, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 700, 1e4])
def test_certificate_closes(bt_beta):
    certificate = certify_borda_factor(bt_beta)
    assert certificate.factor == borda_factor(bt_beta)
    assert certificate.supremum_bound == 2e-9
    # (K + t)/(1 − t) = K + (1 + K)t + O(t²), and rounded up by 64 units in the last place.
    assert 0 < certificate.certified_factor - certificate.factor < 2e-9 * (1 + certificate.factor) + 1e-13 * bt_beta
    assert certificate.boxes < 20_000


def test_certificate_closes_across_the_stated_range():
    for bt_beta in np.logspace(-6, 4, 201):
        certify_borda_factor(bt_beta)


def test_certificate_closes_at_a_tighter_tolerance():
    assert certify_borda_factor(5.0, 1e-12).certified_factor == pytest.approx(borda_factor(5.0), rel=1e-11)


@pytest.mark.parametrize("bt_beta", [0.1, 1.0, 10.0, 50.0])
def test_a_factor_lower_by_a_thousandth_is_refused(bt_beta):
    with pytest.raises(CertificateError, match="slope"):
        certify_borda_factor(bt_beta, factor=borda_factor(bt_beta) * 0.999)


@pytest.mark.parametrize("bt_beta", [0.1, 1.0, 10.0, 50.0])
@pytest.mark.parametrize("change", [0.95, 0.999, 1.001, 1.05])
def test_another_gamma_is_refused_at_the_witness(bt_beta, change):
    """C(β, γ) < K*(β) for γ ≠ γ*: the branch and bound has to find F > 0, near (0, 1−γ*, 1)."""
    gamma = optimal_gamma(bt_beta) * change
    with pytest.raises(CertificateError, match="exceeds its bound"):
        certify_borda_factor(bt_beta, gamma=gamma)
    dual = borda_dual(bt_beta, gamma)
    assert dual.factor == borda_lower_factor(bt_beta, gamma) < borda_factor(bt_beta)
    assert dual_function(bt_beta, dual, 0.0, 1 - optimal_gamma(bt_beta), 1.0) > 0


def test_a_factor_raised_by_a_thousandth_closes():
    assert certify_borda_factor(10.0, factor=borda_factor(10.0) * 1.001).boxes > 0


def test_too_few_boxes_is_an_error():
    with pytest.raises(CertificateError, match="boxes still open"):
        certify_borda_factor(10.0, max_boxes=5)


def test_rounding_below_the_range_is_an_error_not_a_certificate():
    with pytest.raises(CertificateError):
        certify_borda_factor(1e6)


@pytest.mark.parametrize(
    "arguments", [{"bt_beta": 0.0}, {"bt_beta": 1.0, "tolerance": 0.0}, {"bt_beta": 1.0, "tolerance": 0.5},
                  {"bt_beta": 1.0, "gamma": 1.5}, {"bt_beta": 1.0, "factor": -1.0}]
)  # fmt: skip
def test_bad_arguments_are_named(arguments):
    name = next(key for key in ("tolerance", "gamma", "factor", "bt_beta") if key in arguments)
    with pytest.raises(ValueError, match=name):
        certify_borda_factor(**arguments)


class Saddle:
    """A face of value −1 with slopes between −1 and 1: on the unit box the bound is 0 but for rounding."""

    beta = 1.0

    def gradients(self, lower, upper):
        return -np.ones_like(lower), np.ones_like(lower)

    def values(self, points):
        return -np.ones(len(points)), np.zeros(len(points))


def test_bounds_are_rounded_up(monkeypatch):
    """A bound that only rounding keeps from being a proof is none, in all three places."""
    assert borda_certificate._bound_face(Saddle(), 10) == 3  # the box, and its two halves
    monkeypatch.setattr(borda_certificate, "ROUNDING", 0.1)
    require = borda_certificate._require_decreasing_in_winner
    for factor, passes in ((1.3, True), (1.15, False)):  # λ₁ + λ₂ = 1 and β = 4: slope 1, less than 0.9/1.1 of it
        dual = BordaDual(0.5, factor - 0.01, 0.75, 0.25)
        if passes:
            require(4.0, dual, 0.01)
        else:
            with pytest.raises(CertificateError, match="not bounded for small a"):
                require(4.0, dual, 0.01)
    monkeypatch.setattr(borda_certificate, "ROUNDING", 1e-9)
    found = certify_borda_factor(2.0, 1e-4)
    assert found.certified_factor == pytest.approx((borda_factor(2.0) + 1e-4) / (1 - 1e-4) * (1 + 1e-9), rel=1e-13)


def test_gradient_enclosures_hold_on_random_boxes():
    """The bound rests on them: ∂H/∂b and ∂H/∂y (central differences) at 20 points of each of 2 000 boxes."""
    rng = np.random.default_rng(11)
    for bt_beta in (0.1, 2.0, 30.0):
        face = _Face(bt_beta, borda_dual(bt_beta), 1e-9)
        ends = np.sort(rng.uniform(size=(2, 2000, 2)) ** 2, axis=0)
        low, high = face.gradients(*ends)
        points = ends[0] + rng.uniform(size=(20, 2000, 2)) * (ends[1] - ends[0])
        step = 1e-5
        for axis in (0, 1):
            shift = step * np.eye(2)[axis]
            above, below = (face.values((points + s).reshape(-1, 2))[0].reshape(20, 2000) for s in (shift, -shift))
            slope = (above - below) / (2 * step)
            # Truncation step²·β²·K/6 and rounding 1e-15·K/step.
            slack = 3e-10 * (1 + bt_beta**2) * (1 + borda_factor(bt_beta))
            assert (low[:, axis] - slack <= slope).all()
            assert (slope <= high[:, axis] + slack).all()
            assert (high[:, axis] - low[:, axis]).max() > 1e3 * slack


# --- the inequality itself


@given(st.floats(-3, 3), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_inequality_holds_at_random_points(log_beta, a, b, y):
    bt_beta = 10.0**log_beta
    dual = borda_dual(bt_beta)
    assert dual_function(bt_beta, dual, a, b, y) <= ROUNDING * (4 + dual.factor)


@pytest.mark.parametrize("bt_beta", [0.1, 1.0, 5.0, 20.0, 50.0])
def test_inequality_holds_at_many_points_and_its_two_forms_agree(bt_beta):
    """10⁶ points, many of them on faces; F from the definition of σ, in both forms."""
    rng = np.random.default_rng(7)
    a, b, y = rng.uniform(size=(3, 500_000))
    a, b, y = (np.concatenate((x, np.clip(3 * x - 1, 0, 1))) for x in (a, b, y))
    dual = borda_dual(bt_beta)
    heavy = dual.lambda1 + dual.lambda2
    borda = (
        b
        - dual.factor * a
        + dual.lambda1 * (margin(bt_beta, a - y) - margin(bt_beta, b - y))
        + dual.lambda2 * margin(bt_beta, a - y)
    )
    copeland = b - dual.factor * a + heavy * margin(bt_beta, a - y) + dual.lambda1 * margin(bt_beta, y - b)
    # λ₁ ≈ 4/β multiplies margins that carry the rounding of a number near ½.
    slack = 4 * 2.3e-16 * (4 + dual.factor + heavy + dual.lambda1)
    np.testing.assert_allclose(borda, copeland, rtol=0, atol=slack)
    np.testing.assert_allclose(borda, dual_function(bt_beta, dual, a, b, y), rtol=0, atol=slack)
    assert borda.max() <= slack


@pytest.mark.parametrize("bt_beta", [0.1, 1.0, 5.0, 20.0, 50.0])
def test_inequality_is_tight_at_the_types_of_the_worst_instance(bt_beta):
    dual = borda_dual(bt_beta)
    tight = np.array([(0, 0, 0), (0, 1, 0), (0, 1 - dual.gamma, 1)]).T
    np.testing.assert_allclose(dual_function(bt_beta, dual, *tight), 0, atol=ROUNDING)
    # ∂F/∂a = 0 at the origin, which fixes K once the weights are fixed.
    assert (dual.lambda1 + dual.lambda2) * bt_beta / 4 == pytest.approx(dual.factor, rel=1e-14)


def test_dual_weights_are_nonnegative_and_gamma_is_used():
    for bt_beta in np.logspace(-6, 4, 101):
        dual = borda_dual(bt_beta)
        assert dual.lambda1 > 0
        assert dual.lambda2 > 0
    assert borda_dual(3.0, 0.4) == BordaDual(
        0.4,
        borda_lower_factor(3.0, 0.4),
        pytest.approx(1 / float(margin(3.0, 1.0)), rel=1e-13),
        pytest.approx((float(margin(3.0, 0.4)) / float(margin(3.0, 1.0)) - 0.4) / float(margin(3.0, 1.0)), rel=1e-12),
    )


# --- linear programs over populations: an independent supremum


def user_types(bt_beta: float) -> np.ndarray:
    """(V, 3) utilities of the optimum o, a middle m and the winner c: a grid that holds the worst types."""
    levels = np.unique([*np.linspace(0, 1, 9), 1e-4, 1e-3, 1e-2, 1 - optimal_gamma(bt_beta)])
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)


def largest_ratio(types: np.ndarray, nonnegative: list[np.ndarray]) -> float:
    """max u(o)/u(c) over measures on `types` with every ∫ row ≥ 0; u(c) = 1 is the Charnes–Cooper scaling."""
    optimum, _, winner = types.T
    result = linprog(
        -optimum,
        A_ub=-np.stack(nonnegative),
        b_ub=np.zeros(len(nonnegative)),
        A_eq=winner[None, :],
        b_eq=[1.0],
        method="highs",
    )
    assert result.status == 0
    return -result.fun


def borda_constraints(bt_beta: float, types: np.ndarray, mu: np.ndarray) -> list[np.ndarray]:
    """Per type, S(c) − S(o) and S(c) − S(m) with S(x) = Σ_y μ(y) P(x≻y)."""
    scores = margin(bt_beta, types[:, :, None] - types[:, None, :]) @ mu
    return [scores[:, 2] - scores[:, 0], scores[:, 2] - scores[:, 1]]


@pytest.mark.parametrize("bt_beta", [0.5, 2.0, 5.0, 10.0, 20.0])
def test_worst_population_of_borda_reaches_the_factor(bt_beta):
    """μ almost on m, as in instance I5. The grid's smallest utility costs the ratio about 1e-4."""
    types = user_types(bt_beta)
    ratio = largest_ratio(types, borda_constraints(bt_beta, types, np.array([1e-6, 1 - 2e-6, 1e-6])))
    assert borda_factor(bt_beta) * (1 - 1e-3) < ratio <= borda_factor(bt_beta) * (1 + 1e-7)


@pytest.mark.parametrize("bt_beta", [0.5, 2.0, 5.0, 10.0, 20.0])
def test_worst_population_of_copeland_reaches_the_factor(bt_beta):
    """The winner c covers o through m: P(c≻m) ≥ ½ and P(m≻o) ≥ ½."""
    types = user_types(bt_beta)
    optimum, middle, winner = types.T
    constraints = [margin(bt_beta, winner - middle), margin(bt_beta, middle - optimum)]
    ratio = largest_ratio(types, constraints)
    assert borda_factor(bt_beta) * (1 - 1e-3) < ratio <= borda_factor(bt_beta) * (1 + 1e-7)


@pytest.mark.parametrize("bt_beta", [1.0, 10.0])
def test_no_sampling_law_exceeds_the_factor(bt_beta):
    rng = np.random.default_rng(3)
    types = user_types(bt_beta)
    for mu in rng.dirichlet(np.full(3, 0.4), size=8):
        assert largest_ratio(types, borda_constraints(bt_beta, types, mu)) <= borda_factor(bt_beta) * (1 + 1e-7)


def test_two_alternatives_are_worth_only_the_linear_factor():
    """With A = 2 Borda is the majority rule: K* is a supremum over sampling laws and A, not each one's."""
    bt_beta = 10.0
    types = user_types(bt_beta)
    types = types[types[:, 1] == 0]
    ratio = largest_ratio(types, [margin(bt_beta, types[:, 2] - types[:, 0])])
    assert linear_factor(bt_beta) * (1 - 1e-3) < ratio <= linear_factor(bt_beta) * (1 + 1e-7)


@pytest.mark.parametrize("bt_beta", [1.0, 5.0, 20.0])
def test_the_worst_instance_converges_to_the_factor_at_first_order(bt_beta):
    """I5 at γ*: u(a)/u(c) = K*(1 − O(ε)), and c has the best Borda score. In this order: a, b, c."""
    gamma = optimal_gamma(bt_beta)
    gaps = []
    for epsilon in (1e-2, 1e-3):
        small = math.tanh(bt_beta * epsilon / 2) / 2
        B, G = math.tanh(bt_beta / 2) / 2, math.tanh(bt_beta * gamma / 2) / 2
        w_a = small / (B + small)
        weights = np.array([w_a, w_a * G / B, 1 - w_a * (1 + G / B)])
        U = np.array([[1 - gamma, 1, 0], [1, 0, epsilon], [0, 0, epsilon + epsilon**2]])
        mu = np.array([epsilon**2, 1 - 2 * epsilon**2, epsilon**2])
        scores = weights @ (margin(bt_beta, U[:, :, None] - U[:, None, :]) @ mu)
        assert scores.argmax() == 2
        utility = weights @ U
        gaps.append(1 - utility[0] / utility[2] / borda_factor(bt_beta))
    assert 0 < gaps[1] < gaps[0] < 0.05
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("max_boxes", [0, 2.5, math.nan])
def test_a_number_of_boxes_is_whole(max_boxes):
    with pytest.raises(ValueError, match="max_boxes"):
        certify_borda_factor(5.0, max_boxes=max_boxes)
