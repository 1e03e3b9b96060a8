"""The penalty form of the win-rate game, Proposition 14, and any small game: certified by routes of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from tests.oracles.games import (
    GAP,
    assert_solves_ball,
    ball_exploitability,
    bradley_terry_mixture,
    complement,
    dirichlet,
    exploitability,
    penalty_gap,
    random_game,
)
from theory.policy.kl_ball import kl
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized


@pytest.mark.parametrize("weight", [1e-6, 1e-3, 0.03, 0.3, 10.0, 1e4])
@pytest.mark.parametrize("size", [2, 11, 150])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_regularized_gap_and_fixed_point(make, size: int, weight: float) -> None:
    P, ref = make(size, 3), dirichlet(size, 4)
    solution = nlhf_regularized(P, ref, weight)
    gap = penalty_gap(P, solution.policy, ref, weight)
    assert gap <= 1e-8 * max(1.0, weight)
    assert solution.gap == pytest.approx(gap, abs=1e-12 * max(1.0, weight))
    logits = np.log(ref) + (P - 0.5) @ solution.policy / weight
    fixed_point = np.exp(logits - logits.max())
    if weight >= 0.03:  # gap ≥ weight·KL(π‖fixed point) ≥ 2·weight·(total variation)²
        np.testing.assert_allclose(solution.policy, fixed_point / fixed_point.sum(), atol=1e-4)


def test_regularized_game_of_two_has_a_closed_form() -> None:
    """P(a≻b) = ½ + m: (Mπ)_a − (Mπ)_b = m whatever π is, so π(a)/π(b) = ref(a)/ref(b)·e^{m/weight}."""
    P = np.array([[0.5, 0.8], [0.2, 0.5]])
    odds = (0.3 / 0.7) * math.exp(0.3 / 0.25)
    assert nlhf_regularized(P, [0.3, 0.7], 0.25).policy[0] == pytest.approx(odds / (1 + odds), rel=1e-9)


@pytest.mark.parametrize("weight", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_regularized_solves_the_ball_of_its_own_radius(make, weight: float) -> None:
    """Proposition 14, weight → tau."""
    P, ref = make(25, 5), dirichlet(25, 6)
    regularized = nlhf_regularized(P, ref, weight, tolerance=1e-13).policy
    tau = kl(regularized, ref)
    assert ball_exploitability(P, regularized, np.log(ref), tau) <= 1e-8
    np.testing.assert_allclose(nlhf(P, ref, tau, tolerance=1e-12).policy, regularized, atol=1e-6)


@pytest.mark.parametrize("tau", [0.05, 0.4])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_active_ball_is_regularized_with_some_weight(make, tau: float) -> None:
    """Proposition 14, tau → weight: log π/π_ref is affine in Mπ, and its slope is 1/weight."""
    P, ref = make(25, 5), dirichlet(25, 6)
    policy = nlhf(P, ref, tau, tolerance=1e-13).policy
    slope = np.polyfit((P - 0.5) @ policy, np.log(policy / ref), 1)[0]
    np.testing.assert_allclose(nlhf_regularized(P, ref, 1 / slope, tolerance=1e-13).policy, policy, atol=1e-6)


def test_inactive_ball_is_weight_zero() -> None:
    """Proposition 14, the end of the family: as the weight falls the policies approach the lottery."""
    P, ref = random_game(25, 5), dirichlet(25, 6)
    lottery = maximal_lottery(P).policy
    np.testing.assert_allclose(nlhf(P, ref, kl(lottery, ref) + 0.1).policy, lottery, atol=1e-6)
    distances = [np.abs(nlhf_regularized(P, ref, w).policy - lottery).sum() for w in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)]
    assert all(np.diff(distances) < 0)
    assert distances[-1] < 1e-2


# --- any small game

win_rate = st.one_of(st.sampled_from([0.0, 0.5, 0.5, 0.75, 1.0]), st.floats(0.0, 1.0))


@st.composite
def games(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(win_rate, min_size=size, max_size=size), min_size=size, max_size=size))
    return complement(np.array(rows))


@given(games())
def test_any_lottery_is_certified(P: np.ndarray) -> None:
    solution = maximal_lottery(P)
    assert solution.policy.min() >= 0
    assert solution.policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert exploitability(P, solution.policy) <= GAP
    assert solution.gap == pytest.approx(exploitability(P, solution.policy), abs=1e-14)


@given(games(), st.floats(-14.0, 3.0), st.floats(0.0, 200.0))
def test_any_ball_is_certified(P: np.ndarray, log_tau: float, depth: float) -> None:
    """References from uniform to e^{-200}, tau from 1e-6 to 20."""
    size = P.shape[0]
    log_ref = -depth * np.arange(size) / size
    log_ref = log_ref - float(logsumexp(log_ref))
    tau = math.exp(log_tau)
    assert_solves_ball(P, log_ref, tau, nlhf(P, log_reference=log_ref, tau=tau).policy)


@given(games(), st.floats(-14.0, 5.0))
def test_any_penalty_is_certified(P: np.ndarray, log_weight: float) -> None:
    size, weight = P.shape[0], math.exp(log_weight)
    ref = dirichlet(size, size)
    assert penalty_gap(P, nlhf_regularized(P, ref, weight).policy, ref, weight) <= 1e-9 + 1e-13 * weight
