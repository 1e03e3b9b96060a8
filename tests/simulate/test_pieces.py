"""Pieces of experiments against the same quantity found another way: no check sees them where its effort is small."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linprog
from scipy.special import expit, log_softmax, softmax
from scipy.stats import beta as beta_law
from scipy.stats import binom

from simulate.best_of_n import pessimism, rejection
from simulate.correction import channels
from simulate.density_ratio import ratios, samples
from simulate.distortion import audit, few, win_rates
from simulate.divergences import data
from simulate.montecarlo import Estimate, generator
from simulate.people.readers import read_people
from simulate.profiles import PROFILES
from simulate.softmax import log_softmax as ours
from simulate.softmax import through_softmax, train
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import EXAMPLES
from theory.distortion.factors import linear_factor
from theory.distortion.few import safe_margin
from theory.social_choice.pairwise import borda_scores

SMOKE, CPU = PROFILES["smoke"], PROFILES["cpu"]


def test_ids_that_count_down_are_ids_too(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["code,a,b", *(f"{900 - 7 * i},{a},{b}" for i, (a, b) in enumerate(rng.integers(1, 6, (8, 2))))]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="column 'code' may be an id"):
        read_people(tmp_path / "r.csv", scale=(1.0, 900.0))


def test_the_excess_of_a_plug_in_distance_is_that_of_drawn_points():
    """Means and covariances of points in place of their laws, and no control variate."""
    separation, n, d, count = 1.0, 40, 2, 2000
    found = data.plug_in_excess(separation, d, n, rng=generator(0, "excess"), profile=CPU)
    points = generator(1, "points").normal(size=(2, count, n, d))
    points[1, :, :, 0] += separation
    means = points.mean(axis=2)
    centred = points - means[:, :, None]
    covs = np.einsum("csni,csnj->csij", centred, centred) / (n - 1)
    shift, middle = means[1] - means[0], covs.mean(axis=0)
    quadratic = np.einsum("si,sij,sj->s", shift, np.linalg.inv(middle), shift)
    logs = np.log(np.linalg.det(middle)) / 2 - np.log(np.linalg.det(covs)).sum(axis=0) / 4
    excess = n * (quadratic / 8 + logs - separation**2 / 8)
    assert found.stderr < 0.5 * excess.std() / math.sqrt(2 * CPU.replicates)  # the control variate is worth it
    error = math.hypot(found.stderr, excess.std() / math.sqrt(count))
    assert found.value == pytest.approx(excess.mean(), abs=4 * error)


def test_survivors_from_the_top_are_those_of_all_rows():
    v, n, keep = np.array([0.3, 0.7]), 60, np.array([0.1, 0.5])
    top = rejection._from_the_top(n, v, keep, 40_000, generator(0, "top"))
    whole = rejection.progressive(v, survivor_counts(n, keep, 2), 40_000, generator(1, "whole"))
    assert top.value == pytest.approx(whole.mean(), abs=4 * math.hypot(top.stderr, whole.std() / math.sqrt(whole.size)))


@pytest.mark.parametrize("alpha", [0.2, 0.5])
def test_the_ratio_of_a_pooled_batch(alpha):
    found = ratios.ratio_of_reduction(alpha, "pooled", rng=generator(0), profile=SMOKE)
    mixed = alpha * alpha * 0.5 + (1 - alpha) * (1 - alpha) * 0.2  # in a batch with a share α of chosen examples
    assert found.value == pytest.approx(alpha * 0.5 / mixed, rel=1e-6)


def test_the_error_of_a_sampled_variance_is_relative_to_the_same_bound():
    found = samples.worst_against_bound(0.3, rng=generator(0, "worst"), profile=SMOKE)
    assert found.stderr / found.value == pytest.approx(math.sqrt(2.0 / found.n), rel=0.25)


def test_an_interval_that_ends_at_the_truth_has_ratio_one(monkeypatch):
    monkeypatch.setattr(audit, "audit", lambda P, pi, beta: SimpleNamespace(upper=2.0))
    monkeypatch.setattr(audit, "distortion", lambda population, pi: 4.0)
    assert audit.contains(2, "borda", rng=generator(0), profile=SMOKE).value == 0.5


def test_utilities_of_the_least_gain_reach_zero_and_one(monkeypatch):
    seen = {}
    monkeypatch.setattr(channels, "_climb", lambda value, shape, rng, profile: seen.update(value=value, shape=shape))
    channels.least_gain(3, rng=generator(0), profile=SMOKE)
    logits = np.random.default_rng(0).normal(size=seen["shape"])
    kernel, u = 0.999 * np.exp(log_softmax(logits[1:], axis=-1)) + 0.001 / 3, expit(logits[0])
    u = np.interp(u, [u.min(), u.max()], [0.0, 1.0])
    assert seen["value"](logits) == pytest.approx(float((kernel @ u - u).min()))


def test_how_often_an_unsafe_pair_is_called_safe():
    """The binomial law of wins at the margin that is just not safe; Clopper and Pearson's bound by its beta law."""
    beta, n = 5.0, 200
    found = few.called_safe(beta, n, rng=generator(0, "safe"), profile=CPU)
    margin = safe_margin((1.0 + linear_factor(beta)) / 2.0, beta)
    wins = np.arange(n + 1)
    low = np.concatenate(([0.0], beta_law.ppf(0.05, wins[1:], n - wins[1:] + 1)))
    expected = binom.pmf(wins, n, 0.5 + margin)[low > 0.5 + margin].sum()
    assert found.value == pytest.approx(expected, abs=4 * math.sqrt(expected / (20 * CPU.replicates)))


