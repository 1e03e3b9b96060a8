"""The threshold of PRO's optimum against all subsets, convergence and the error."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.proximal_tables import SEEDS, THIRDS, random_table
from theory.proximal.existence import existence_threshold, mixture_threshold, paper_threshold, separation
from theory.proximal.feedback import empirical_scores, feedback_scores
from theory.proximal.losses import regulariser
from theory.proximal.optimum import proximal_optimum, solve_rewards


def brute_threshold(signal: np.ndarray, weights: np.ndarray) -> float:
    best = 0.0
    for size in range(1, signal.size):
        for members in itertools.combinations(range(signal.size), size):
            S = list(members)
            best = max(best, 2 * abs(signal[S].sum()) / (weights[S].sum() * (1 - weights[S].sum())))
    return best


def recession(w, mu, alpha, d):
    """F∞(d) = −Σ w d + (α/4) Σ μμ'|d − d'|, the growth of the loss along r = t·d for t → ∞."""
    return -(w @ d) + 0.25 * alpha * mu @ np.abs(d[:, None] - d) @ mu


# The threshold.


def test_one_pair_needs_nine_eighths():
    scores, empirical = empirical_scores(3, [(0, 1)])
    assert existence_threshold(scores, empirical, THIRDS) == pytest.approx(9 / 8, rel=1e-15)
    assert paper_threshold(scores, empirical, THIRDS) == pytest.approx(9 / 4, rel=1e-15)
    assert mixture_threshold(2 / 3) == pytest.approx(9 / 4, rel=1e-15)


@given(SEEDS, st.integers(2, 12))
def test_threshold_is_the_maximum_over_all_subsets(seed, n):
    scores, empirical, mu = random_table(seed, n)
    w = scores * empirical
    found = separation(w, mu)
    if n <= 9:
        expected = brute_threshold(w, mu)
    else:
        subsets = np.array(list(itertools.product((0.0, 1.0), repeat=n)))[1:-1]
        expected = float(np.max(2 * np.abs(subsets @ w) / ((subsets @ mu) * ((1 - subsets) @ mu))))
    assert found.threshold == pytest.approx(expected, rel=1e-10)
    S = found.members  # the witness attains it
    assert 2 * w[S].sum() / (mu[S].sum() * mu[~S].sum()) == pytest.approx(expected, rel=1e-10)
    assert found.threshold <= paper_threshold(scores, empirical, mu) * (1 + 1e-12)
    # recession: F∞ is 0 at α* along the witness, negative below, positive above
    assert recession(w, mu, expected, S.astype(float)) == pytest.approx(0.0, abs=1e-12)
    assert recession(w, mu, 0.99 * expected, S.astype(float)) < 0
    direction = np.random.default_rng(seed).normal(size=n)
    assert recession(w, mu, 1.001 * expected, direction) > 0


@given(SEEDS, st.integers(2, 7), st.floats(1.01, 10.0))
def test_rewards_are_bounded_by_the_margin_over_the_threshold(seed, n, factor):
    """osc(r*) ≤ α·log 2/(2c), c = min_S (α/2)μ(S)(1 − μ(S)) − w(S): F(r) ≥ c·osc(r) − (α/2) log 2 and F(0) = 0."""
    scores, empirical, mu = random_table(seed, n)
    w = scores * empirical
    alpha = factor * separation(w, mu).threshold
    subsets = np.array(list(itertools.product((0.0, 1.0), repeat=n)))[1:-1]
    margin = float(np.min(0.5 * alpha * (subsets @ mu) * ((1 - subsets) @ mu) - subsets @ w))
    r, _ = solve_rewards(w, mu, alpha)
    assert np.ptp(r) <= alpha * math.log(2) / (2 * margin) * (1 + 1e-9)


def test_threshold_splits_convergence_from_divergence():
    """Newton finds the optimum just above α*; below, the loss falls without end along the witness."""
    scores, empirical, mu = random_table(2, 6)
    w = scores * empirical
    found = separation(w, mu)
    for excess in (1e-2, 1e-4, 1e-7, 1e-10):
        r, residual = solve_rewards(w, mu, found.threshold * (1 + excess))
        assert residual <= 1e-12
        assert np.ptp(r) == pytest.approx(math.log(1 / excess), abs=6)
    d = found.members.astype(float)
    values = [-(w @ (t * d)) + regulariser(t * d, mu, 0.99 * found.threshold) for t in (0.0, 50.0, 100.0, 200.0)]
    assert values[3] < values[2] < values[1]
    assert (values[3] - values[2]) / 100 == pytest.approx(recession(w, mu, 0.99 * found.threshold, d), rel=1e-6)


@pytest.mark.parametrize("factor", [0.5, 0.999999, 1.0])
def test_at_or_below_the_threshold_the_error_states_it(factor):
    scores, empirical = empirical_scores(3, [(0, 1)])
    with pytest.raises(ValueError, match=r"alpha\* = 1\.12(5|49)"):
        proximal_optimum(THIRDS, scores, empirical, THIRDS, factor * 9 / 8 * (1 - 1e-15), 0.1)


@pytest.mark.parametrize(
    ("scores", "empirical"),
    [
        feedback_scores(3, [0, 1, 2], [0.7, 0.7, 0.7]),
        feedback_scores(2, [0, 0, 0, 1, 1, 1], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),  # a third of both
        feedback_scores(2, np.arange(400) % 2, [1.0] * 20 + [0.0] * 380),
        empirical_scores(4, [(3, 2), (3, 2), (0, 3), (2, 3), (0, 3), (1, 0), (2, 1), (3, 0)]),
    ],
)
def test_responses_that_are_equally_good_are_no_signal(scores, empirical):
    """What rounding left of it had a mean beside its own size, and was refused."""
    assert not scores.any()
    assert existence_threshold(scores, empirical, np.full(scores.size, 1.0 / scores.size)) == 0.0


def test_scores_are_of_what_feedback_differs_by():
    near, shares = feedback_scores(2, [0, 1, 1], [1.0, 0.0, 0.25])
    assert near == pytest.approx([1.75 / 3, -1.75 / 6])
    far, _ = feedback_scores(2, [0, 1, 1], [1e14 + 1.0, 1e14, 1e14 + 0.25])
    assert far == pytest.approx(near, abs=1e-14)
    assert shares == pytest.approx([1 / 3, 2 / 3])


def test_binary_feedback_can_need_the_whole_of_one_over_eta_squared():
    """One good, one bad response and H at η = ⅔: α* = 9/4 = 1/η², where pairwise scores need 9/8."""
    scores, empirical = feedback_scores(3, [0, 1], [1.0, 0.0])
    assert existence_threshold(scores, empirical, THIRDS) == pytest.approx(mixture_threshold(2 / 3), rel=1e-14)


def test_threshold_of_a_million_responses():
    rng = np.random.default_rng(0)
    n = 10**6
    empirical, mu = (x / x.sum() for x in rng.random((2, n)) + 0.01)
    scores = rng.normal(size=n)
    scores -= empirical @ scores
    started = time.process_time()
    threshold = existence_threshold(scores, empirical, mu)
    assert time.process_time() - started < 2.0
    w = scores * empirical
    for cut in np.quantile(w / mu, [0.1, 0.3, 0.5, 0.7, 0.9]):
        S = w / mu > cut
        assert 2 * abs(w[S].sum()) / (mu[S].sum() * mu[~S].sum()) <= threshold * (1 + 1e-9)


def test_a_separating_set_of_tiny_mass_loses_no_digits():
    """The last response alone separates: its w is 1e-10 of the others', which a running sum would round away."""
    w = np.array([0.3, 0.7, -0.1, -0.9 + 1e-10, -1e-10])
    mu = np.array([0.2, 0.4, 0.1, 0.3 - 1e-13, 1e-13])
    assert separation(w, mu).threshold == pytest.approx(2 * 1e-10 / (1e-13 * (1 - 1e-13)), rel=1e-12)


def test_nothing_to_separate():
    assert separation(np.zeros(4), np.full(4, 0.25)).threshold == 0.0
    assert not separation(np.zeros(4), np.full(4, 0.25)).members.any()
    assert separation([0.0], [1.0]).threshold == 0.0
    np.testing.assert_allclose(proximal_optimum([0.2, 0.8], [0, 0], [0.5, 0.5], [0.5, 0.5], 1.0, 1.0), [0.2, 0.8])


@pytest.mark.filterwarnings("error")
def test_a_threshold_beyond_float64_is_infinite():
    assert existence_threshold([0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [1e-310, 0.5, 0.5]) == np.inf
