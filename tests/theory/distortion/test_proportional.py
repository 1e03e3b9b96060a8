"""Population-proportional policies: closed forms against plain sums over users, grids of types, and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from theory.bradley_terry import Population
from theory.distortion import factors, proportional
from theory.distortion.measure import distortion
from theory.social_choice.shares import proportional as policy_of
from theory.social_choice.shares import proportional_scores, share_bounds


def vote(bt_beta, one, other):
    return 1.0 / (1.0 + math.exp(-bt_beta * (one - other)))


def by_hand(utilities, weights, bt_beta, sharpness):
    """The policy by loops over users and pairs."""
    size = len(utilities[0])
    scores = [
        min(sum(w * vote(bt_beta, u[x], u[y]) for w, u in zip(weights, utilities, strict=True))
            for y in range(size) if y != x)
        for x in range(size)
    ]  # fmt: skip
    masses = [s * math.exp(sharpness * s) for s in scores]
    return scores, [mass / sum(masses) for mass in masses]


@pytest.mark.parametrize(("bt_beta", "sharpness"), [(1.0, 0.0), (6.0, 3.0), (40.0, 20.0)])
def test_scores_and_policy_are_those_of_loops(bt_beta, sharpness):
    rng = np.random.default_rng(3)
    U, w = rng.random((4, 5)), rng.dirichlet(np.ones(4))
    P = Population(U, w).win_rates(bt_beta)
    scores, policy = by_hand(U.tolist(), w.tolist(), bt_beta, sharpness)
    np.testing.assert_allclose(proportional_scores(P), scores, rtol=1e-12)
    np.testing.assert_allclose(policy_of(P, sharpness), policy, rtol=1e-12)


def test_a_class_of_clones_gets_what_its_members_get():
    U = np.random.default_rng(5).random((3, 3))
    U[:, 1] = 1.0  # beats all others, but not its clones
    classes, copies = Population(U), np.array([1, 4, 2])
    each = policy_of(Population(np.repeat(U, copies, axis=1)).win_rates(4.0), 2.0)
    together = policy_of(classes.win_rates(4.0), 2.0, multiplicity=copies)
    np.testing.assert_allclose(np.add.reduceat(each, [0, 1, 5]), together, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5, 0.6], [0.6, 0.5]],), "win_rates"),
        (([[0.5, 0.6], [0.4, 0.5]], -1.0), "sharpness"),
        (([[0.5, 0.6], [0.4, 0.5]], math.inf), "sharpness"),
        (([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]],), "always beats"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        policy_of(*arguments)
    with pytest.raises(ValueError, match=r"multiplicity\[1\]"):
        proportional_scores([[0.5, 0.6], [0.4, 0.5]], [1.0, 0.5])
    with pytest.raises(ValueError, match="alternative 1 wins"):
        share_bounds([[0.5, 0.95], [0.05, 0.5]], 2.0)


def on_a_grid(bt_beta, sharpness):
    """The worst of two types of users, (1, 0) and (0, e), on a grid of e and of their weights."""
    e = np.geomspace(1e-3, 1.0, 1500)
    w = np.geomspace(1e-4, 1.0, 1500)[:-1, None]
    p = w / (1 + np.exp(-bt_beta)) + (1 - w) / (1 + np.exp(bt_beta * e))
    chosen = p * np.exp(sharpness * p) / (p * np.exp(sharpness * p) + (1 - p) * np.exp(sharpness * (1 - p)))
    first, second = w, (1 - w) * e
    return max(2.0, float((np.maximum(first, second) / (chosen * first + (1 - chosen) * second)).max()))


@pytest.mark.parametrize(("bt_beta", "sharpness"), [(3.0, 0.0), (60.0, 0.0), (10.0, 25.0)])
def test_the_factor_of_two_alternatives_is_that_of_two_types(bt_beta, sharpness):
    found = proportional.pair_proportional_factor(bt_beta, sharpness)
    assert found == pytest.approx(on_a_grid(bt_beta, sharpness), rel=1e-4)


def test_limits_of_two_alternatives():
    """√(β/(2 log β)) from below, slowly; L(β) for the minimax rule; the users that attain it."""
    factor = proportional.pair_proportional_factor
    ratios = [factor(beta) / math.sqrt(beta / (2 * math.log(beta))) for beta in (1e4, 1e8, 1e32)]
    assert ratios == sorted(ratios)
    assert 0.95 < ratios[-1] < 1.0
    assert factor(10.0, 1e6) == pytest.approx(factors.linear_factor(10.0), rel=5e-3)
    users = proportional.worst_pair(80.0, 5.0)
    reached = distortion(users, policy_of(users.win_rates(80.0), 5.0))
    assert reached == pytest.approx(factor(80.0, 5.0), rel=1e-9)


@pytest.mark.parametrize("bt_beta", [0.5, 5.0, 80.0])
def test_the_least_win_rate_is_that_of_two_types(bt_beta):
    """The best alternative values 1 to a share e/(1 + e), the other e to the rest: equally good on average."""
    e = np.linspace(0.0, 1.0, 200_001)
    wins = (e / (1 + np.exp(-bt_beta)) + 1 / (1 + np.exp(bt_beta * e))) / (1.0 + e)
    assert proportional.least_win_rate(bt_beta) == pytest.approx(wins.min(), abs=1e-8)


@pytest.mark.parametrize(("kind", "bt_beta"), [("single", 0.5), ("single", 7.0), ("cycle", 0.5), ("cycle", 7.0)])
def test_the_error_on_an_electorate_is_that_of_its_win_rates(kind, bt_beta):
    shares = np.array([0.35, 0.05, 0.25, 0.15, 0.2])
    policy = policy_of(proportional.electorate(kind, shares).win_rates(bt_beta))
    assert proportional.recovery_error(kind, shares, bt_beta) == pytest.approx(
        0.5 * np.abs(policy - shares).sum(), rel=1e-9
    )


def test_a_cycle_is_recovered_and_single_favourites_are_not():
    assert proportional.recovery_error("cycle", [0.5, 0.3, 0.2], 500.0) < 1e-12
    # a group of 90 % beside 99 of a thousandth each: s = 0.95 and 99 times 0.05, nearly, so that it gets a sixth
    many = proportional.recovery_error("single", [0.9, *[0.1 / 99] * 99], 500.0)
    first, other = 0.5 + 0.5 * (0.9 - 0.1 / 99), 0.5 - 0.5 * (0.9 - 0.1 / 99)
    assert many == pytest.approx(0.9 - first / (first + 99 * other), rel=1e-9)


def test_users_break_the_bound_of_those_without_noise_from_beta_log_five_on():
    """A = 3 and w → 0: (½ + B/2)/(3/2 − B/2) exceeds ½ where B > 1/3, that is e^β > 5."""
    assert proportional.coalition_limit(0.0, 3, math.log(5.0)) == pytest.approx(0.5, rel=1e-12)
    assert proportional.coalition_limit(0.0, 3, 1.7) > 0.5
    assert proportional.coalition_limit(0.0, 10**6, 60.0) == pytest.approx(2.0 / 3.0, rel=1e-5)


@pytest.mark.parametrize(("share", "size", "bt_beta"), [(0.2, 4, 3.0), (0.0, 3, 1.7), (0.5, 2, 8.0), (0.1, 20, 10.0)])
def test_the_limit_of_a_coalition_is_reached(share, size, bt_beta):
    """By an alternative that a share always votes for, and that is a faint second to all others, split evenly."""
    rivals = np.eye(size - 1)
    members = Population(np.c_[np.full(size - 1, 1.0 - 1e-9), rivals], np.full(size - 1, 1.0 / (size - 1)))
    P = members.win_rates(bt_beta)
    P[0, 1:] = share + (1.0 - share) * P[0, 1:]
    P[1:, 0] = 1.0 - P[0, 1:]
    assert proportional.coalition_limit(share, size, bt_beta) == pytest.approx(policy_of(P)[0], rel=1e-7)


@pytest.mark.parametrize(("sharpness", "utility"), [(0.0, 0.4), (2.0, 0.3), (9.0, 1.0)])
def test_what_unanimous_users_lose_is_that_of_their_policy(sharpness, utility):
    users = Population([[utility, 0.0, 0.0]])
    lost = distortion(users, policy_of(users.win_rates(5.0), sharpness))
    assert proportional.unanimous_distortion(3, 5.0, utility, sharpness) == pytest.approx(lost, rel=1e-12)
    assert proportional.proportional_upper_factor(3, 5.0) == pytest.approx(
        1.5 / proportional.least_win_rate(5.0), rel=1e-15
    )


test_arguments_out_of_range_are_named = bad_input_is_named(
    (lambda: proportional.unanimous_distortion(3, 5.0, 0.0), "utility"),
    (lambda: proportional.coalition_limit(1.1, 3, 5.0), "share"),
    (lambda: proportional.coalition_limit(0.1, 1, 5.0), "n_alternatives"),
    (lambda: proportional.electorate("pairs", [0.5, 0.5]), "kind"),
    (lambda: proportional.electorate("single", [1.0]), "number of shares"),
)


@pytest.mark.parametrize("factor", [proportional.pair_proportional_factor, proportional.worst_pair])
def test_temperatures_that_nothing_can_be_divided_by_are_refused(factor):
    with pytest.raises(ValueError, match="bt_beta"):
        factor(5e-324)


@pytest.mark.parametrize("bt_beta", [5e-324, [1.0, 5.0]])
def test_shares_at_what_is_no_temperature_are_refused(bt_beta):
    with pytest.raises(ValueError, match="bt_beta"):
        share_bounds(np.full((2, 2), 0.5), bt_beta=bt_beta)
