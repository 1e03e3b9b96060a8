"""The audit: its interval contains the truth, and both ends are checked by routes that it does not share.

Upper end: the dual inequality is evaluated again at random types and on a grid, and a fine-grid linear
program bounds the supremum from below. Lower end: the witness is checked from its definition.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import expit

from tests.oracles import strategies
from tests.oracles.audits import CLOSED, population, relative_gap, true_distortion
from theory.bradley_terry import Population
from theory.distortion.audit.averages import lemma_cuts, moment_bound
from theory.distortion.audit.interval import audit
from theory.distortion.audit.observed import from_win_rates
from theory.distortion.audit.progress import TYPES_MAX, Audit
from theory.distortion.audit.questions import next_questions
from theory.distortion.factors import borda_factor, borda_lower_factor, linear_factor
from theory.distortion.instances import borda_instance, condorcet_instance
from theory.policy.kl_ball import maximize_in_kl_ball


def maximal_lottery(P: np.ndarray) -> np.ndarray:
    """max v with πᵀ(P − ½) ≥ v for every column."""
    A = P.shape[0]
    result = linprog(
        np.r_[np.zeros(A), -1.0], A_ub=np.c_[-(P - 0.5).T, np.ones(A)], b_ub=np.zeros(A),
        A_eq=np.r_[np.ones(A), 0.0][None, :], b_eq=[1.0], bounds=[(0, None)] * A + [(None, None)],
    )  # fmt: skip
    pi = np.maximum(result.x[:A], 0.0)
    return pi / pi.sum()


def grid_supremum(P: np.ndarray, policy: np.ndarray, bt_beta: float, levels: int) -> float:
    """The audit's program on a plain grid of types, by linprog: a lower estimate of the supremum (A = 2)."""
    steps = np.linspace(0.0, 1.0, levels)
    U = np.array(list(product(steps, steps)))
    gap = expit(bt_beta * (U[:, 0] - U[:, 1])) - P[0, 1]
    best = 0.0
    for x in range(2):
        result = linprog(-U[:, x], A_eq=np.array([gap, U @ policy]), b_eq=[0.0, 1.0])
        best = max(best, -result.fun)
    return best


def check_witness(result: Audit, P: np.ndarray, policy: np.ndarray, bt_beta: float, reference=None, tau=math.inf):
    assert result.witness is not None
    U, w = result.witness.utilities, result.witness.weights
    rates = np.einsum("v,vxy->xy", w, expit(bt_beta * (U[:, :, None] - U[:, None, :])))
    assert np.abs(rates - P).max() < 1e-13  # polished; the solver alone leaves about 1e-10
    assert true_distortion(result.witness, policy, reference, tau) == pytest.approx(result.lower, rel=1e-8)


# -- the interval ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bt_beta", [1.0, 5.0, 10.0])
@pytest.mark.parametrize(("types", "alternatives"), [(1, 2), (20, 2), (1, 3), (3, 3), (40, 3)])
def test_interval_contains_the_truth_and_closes(bt_beta, types, alternatives):
    rng = np.random.default_rng([int(bt_beta), types, alternatives])
    users = population(rng, types, alternatives)
    P = users.win_rates(bt_beta)
    for policy in (rng.dirichlet(np.ones(alternatives)), np.eye(alternatives)[int(P.sum(axis=1).argmax())]):
        result = audit(P, policy, bt_beta)
        truth = true_distortion(users, policy)
        assert result.lower >= truth * (1 - CLOSED)
        assert result.upper >= truth
        assert result.lower <= result.upper
        assert result.upper == min(result.bounds.values())
        check_witness(result, P, policy, bt_beta)
        assert relative_gap(result) < CLOSED