@pytest.mark.parametrize(("each", "together"), [(0.1, 0.2), (0.02, 0.2), (0.45, 0.9)])
def test_the_worst_borda_winner_is_that_of_types_one_by_one(each, together, monkeypatch):
    """The same populations, with Borda scores from tables of their win rates."""
    levels, beta = np.array([0.0, 0.05, 0.4, 1.0]), 4.0
    monkeypatch.setattr(few, "COARSE", levels)
    monkeypatch.setattr(few, "FINE", levels)
    mu = np.array([together - each, each, 1.0 - together])
    types = [np.array(u) for u in itertools.product(levels, repeat=3)]
    scores = np.array([borda_scores(expit(beta * (u[:, None] - u)), mu) for u in types])
    c, a = (np.array([u[k] for u in types]) for k in (0, 1))
    rivals = [scores[:, 1] - scores[:, 0], scores[:, 2] - scores[:, 0]]
    found = linprog(-a, A_ub=rivals, b_ub=[0.0, 0.0], A_eq=[c], b_eq=[1.0])
    assert few.worst_borda(beta, each, together) == pytest.approx(-found.fun, rel=1e-9)


def test_rlhf_is_compared_to_nlhf_by_a_ratio(monkeypatch):
    monkeypatch.setattr(win_rates, "rlhf_in_ball", lambda *_, **__: Estimate(6.0))
    monkeypatch.setattr(win_rates, "nlhf_on_i6", lambda *_, **__: Estimate(2.0))
    assert win_rates.rlhf_above_nlhf(1.0, rng=generator(0, "ratio"), profile=SMOKE).value == pytest.approx(math.log(3))


def test_the_first_step_is_of_the_peak_rate():
    """Adam's first step is rate · sign of the gradient, and half a cosine starts at the peak."""
    found = train(lambda _: lambda log_policy: (0.0, np.array([[1.0, -1.0]])), np.zeros((1, 2)), steps=1, rate=0.25)
    assert np.ptp(found.log_policy) == pytest.approx(0.5)


@pytest.mark.parametrize("beta", [1e-3, 0.5, 20.0])
def test_the_level_of_a_row_is_the_largest_over_sets_of_responses(beta, rng):
    """relu is the larger of two lines: λ is the largest (Σ_S weights·rewards − β) ÷ Σ_S weights over sets S."""
    weights, rewards = rng.dirichlet(np.full(5, 0.4), 40), rng.normal(size=(40, 5))
    sets = np.array(list(itertools.product([0.0, 1.0], repeat=5))[1:])
    expected = (((weights * rewards) @ sets.T - beta) / (weights @ sets.T)).max(axis=1)
    np.testing.assert_allclose(pessimism.levels(weights, rewards, beta), expected, rtol=1e-9, atol=1e-9)
    each = beta * (1.0 + np.arange(40.0))
    by_row = [pessimism.levels(weights[[i]], rewards[[i]], each[i])[0] for i in range(40)]
    np.testing.assert_allclose(pessimism.levels(weights, rewards, each), by_row, rtol=1e-12)


def test_the_softmax_and_its_gradient_are_the_usual_ones(rng):
    logits, gradient, near = 30.0 * rng.normal(size=(4, 3, 6)), rng.normal(size=(4, 3, 6)), 1e-6
    np.testing.assert_array_equal(ours(logits), log_softmax(logits, axis=-1))
    logits /= 30.0
    pi = softmax(logits, axis=-1)
    jacobian = np.eye(6) - pi[..., None, :]  # of log π_i by θ_j
    expected = np.einsum("...i,...ij->...j", gradient, jacobian)
    np.testing.assert_allclose(through_softmax(np.log(pi), gradient), expected, atol=1e-12)
    step = near * rng.normal(size=logits.shape)
    change = ((ours(logits + step) - ours(logits - step)) * gradient).sum() / 2.0
    assert change == pytest.approx((expected * step).sum(), rel=1e-6)


@pytest.mark.parametrize("name", ["linear", "gamma", "lognormal"])
@pytest.mark.parametrize("n", [2, 37, 1000])
def test_the_mean_of_a_maximum_is_the_mean_of_its_quantiles(name, n):
    """F of the best of n rows is uniform's Fⁿ: the mean of ppf(U^{1/n}), with U in even steps."""
    example = EXAMPLES[name]
    k = example.shape
    law = stats.gamma(k, -math.sqrt(k), 1.0 / math.sqrt(k)) if k else stats.norm()
    u = ((np.arange(20_000) + 0.5) / 20_000) ** (1.0 / n)
    expected = example.transform(law.ppf(u)).mean()
    assert rejection._mean_maximum(example, n) == pytest.approx(expected, rel=1e-3)
