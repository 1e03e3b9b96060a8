"""Divergences, generators and losses: definitions, independent minimisation, known values."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from tests.oracles.strategies import distributions
from theory.divergences import examples
from theory.divergences import tables as divergences
from theory.divergences.by_generator import f_divergence
from theory.divergences.custom_generator import custom
from theory.divergences.generators import GENERATORS, Generator, Infinite, alpha_divergence
from theory.divergences.losses import (
    LOSSES,
    estimated_divergence,
    find_loss,
    loss_gradient,
    minimizer,
    minimum,
    population_loss,
)
from theory.solution import CertificateError

P = np.array([0.4, 0.1, 0.3, 0.2])
Q = np.array([0.1, 0.2, 0.25, 0.45])
HALF, SKEW, DISJOINT = [0.5, 0.5], [0.25, 0.75], ([1.0, 0.0], [0.0, 1.0])
ALPHAS = (-1.3, -1.0, 0.3, 0.5, 2.0, 3.0)
EVERY_GENERATOR = [*GENERATORS.values(), *map(alpha_divergence, ALPHAS)]
EVERY_LOSS = [*LOSSES, *(f"alpha:{alpha}" for alpha in ALPHAS)]
COUPLED = ("kldo", "dpo")
pairs = st.integers(2, 6).flatmap(lambda size: st.tuples(distributions(size), distributions(size)))


def by_name(made: Generator) -> str:
    return made.name


# Tables.


def test_divergences_are_their_definitions():
    p, q = P.tolist(), Q.tolist()
    rows = list(zip(p, q, strict=True))
    middle = [(a + b) / 2 for a, b in rows]
    kl = math.fsum(a * math.log(a / b) for a, b in rows)
    assert divergences.kl(P, Q) == pytest.approx(kl, abs=1e-15)
    assert divergences.total_variation(P, Q) == pytest.approx(math.fsum(abs(a - b) for a, b in rows) / 2, abs=1e-15)
    js = math.fsum(a * math.log(a / m) / 2 + b * math.log(b / m) / 2 for (a, b), m in zip(rows, middle, strict=True))
    assert divergences.jensen_shannon(P, Q) == pytest.approx(js, abs=1e-15)
    hellinger = math.fsum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in rows)
    assert divergences.squared_hellinger(P, Q) == pytest.approx(hellinger, abs=1e-15)
    assert divergences.chi_square(P, Q) == pytest.approx(math.fsum((a - b) ** 2 / b for a, b in rows), abs=1e-15)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: divergences.kl(HALF, SKEW), pytest.approx(0.5 * math.log(4 / 3), abs=1e-15)),
        (lambda: divergences.chi_square(HALF, SKEW), pytest.approx(1 / 3, abs=1e-15)),
        (lambda: f_divergence(HALF, SKEW, "neyman"), pytest.approx(divergences.chi_square(SKEW, HALF), abs=1e-15)),
        (lambda: divergences.total_variation(*DISJOINT), 1.0),
        (lambda: divergences.squared_hellinger(*DISJOINT), 2.0),
        (lambda: divergences.jensen_shannon(*DISJOINT), pytest.approx(math.log(2), abs=1e-15)),
        (lambda: population_loss("dpo", np.zeros(4), P, Q), pytest.approx(math.log(2), abs=1e-15)),
        (lambda: population_loss("bco", np.zeros(4), P, Q), pytest.approx(2 * math.log(2), abs=1e-15)),
        (lambda: population_loss("kto", np.zeros(4), P, Q), 1.0),
        (lambda: population_loss("kldo", np.zeros(4), P, Q), 0.0),
    ],
)  # fmt: skip
def test_values_by_hand(call, value):
    assert call() == value


@given(pairs)
def test_every_generator_gives_its_divergence(tables):
    p, q = tables
    named = {
        "kl": divergences.kl(p, q),
        "reverse_kl": divergences.kl(q, p),
        "jensen_shannon": divergences.jensen_shannon(p, q),
        "total_variation": divergences.total_variation(p, q),
        "squared_hellinger": divergences.squared_hellinger(p, q),
        "pearson": divergences.chi_square(p, q),
        "neyman": divergences.chi_square(q, p),
        "alpha:2": 0.5 * divergences.chi_square(p, q),
        "alpha:0.5": 2.0 * divergences.squared_hellinger(p, q),
        "alpha:-1": 0.5 * divergences.chi_square(q, p),
    }
    for name, value in named.items():
        assert f_divergence(p, q, name) == pytest.approx(value, rel=1e-12, abs=1e-13), name
    for made in EVERY_GENERATOR:
        direct = float(np.sum(q * made.f(p / q)))
        assert f_divergence(p, q, made) == pytest.approx(direct, rel=1e-10, abs=1e-13), made.name
        assert f_divergence(p, p, made) == pytest.approx(0.0, abs=1e-13)


def test_ratios_beyond_float64_enter_by_their_logarithm():
    tiny = 1e-300
    p, q = [1.0 - 1e-9, 1e-9], [1.0, tiny]
    expected = 1e-9 * (math.log(1e-9) - math.log(tiny)) + (1 - 1e-9) * math.log1p(-1e-9)
    assert f_divergence(p, q, "kl") == pytest.approx(expected, rel=1e-12)
    assert f_divergence(p, q, "jensen_shannon") == pytest.approx(divergences.jensen_shannon(p, q), rel=1e-12)
    over = f_divergence([0.5, 0.5], [1.0, 5e-324], "pearson")
    assert isinstance(over, Infinite)
    assert over.outcome == 1


# Generators.


@pytest.mark.parametrize("made", EVERY_GENERATOR, ids=by_name)
def test_generators_fit_together(made):
    u = np.exp(np.linspace(-4.0, 4.0, 33)) * 1.001  # off the kink of TV
    r = np.linspace(-1.9, 3.0, 25)
    h = 1e-6
    assert made.f(np.array([1.0]))[0] == 0.0
    assert made.slope(u) == pytest.approx((made.f(u * (1 + h)) - made.f(u * (1 - h))) / (2 * h * u), rel=1e-6, abs=1e-7)
    np.testing.assert_allclose(
        made.curvature(u), (made.slope(u * (1 + h)) - made.slope(u * (1 - h))) / (2 * h * u), rtol=1e-6, atol=1e-9
    )
    for slope, values in ((made.link_slope, made.link), (made.cost_slope, made.cost)):
        np.testing.assert_allclose(slope(r), (values(r + h) - values(r - h)) / (2 * h), rtol=1e-6, atol=1e-9)
    assert (np.diff(made.link(r)) > 0).all()
    np.testing.assert_allclose(made.cost(r), made.conjugate(made.link(r)), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        made.perspective(u, 0.3 * np.ones_like(u)), 0.3 * made.f(u / 0.3), rtol=1e-10, atol=1e-13
    )
    if made.name != "total_variation":
        reached = made.ratio(r) > 0  # an identity link goes below the slope at 0, where the ratio stays 0
        np.testing.assert_allclose(made.slope(made.ratio(r)[reached]), made.link(r)[reached], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(made.link(made.optimum(np.log(u))), made.slope(u), rtol=1e-9, atol=1e-12)
    for limit, value in (
        (made.at_zero, made.f(np.array([1e-12]))[0]),
        (made.at_infinity, made.f(np.array([1e12]))[0] / 1e12),
    ):
        assert limit is not None
        assert value > 20 if math.isinf(limit) else value == pytest.approx(limit, abs=3e-3)


@pytest.mark.parametrize("made", EVERY_GENERATOR, ids=by_name)
def test_conjugates_are_suprema(made):
    """f*(t) = sup over u ≥ 0, by bounded search in log u, from below every slope to above every slope."""
    slopes = np.unique(made.slope(np.exp(np.linspace(-3.0, 3.0, 7)) * 1.001))
    for t in [*slopes, slopes[0] - 1.0]:
        with np.errstate(over="ignore"):
            best = minimize_scalar(
                lambda v, t=t: float(made.f(np.exp(np.array([v])))[0] - t * math.exp(v)),
                bounds=(-30.0, 8.0), method="bounded", options={"xatol": 1e-10},
            )  # fmt: skip
        at_zero = -math.inf if math.isinf(made.at_zero) else -made.at_zero
        assert float(made.conjugate(np.array([t]))[0]) == pytest.approx(max(-best.fun, at_zero), rel=1e-8, abs=1e-8)
    if math.isfinite(made.at_infinity):
        assert made.conjugate(np.array([made.at_infinity + 0.01]))[0] == math.inf


# Losses.


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_gradients_and_influences_are_derivatives(name, rng):
    r = rng.normal(size=4)
    h = 1e-5
    numeric = [
        (population_loss(name, r + h * e, P, Q) - population_loss(name, r - h * e, P, Q)) / (2 * h) for e in np.eye(4)
    ]
    np.testing.assert_allclose(loss_gradient(name, r, P, Q), numeric, rtol=1e-7, atol=1e-8)
    loss = find_loss(name)
    at_p, at_q = loss.influence(r, P, Q)
    for e in np.eye(4):
        assert at_p @ (e - P) == pytest.approx(
            (loss.value(r, P + h * (e - P), Q) - loss.value(r, P - h * (e - P), Q)) / (2 * h), abs=1e-7
        )
        assert at_q @ (e - Q) == pytest.approx(
            (loss.value(r, P, Q + h * (e - Q)) - loss.value(r, P, Q - h * (e - Q))) / (2 * h), abs=1e-7
        )


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_the_minimum_is_the_loss_at_the_minimiser(name):
    for p, q in ((P, Q), (Q, P), (P, P)):
        at_minimiser = population_loss(name, minimizer(name, p, q), p, q)
        assert at_minimiser == pytest.approx(minimum(name, p, q), abs=1e-12)


@given(pairs, st.sampled_from([name for name in EVERY_LOSS if name not in COUPLED]))
def test_separable_losses_reach_their_minimum_outcome_by_outcome(tables, name):
    p, q = tables
    loss = find_loss(name)

    def one(i: int) -> float:
        def term(r: float) -> float:
            x = np.array([r])
            with np.errstate(over="ignore"):
                return float(p[i] * loss.parts.positive(x)[0] + q[i] * loss.parts.negative(x)[0])

        top = float(np.clip(np.abs(loss.optimum(np.log(p / q))[i]), 1.0, 1e6)) * 2 + 20
        starts = np.linspace(-min(top, 60.0), top, 400)
        best = int(np.argmin([term(s) for s in starts]))
        ends = starts[max(best - 1, 0)], starts[min(best + 1, 399)]
        found = minimize_scalar(term, bounds=ends, method="bounded", options={"xatol": 1e-10})
        return min(float(found.fun), term(starts[best]))

    total = sum(one(i) for i in range(p.size))
    expected = minimum(name, p, q)
    assert total == pytest.approx(expected, abs=1e-9 * max(1.0, abs(expected)))


@given(pairs, st.sampled_from(COUPLED), st.integers(0, 2**32 - 1))
def test_kldo_and_dpo_reach_their_minimum(tables, name, seed):
    p, q = tables
    start = np.random.default_rng(seed).normal(size=p.size)

    def objective(r: np.ndarray) -> tuple[float, np.ndarray]:
        return population_loss(name, r, p, q), loss_gradient(name, r, p, q)

    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    assert found.fun == pytest.approx(minimum(name, p, q), abs=1e-9)
    expected = minimizer(name, p, q)
    np.testing.assert_allclose(found.x - found.x.mean(), expected - expected.mean(), atol=2e-3)


def test_kldo_against_a_cone_solver():
    cvxpy = pytest.importorskip("cvxpy")
    r = cvxpy.Variable(4)
    problem = cvxpy.Problem(cvxpy.Minimize(-P @ r + cvxpy.log_sum_exp(r + np.log(Q))), [r[0] == 0])
    problem.solve(solver="CLARABEL")
    assert problem.value == pytest.approx(-divergences.kl(P, Q), abs=1e-7)


def test_minima_by_hand():
    """V1–V6 from the divergences of this table, written out."""
    js, tv = divergences.jensen_shannon(P, Q), divergences.total_variation(P, Q)
    assert minimum("kldo", P, Q) == pytest.approx(-divergences.kl(P, Q), abs=1e-15)
    assert minimum("kto", P, Q) == pytest.approx(1 - tv, abs=1e-15)
    assert minimum("bco", P, Q) == minimum("ddro", P, Q) == pytest.approx(2 * math.log(2) - 2 * js, abs=1e-15)
    assert minimum("hellinger", P, Q) == pytest.approx(2 * np.sqrt(P * Q).sum(), abs=1e-15)
    pair_law = np.outer(P, Q)
    of_pairs = divergences.jensen_shannon(pair_law.ravel(), pair_law.T.ravel())
    assert minimum("dpo", P, Q) == pytest.approx(math.log(2) - of_pairs, abs=1e-15)
    assert js < of_pairs < 2 * js
    for name in EVERY_LOSS:
        if name.startswith("alpha") or name in GENERATORS:
            assert minimum(name, P, Q) == pytest.approx(-f_divergence(P, Q, name), abs=1e-15)
    np.testing.assert_allclose(minimizer("kl", P, Q), 1 + np.log(P / Q), atol=1e-15)
    np.testing.assert_allclose(minimizer("pearson", P, Q), 2 * (P / Q - 1), atol=1e-15)
    assert minimizer("kto", P, Q).tolist() == [math.inf, -math.inf, math.inf, -math.inf]


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_estimated_divergence_inverts_the_minimum(name):
    loss = find_loss(name)
    assert estimated_divergence(name, minimum(name, P, Q)) == pytest.approx(loss.divergence(P, Q), abs=1e-14)


@pytest.mark.parametrize("name", COUPLED)
def test_shifts_do_not_matter_to_kldo_and_dpo(name, rng):
    r = rng.normal(size=4)
    assert population_loss(name, r + 3.0, P, Q) == pytest.approx(population_loss(name, r, P, Q), abs=1e-13)
    assert LOSSES[name].shift_free
    assert not LOSSES["bco"].shift_free


# Infinite divergences.

LEFT, RIGHT = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.3, 0.7, 0.0])


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (lambda: divergences.kl(LEFT, RIGHT), 0),
        (lambda: divergences.chi_square(LEFT, RIGHT), 0),
        (lambda: f_divergence(LEFT, RIGHT, "kl"), 0),
        (lambda: f_divergence(LEFT, RIGHT, "reverse_kl"), 2),
        (lambda: f_divergence(LEFT, RIGHT, "neyman"), 2),
        (lambda: f_divergence(LEFT, RIGHT, "alpha:3"), 0),
        (lambda: -minimum("kldo", LEFT, RIGHT), 0),
        (lambda: -minimum("kl", LEFT, RIGHT), 0),
    ],
)
def test_infinite_divergences_name_the_outcome(value, outcome):
    found = value()
    assert found == math.inf
    assert isinstance(found, Infinite)
    assert found.outcome == outcome
    assert f"outcome {outcome}" in str(found)


def test_an_infinite_result_is_a_float():
    found = divergences.kl(LEFT, RIGHT)
    assert found + 1 == math.inf
    assert found > 1e308
    assert -minimum("kldo", LEFT, RIGHT) == math.inf
    assert str(-found).startswith("-inf")
    copy = pickle.loads(pickle.dumps(-found))
    assert (copy, copy.outcome, copy.reason) == (-math.inf, found.outcome, found.reason)


def test_bounded_divergences_stay_finite_and_minima_are_approached():
    assert divergences.total_variation(LEFT, RIGHT) == pytest.approx(0.7)
    for name in ("dpo", "kto", "bco", "hellinger", "jensen_shannon", "squared_hellinger", "alpha:0.5"):
        r = minimizer(name, LEFT, RIGHT)
        assert (r[0], r[2]) == (math.inf, -math.inf)
        assert population_loss(name, r, LEFT, RIGHT) == pytest.approx(minimum(name, LEFT, RIGHT), abs=1e-14)
        assert population_loss(name, np.clip(r, -60, 60), LEFT, RIGHT) == pytest.approx(
            minimum(name, LEFT, RIGHT), abs=1e-12
        )
    apart = ([1.0, 0.0, 0.0], [0.0, 0.5, 0.5])  # two outcomes at the same infinity, which no pair compares
    assert population_loss("dpo", minimizer("dpo", *apart), *apart) == 0.0


# A user's generator.


def triangular(u: np.ndarray) -> np.ndarray:
    return (u - 1.0) ** 2 / (u + 1.0)


USERS = custom(triangular, at_zero=1.0, at_infinity=1.0)


def test_a_callable_is_a_generator():
    expected = float(np.sum((P - Q) ** 2 / (P + Q)))
    for made in (triangular, examples.triangular):
        assert f_divergence(P, Q, made) == pytest.approx(expected, abs=1e-14)
    assert minimum(triangular, P, Q) == pytest.approx(-expected, abs=1e-14)
    assert population_loss(triangular, minimizer(triangular, P, Q), P, Q) == pytest.approx(-expected, abs=1e-13)


@given(pairs, st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6))
def test_a_users_loss_is_least_at_its_minimiser(tables, moves):
    p, q = tables
    expected = float(np.sum((p - q) ** 2 / (p + q)))
    assert f_divergence(p, q, USERS) == pytest.approx(expected, abs=1e-13)
    best = minimizer(USERS, p, q)
    assert population_loss(USERS, best, p, q) == pytest.approx(-expected, abs=1e-12)
    assert population_loss(USERS, best + np.array(moves[: p.size]), p, q) >= -expected - 1e-9


@pytest.mark.parametrize("made", [g for g in EVERY_GENERATOR if g.name != "total_variation"], ids=by_name)
def test_a_numerical_generator_is_the_exact_one(made):
    mine = custom(made.f, at_zero=made.at_zero, at_infinity=made.at_infinity)
    u = np.exp(np.linspace(-4.0, 4.0, 17))
    np.testing.assert_allclose(mine.slope(u), made.slope(u), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mine.conjugate(made.slope(u)), made.conjugate(made.slope(u)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mine.curvature(u), made.curvature(u), rtol=2e-3)
    with_link = custom(made.f, at_zero=made.at_zero, at_infinity=made.at_infinity, link=made.link)
    r = np.linspace(-1.5, 1.5, 5)
    np.testing.assert_allclose(with_link.cost(r), made.cost(r), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(with_link.link_slope(r), made.link_slope(r), rtol=1e-3)
    np.testing.assert_allclose(with_link.optimum(np.log(u)), made.optimum(np.log(u)), rtol=1e-7, atol=1e-7)


def test_a_kink_is_found_with_its_slope():
    tv = custom(
        lambda u: 0.5 * np.abs(u - 1), slope=lambda u: 0.5 * np.sign(u - 1), at_zero=0.5, at_infinity=0.5, name="tv"
    )
    assert tv.conjugate(np.array([-2.0, 0.2, 0.5, 0.6])).tolist() == pytest.approx(
        [-0.5, 0.2, 0.5, math.inf], abs=1e-12
    )
    assert f_divergence(LEFT, RIGHT, tv) == pytest.approx(0.7)


def test_limits_that_are_stated_are_used():
    stated = custom(triangular, at_zero=1.0, at_infinity=1.0)
    assert population_loss(stated, minimizer(stated, LEFT, RIGHT), LEFT, RIGHT) == pytest.approx(-1.25, abs=1e-12)


def test_a_wrong_slope_is_caught():
    with pytest.raises(CertificateError, match="Fenchel"):
        custom(lambda u: (u - 1.0) ** 2, slope=lambda u: 2.1 * (u - 1.0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["pearson", "alpha:3"])
def test_minimisers_beyond_float64_are_infinite(name):
    found = minimizer(name, [1.0, 0.0], [1e-310, 1.0])
    assert found[0] == np.inf > found[1]


def test_a_custom_generator_may_attain_its_last_slope():
    """Slopes of ½|u − 1| by differences pass the f'(∞) = ½ that is stated by their rounding."""
    mine = custom(lambda u: 0.5 * np.abs(u - 1.0), at_infinity=0.5)
    assert f_divergence([1.0, 0.0], [0.0, 1.0], mine) == 1.0
    np.testing.assert_allclose(mine.conjugate(np.array([-0.7, 0.3, 0.5, 0.6])), [-0.5, 0.3, 0.5, np.inf], atol=1e-9)


@pytest.mark.parametrize("made", [*EVERY_GENERATOR, alpha_divergence(-0.05)], ids=by_name)
def test_a_custom_conjugate_at_the_last_slope_is_the_exact_one(made):
    """Where tu − f(u) goes on rising, as for JS and Hellinger, it is infinite, and no large number."""
    mine, last = custom(made.f, at_zero=made.at_zero, at_infinity=made.at_infinity), np.array([made.at_infinity])
    assert mine.conjugate(last) == pytest.approx(made.conjugate(last), abs=1e-8)