@settings(max_examples=15)
@given(strategies.populations(max_alternatives=3), st.floats(0.3, 12.0), st.data())
def test_lower_is_at_most_upper_and_both_frame_the_truth(users, bt_beta, data):
    A = users.utilities.shape[1]
    policy = data.draw(strategies.distributions(A))
    result = audit(users.win_rates(bt_beta), policy, bt_beta)
    assert 1.0 <= result.lower <= result.upper
    assert result.upper >= true_distortion(users, policy) * (1 - 1e-12)


def test_four_and_five_alternatives_close():
    rng = np.random.default_rng(4)
    for A in (4, 5):
        users = population(rng, 12, A)
        P, policy = users.win_rates(5.0), rng.dirichlet(np.ones(A))
        result = audit(P, policy, 5.0)
        assert result.method == "types"
        assert result.bounds["types"] <= result.bounds["pairs"] <= result.bounds["lemma"] * (1 + 1e-9)
        assert relative_gap(result) < CLOSED
        assert result.lower <= true_distortion(result.witness, policy) * (1 + 1e-12)


def test_more_alternatives_than_are_proved_whole_have_a_witness_and_a_subset_proof():
    rng = np.random.default_rng(10)
    users = population(rng, 20, TYPES_MAX + 1)
    P = users.win_rates(5.0)
    winner = np.eye(TYPES_MAX + 1)[int(P.sum(axis=1).argmax())]
    result = audit(P, winner, 5.0)
    check_witness(result, P, winner, 5.0)
    assert result.bounds["subset"] <= result.bounds["pairs"]
    assert true_distortion(users, winner) <= result.upper


@pytest.mark.parametrize("bt_beta", [1.0, 10.0])
def test_two_alternatives_agree_with_a_fine_grid(bt_beta):
    rng = np.random.default_rng(2)
    P = population(rng, 7, 2).win_rates(bt_beta)
    policy = np.array([0.3, 0.7])
    result = audit(P, policy, bt_beta)
    brute = grid_supremum(P, policy, bt_beta, levels=161)
    # The grid is a restriction (below the supremum); its error is first order in the step 1/160.
    assert brute <= result.upper * (1 + 1e-9)
    assert brute == pytest.approx(result.lower, rel=1e-2)


def test_coin_flips_have_a_closed_form():
    # All win rates ½, uniform policy: the supremum is 1/(1/A + (1 − 1/A)/L(β)) (proof of Theorem 3; spec D2).
    for A, bt_beta in product((2, 3, 6), (1.0, 10.0)):
        result = audit(np.full((A, A), 0.5), np.full(A, 1 / A), bt_beta)
        exact = 1.0 / (1.0 / A + (1.0 - 1.0 / A) / linear_factor(bt_beta))
        assert result.lower == pytest.approx(exact, rel=1e-5)
        assert result.upper == pytest.approx(exact, rel=1e-5)
        assert result.lower <= exact * (1 + 1e-9) <= result.upper * (1 + 2e-9)


@pytest.mark.parametrize("bt_beta", [2.0, 5.0, 10.0])
def test_borda_winner_on_its_worst_instance(bt_beta):
    instance = borda_instance(bt_beta, 1e-3)
    result = audit(instance.win_rates, [0.0, 0.0, 1.0], bt_beta)
    # The data are only ε-close to the limit; Borda's factor holds for all of them with this μ.
    assert borda_lower_factor(bt_beta) * 0.99 <= result.lower <= result.upper <= borda_factor(bt_beta) * 1.001
    assert relative_gap(result) < CLOSED


@pytest.mark.parametrize("alternatives", [2, 3, 5, 15])
def test_maximal_lottery_is_never_above_the_linear_factor(alternatives):
    rng = np.random.default_rng(alternatives)
    for bt_beta in (1.0, 8.0):
        P = population(rng, 6, alternatives).win_rates(bt_beta)
        observed = from_win_rates(P, bt_beta)
        lottery = maximal_lottery(P)
        if alternatives <= 5:
            assert audit(P, lottery, bt_beta).upper <= linear_factor(bt_beta) + 1e-9
        else:  # the averages alone, as in Corollary 4
            cuts = lemma_cuts(observed)
            ratios = [moment_bound(lottery, q, cuts, 1e-3)[0].bound for q in np.eye(alternatives)]
            assert max(ratios) <= linear_factor(bt_beta) * (1 + 1e-6)
    half = np.full((alternatives, alternatives), 0.5)
    assert audit(half, maximal_lottery(half), 5.0).upper <= linear_factor(5.0) + 1e-9


