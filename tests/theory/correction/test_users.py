"""Users who correct: habits by enumeration, suprema by search and by their instances, edits on a line."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.strategies import distributions, populations
from theory.bradley_terry import Population
from theory.correction import users
from theory.correction.composition import compose, information_gain
from theory.correction.repetition import convergence_rate, limit_law, round_laws
from theory.distortion.measure import distortion
from theory.social_choice.rankings import random_dictator

HABITS = {"favourite": users.favourite_kernel, "step": users.step_kernel}
EXACT = 1e-12


def costs(habit, population, correctors, policy):
    u = population.average_utility
    after = u @ compose(policy, HABITS[habit](population, correctors))
    return u.max() / after, u @ policy / after


@given(populations(), st.data())
def test_kernels_are_what_users_do(population, data):
    """Every user, every strict order that the utilities allow, every answer."""
    V, A = population.utilities.shape
    correctors = data.draw(distributions(V))
    step, favourite = np.zeros((A, A)), np.zeros((A, A))
    for share, utility in zip(correctors, population.utilities, strict=True):
        orders = [o for o in itertools.permutations(range(A)) if (np.diff(utility[list(o)]) >= 0).all()]
        for order in orders:
            for place, answer in enumerate(order):
                step[answer, order[min(place + 1, A - 1)]] += share / len(orders)
                favourite[answer, order[-1]] += share / len(orders)
    assert users.step_kernel(population, correctors) == pytest.approx(step, abs=EXACT)
    assert users.favourite_kernel(population, correctors) == pytest.approx(favourite, abs=EXACT)
    uniform = np.full(A, 1 / A)
    assert users.uniform_step_law(population, correctors) == pytest.approx(uniform @ step, abs=EXACT)


@given(populations(), st.data())
def test_favourites_make_a_random_dictator_of_any_upstream_policy(population, data):
    A = population.utilities.shape[1]
    policy = data.draw(distributions(A))
    kernel = users.favourite_kernel(population)
    assert compose(policy, kernel) == pytest.approx(users.favourite_law(population), abs=EXACT)
    assert information_gain(policy, kernel) == pytest.approx(0.0, abs=EXACT)
    for beta in (0.5, 5.0):
        assert users.favourite_law(population, None, beta) == pytest.approx(
            random_dictator(population, beta), abs=EXACT
        )
    sharp = users.favourite_law(population, None, 1e6)
    gaps = np.diff(np.sort(population.utilities, axis=1))[:, -1]
    if (gaps > 1e-3).all():
        assert sharp == pytest.approx(users.favourite_law(population), abs=EXACT)


@given(populations(), st.data())
def test_no_population_costs_more_than_the_suprema(population, data):
    V, A = population.utilities.shape
    correctors, policy = data.draw(distributions(V)), data.draw(distributions(A))
    population = Population(np.maximum(population.utilities, 1e-6), population.weights)
    for habit in HABITS:
        lost, harmed = costs(habit, population, correctors, policy)
        assert lost <= users.worst_distortion(habit, policy, correctors) * (1 + EXACT)
        assert harmed <= users.worst_harm(habit, policy, correctors) * (1 + EXACT)


@given(st.integers(2, 5), st.integers(2, 4), st.data())
def test_the_suprema_are_attained_in_the_limit(n_answers, n_types, data):
    policy, weights = data.draw(distributions(n_answers, 0.05)), data.draw(distributions(n_types, 0.05))
    correctors = data.draw(distributions(n_types, 0.05))
    who, order = int(correctors.argmin()), np.argsort(policy)
    rare = users.stakes_population(weights, who, order[0], order[1], n_answers, 1e-9)
    common = users.stakes_population(weights, who, order[-1], order[0], n_answers, 1e-9)
    disliked = users.dislike_population(weights, who, order[0], n_answers, 1e-9)
    for habit in HABITS:
        assert costs(habit, rare, correctors, policy)[0] == pytest.approx(
            users.worst_distortion(habit, policy, correctors), rel=1e-4
        )
    assert costs("step", common, correctors, policy)[1] == pytest.approx(
        users.worst_harm("step", policy, correctors), rel=1e-4
    )
    assert costs("favourite", disliked, correctors, policy)[1] == pytest.approx(
        users.worst_harm("favourite", policy, correctors), rel=1e-4
    )


@given(st.integers(2, 6), st.integers(2, 4), st.data())
def test_a_step_is_milder_in_harm_and_worse_in_distortion(n_answers, n_types, data):
    policy, correctors = data.draw(distributions(n_answers)), data.draw(distributions(n_types))
    assert users.worst_harm("step", policy, correctors) <= users.worst_harm("favourite", policy, correctors) * (
        1 + EXACT
    )
    gap = users.worst_distortion("step", policy, correctors) - users.worst_distortion("favourite", policy, correctors)
    assert gap >= -1e-9 if n_answers > 2 else gap == pytest.approx(0.0, abs=1e-9)


def test_who_corrects_decides():
    policy = np.full(4, 0.25)
    assert users.worst_distortion("favourite", policy, [0.5, 0.5]) == 2.0
    assert users.worst_distortion("step", policy, [0.5, 0.5]) == 4.0
    assert users.worst_distortion("favourite", policy, [1.0, 0.0]) == math.inf
    assert users.worst_harm("favourite", policy, [1.0, 0.0]) == math.inf
    assert (
        users.worst_distortion("step", [1.0, 0.0, 0.0], [0.5, 0.5]) == math.inf
    )  # what is never said is never corrected to
    assert users.worst_harm("favourite", policy, [1.0]) == users.worst_harm("step", policy, [1.0]) == 1.0
    assert users.worst_distortion("favourite", policy, [1.0]) == 1.0


def test_normalised_favourites(rng):
    for n_answers in (2, 3, 4, 6):
        factor = users.normalised_dictator_factor(n_answers)
        shares = np.linspace(0, 1, 2001)
        known = 1 / np.min(shares + (1 - shares) ** 2 / (n_answers - 1))
        assert factor == pytest.approx(known, rel=1e-6)
        worst = 0.0
        for _ in range(300):
            U = rng.beta(0.3, 0.3, (rng.integers(1, 7), n_answers))
            population = Population(U / U.max(axis=1, keepdims=True), rng.dirichlet(np.ones(len(U))))
            worst = max(worst, distortion(population, users.favourite_law(population)))
        assert 1.0 < worst <= factor
    close = Population(np.array([[1 - 1e-9, 1.0, 0.0], [1 - 1e-9, 0.0, 1.0]]))
    assert distortion(close, users.favourite_law(close)) == pytest.approx(2.0, rel=1e-8)


# Edits.


@given(st.integers(2, 8), st.data())
def test_edits_settle_by_detailed_balance(n_answers, data):
    law = data.draw(distributions(n_answers))
    kernel = users.edit_kernel(law)
    dense = kernel.toarray()
    assert dense.sum(axis=1) == pytest.approx(np.ones(n_answers))
    for favourite in range(n_answers):  # one user: one place towards the favourite
        one = users.edit_kernel(np.eye(n_answers)[favourite]).toarray()
        assert [int(row.argmax()) for row in one] == [o + int(np.sign(favourite - o)) for o in range(n_answers)]
    limit = users.edit_limit(law)
    flow = limit[:, None] * dense
    assert flow == pytest.approx(flow.T, abs=EXACT)
    assert limit == pytest.approx(limit_law(kernel), abs=1e-10)
    # log-concave around a median of the favourites
    F = np.cumsum(law)
    peak = int(limit.argmax())
    assert F[peak] >= 0.5 - 1e-9
    assert F[peak] - law[peak] <= 0.5 + 1e-9
    assert (np.diff(np.log(limit), n=2) <= 1e-9).all()


def test_uniform_favourites_are_ehrenfests_urn():
    for n in (2, 3, 9, 40):
        uniform = np.full(n, 1 / n)
        assert users.edit_limit(uniform) == pytest.approx(
            [math.comb(n - 1, i) / 2 ** (n - 1) for i in range(n)], rel=1e-12
        )
        assert convergence_rate(users.edit_kernel(uniform)) == pytest.approx(1 - 2 / n if n > 2 else 0.0, abs=1e-9)
    for n in (3, 9, 41):  # odd, so that the median is an answer
        uniform = np.full(n, 1 / n)
        population = users.line_population(uniform)
        assert distortion(population, users.edit_limit(uniform)) == pytest.approx((3 * n - 1) / (3 * n - 2), rel=1e-12)
        assert distortion(population, uniform) == pytest.approx(0.75 * (3 * n - 1) / (2 * n - 1), rel=1e-12)


def test_edits_between_extremes_and_outside():
    assert users.edit_limit([0, 0, 1, 0]).tolist() == [0, 0, 1, 0]
    assert users.edit_limit([0, 0.5, 0.5, 0]) == pytest.approx([0, 0.5, 0.5, 0])
    assert users.edit_limit([0.25, 0, 0, 0.75]) == pytest.approx(np.array([1, 3, 9, 27]) / 40)
    late = round_laws([1, 0, 0, 0], users.edit_kernel([0, 0.5, 0.5, 0]), 200)[-1]
    assert late == pytest.approx([0, 0.5, 0.5, 0], abs=1e-12)
    assert users.edit_limit([1.0]).tolist() == users.edit_kernel([1.0]).toarray().ravel().tolist() == [1.0]
    tiny = np.array([1 - 1e-12, 5e-13, 5e-13])
    assert users.edit_limit(tiny)[2] == pytest.approx(5e-13 * 1e-12, rel=1e-3)


def test_one_edit_moves_average_utility_by_at_most_one_place(rng):
    law = rng.dirichlet(np.ones(9))
    population = users.line_population(law)
    for _ in range(20):
        policy = rng.dirichlet(np.ones(9))
        change = population.average_utility @ (compose(policy, users.edit_kernel(law)) - policy)
        assert abs(change) <= 1 / 8 + EXACT


@given(st.integers(2, 5), st.data())
def test_taken_proposals_of_bradley_terry_users_are_reversible(n_answers, data):
    mu = data.draw(distributions(n_answers, 0.1))
    r = np.cos(np.arange(n_answers))
    P = 1 / (1 + np.exp(r[None, :] - r[:, None]))
    kernel = users.comparison_kernel(P, mu)
    nu = mu * np.exp(r) / (mu @ np.exp(r))
    assert nu[:, None] * kernel == pytest.approx((nu[:, None] * kernel).T, abs=EXACT)
    assert limit_law(kernel) == pytest.approx(nu, abs=1e-10)


@pytest.mark.parametrize("favourites", [[0.2, 0.4, 0.0, 0.4], [0.1, 0.2, 0.0, 0.7], [0.7, 0.0, 0.1, 0.2]])
def test_nobody_s_favourite_is_left_for_certain(favourites):
    """1 − up − down of three laws is −1.1e-16 there."""
    kernel = users.edit_kernel(favourites).toarray()
    assert kernel[np.flatnonzero(np.array(favourites) == 0), np.flatnonzero(np.array(favourites) == 0)] == 0.0
    assert kernel.sum(axis=1) == pytest.approx(1.0, abs=1e-15)
    assert limit_law(kernel) == pytest.approx(users.edit_limit(favourites), abs=1e-9)


@given(populations(), st.data())
def test_a_comparison_keeps_what_was_not_preferred(population, data):
    P = population.win_rates(5.0)
    mu = data.draw(distributions(size=len(P)))
    kernel = users.comparison_kernel(P, mu)
    assert kernel.min() >= 0.0
    assert kernel.sum(axis=1) == pytest.approx(1.0, abs=1e-14)
    for o, c in itertools.permutations(range(len(P)), 2):
        assert kernel[o, c] == pytest.approx(mu[c] * P[c, o], abs=1e-15)