def test_a_policy_that_may_be_worthless():
    users = Population([[0.0, 1.0], [0.2, 0.1]], [0.9, 0.1])
    result = audit(users.win_rates(5.0), [1.0, 0.0], 5.0)
    assert result.lower == result.upper == math.inf
    assert result.gap == 0.0
    assert result.witness is not None
    assert result.witness.average_utility[0] == 0.0 < result.witness.average_utility[1]
    assert np.abs(result.witness.win_rates(5.0) - users.win_rates(5.0)).max() < 1e-9


# -- a KL ball ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.05, 0.7, 20.0])
@pytest.mark.parametrize("alternatives", [2, 3])
def test_ball_intervals_contain_the_truth_and_close(tau, alternatives):
    rng = np.random.default_rng([alternatives, int(100 * tau)])
    users = population(rng, 10, alternatives)
    P, reference = users.win_rates(5.0), rng.dirichlet(np.full(alternatives, 3.0))
    policy = maximize_in_kl_ball(P.mean(axis=1), reference, tau)
    result = audit(P, policy, 5.0, reference=reference, tau=tau)
    assert result.lower * (1 + 1e-3) >= true_distortion(users, policy, reference, tau)
    assert result.upper >= true_distortion(users, policy, reference, tau) * (1 - 1e-12)
    assert relative_gap(result) < 3e-4
    if result.witness is not None:
        check_witness(result, P, policy, 5.0, reference, tau)
    if alternatives == 2:
        by_log = audit(P, policy, 5.0, log_reference=np.log(reference), tau=tau)
        assert by_log.upper == pytest.approx(result.upper, rel=1e-6)


def test_a_ball_beside_a_face_of_its_simplex_is_not_split_into_slivers():
    """Splits beside a face left a gap of 9 % here; on it 0.06 %."""
    rng = np.random.default_rng([77, 3, 1])
    P, reference = population(rng, 10, 3).win_rates(5.0), rng.dirichlet(np.full(3, 3.0))
    policy = maximize_in_kl_ball(P.mean(axis=1), reference, 0.3)
    assert relative_gap(audit(P, policy, 5.0, reference=reference, tau=0.3)) < 1e-3


def test_one_alternative():
    result = audit([[0.5]], [1.0], 2.0)
    assert result.lower == 1.0 <= result.upper <= 1.0 + 1e-9


# -- what cannot be ----------------------------------------------------------------------------------------


def cycle(p: float) -> np.ndarray:
    return np.array([[0.5, p, 1 - p], [1 - p, 0.5, p], [p, 1 - p, 0.5]])


def test_impossible_win_rates_are_refused():
    with pytest.raises(ValueError, match=r"win_rates\[0, 1\] = 0\.9 lies outside"):
        audit([[0.5, 0.9], [0.1, 0.5]], [0.5, 0.5], 1.0)
    with pytest.raises(ValueError, match="no population with bt_beta = 5"):
        audit(cycle(0.9), np.full(3, 1 / 3), 5.0)
    with pytest.raises(ValueError, match="least L1 violation"):  # average utilities fit, no types do
        audit(cycle(0.625), np.full(3, 1 / 3), 5.0)
    with pytest.raises(ValueError, match="lies outside"):
        audit(None, [0.5, 0.5], 0.5, counts=[[0, 990], [10, 0]])


def test_the_limit_of_possible_cycles_is_sharp():
    # The largest p for which a cycle of win rates p comes from some population lies between two audits.
    def possible(p: float) -> bool:
        try:
            result = audit(cycle(p), np.full(3, 1 / 3), 5.0)
        except ValueError:
            return False
        return result.witness is not None

    # Independent: the largest cycle of one user's utilities, averaged over their three rotations.
    grid = np.linspace(0.0, 1.0, 201)
    x, y = np.meshgrid(grid, grid)
    single = (expit(5 * (1 - x)) + expit(5 * (x - y)) + expit(5 * (y - 1))) / 3
    assert possible(float(single.max()) - 3e-4)
    assert not possible(float(single.max()) + 3e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": [0.5, 0.6]}, "policy sums to"),
        ({"policy": [1.2, -0.2]}, r"policy\[1\]"),
        ({"policy": [0.5, 0.25, 0.25]}, "policy has 3 entries"),
        ({"bt_beta": 0.0}, "bt_beta"),
        ({"bt_beta": math.nan}, "bt_beta"),
        ({"win_rates": [[0.5, 0.7], [0.4, 0.5]]}, r"win_rates\[0, 1\]"),
        ({"win_rates": [[0.5, math.nan], [0.4, 0.5]]}, "not finite"),
        ({"win_rates": None}, "give win_rates or counts"),
        ({"counts": [[0, 3], [4, 0]]}, "not both"),
        ({"n_users": 5}, "n_users needs counts"),
        ({"win_rates": None, "counts": [[0, -1], [4, 0]]}, r"counts\[0, 1\]"),
        ({"win_rates": None, "counts": [[0, 1.5], [4, 0]]}, r"counts\[0, 1\]"),
        ({"win_rates": None, "counts": [[0, 1e300], [4, 0]]}, r"counts\[0, 1\] = 1e\+300"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "n_users": 0}, "n_users"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "n_users": math.nan}, "n_users"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "n_users": math.inf}, "n_users"),
        ({"win_rates": [[0.5, 0.5], [0.5, 0.5]], "bt_beta": 3e-9}, "bt_beta = 3e-09 is too small"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "confidence": 1.0}, "confidence"),
        ({"tau": -1.0, "reference": [0.5, 0.5]}, "tau"),
        ({"tau": 1.0}, "needs reference"),
        ({"tau": 1.0, "reference": [1.0, 0.0]}, r"reference\[1\]"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"win_rates": [[0.5, 0.7], [0.3, 0.5]], "policy": [0.5, 0.5], "bt_beta": 2.0} | change
    with pytest.raises(ValueError, match=message):
        audit(**arguments)


def test_the_condorcet_loser_of_the_hard_instance():
    instance = condorcet_instance(5.0, 4, 1e-3)
    result = audit(instance.win_rates, np.full(4, 0.25), 5.0)
    assert true_distortion(instance.population, np.full(4, 0.25)) <= result.upper
    assert result.lower >= true_distortion(instance.population, np.full(4, 0.25)) * (1 - 1e-6)


def test_faint_win_rates_still_say_how_far_apart_the_averages_are():
    """At β = 1e-8 margins are β/4 times differences of average utility: the worst is where the least of them is 0."""
    for users in (Population([[1.0, 0.0, 0.3], [0.0, 0.5, 0.2]], [0.6, 0.4]), Population([[0.2, 0.9, 0.4]])):
        above = users.average_utility - users.average_utility.min()
        found = audit(users.win_rates(1e-8), [0.2, 0.3, 0.5], 1e-8)
        worst = above.max() / (above @ [0.2, 0.3, 0.5])
        assert found.lower == pytest.approx(worst, rel=1e-6)
        assert found.upper == pytest.approx(worst, rel=1e-6)


@pytest.mark.parametrize("counts", [[["a", "b"], ["c", "d"]], [[0, 1], [1]], {}])
def test_questions_about_what_are_no_counts(counts):
    with pytest.raises(ValueError, match="counts"):
        next_questions(counts, [0.5, 0.5], 2.0)
