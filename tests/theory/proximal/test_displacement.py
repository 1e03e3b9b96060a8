"""theory/proximal/displacement.py: the path against its derivative, shares of random pairs against what is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from theory.proximal.displacement import band_accuracy, ches, chosen_displacement, displaced_share, pro_chosen


def test_the_path_begins_as_the_band_says_is_concave_and_ends_by_who_gains_most(rng):
    features, log_reference = rng.normal(size=(60, 5, 3)), np.log(rng.dirichlet(np.ones(5), 60))
    score = features - np.einsum("ry,ryd->rd", np.exp(log_reference), features)[:, None]
    apart = features[:, 0] - features[:, 1]
    rate = (score[:, 0] * (score[:, 0] - score[:, 1])).sum(axis=1) / (apart**2).sum(axis=1)
    at = np.array([1e-5, 1.0, 2.0, 3.0, 50.0, 5000.0])
    early, *middle, late, last = (chosen_displacement(log_reference, features, m) for m in at)
    np.testing.assert_allclose(early / at[0], rate, atol=1e-3)
    assert (middle[0] + middle[2] < 2.0 * middle[1]).all()
    assert (late <= 50.0 * rate).all()
    along = np.einsum("ryd,rd->ry", features, apart)
    np.testing.assert_array_equal(last > 0.0, along.argmax(axis=1) == 0)


def test_ches_sees_a_vector_that_no_policy_sees(rng):
    features, log_reference = rng.normal(size=(4, 3)), np.full(4, -np.log(4.0))
    moved = features + np.array([3.0, 0.0, -1.0])
    assert ches(features[0], features[1]) == pytest.approx(features[0] @ features[1] - features[0] @ features[0])
    assert chosen_displacement(log_reference, moved, 2.0) == pytest.approx(
        chosen_displacement(log_reference, features, 2.0)
    )
    assert abs(ches(moved[0], moved[1]) - ches(features[0], features[1])) > 0.1


@pytest.mark.parametrize(("n", "shared"), [(3, 1), (8, 1), (8, 2), (32, 5)])
def test_shares_of_random_pairs_without_features_of_their_own(n, shared):
    rho = np.sqrt(n / (2.0 * n - 2.0))
    start, end = (displaced_share(when, n, shared, 0.0) for when in ("start", "end"))
    assert start == pytest.approx(stats.f.cdf((1 - rho) / (1 + rho), shared, shared), abs=1e-9)
    if shared == 1:  # on a line the chosen response stays if it is an end of it: two of n, and on that side
        assert end == pytest.approx(1.0 - 2.0 / n, abs=1e-6)
    assert band_accuracy(n, shared, 0.0) == pytest.approx(1.0 - end + start, abs=1e-12)


@pytest.mark.parametrize(("shared", "own"), [(1, 0.4), (2, 0.7), (6, 0.0)])
def test_shares_given_how_far_a_pair_is_apart(shared, own):
    """Given R = ‖G_w − G_l‖, s_w·(s_w − s_l) is normal; and of three responses one other decides the end."""
    over = lambda share: stats.chi(shared).expect(lambda chi: share(np.sqrt(2.0) * chi))
    for n in (3, 8):
        falls = over(lambda r, n=n: stats.norm.cdf(-(0.5 * r + own**2 / r) / np.sqrt(0.5 - 1.0 / n)))
        assert displaced_share("start", n, shared, own) == pytest.approx(falls, abs=1e-7)
    stays = over(lambda r: stats.norm.cdf((0.5 * r + own**2 / r) / np.sqrt(1.5)))
    assert displaced_share("end", 3, shared, own) == pytest.approx(1.0 - stays, abs=1e-7)


def test_what_features_of_its_own_spare_a_response():
    for when in ("start", "end"):
        assert displaced_share(when, 2, 3, 0.3) == pytest.approx(0.0, abs=1e-9), "it cannot fall where there are two"
        shares = [displaced_share(when, 8, 2, own) for own in (0.0, 0.5, 1.0, 4.0)]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < 0.01
    with pytest.raises(ValueError, match="when"):
        displaced_share("later", 8, 2, 0.0)
    assert displaced_share("end", 6, 10**9, 1.0) == 0.0  # hardly two directions are alike
    assert displaced_share("end", 6, 4, 1e200) == 0.0


@pytest.mark.parametrize("n", [3, 8])
def test_the_level_under_pro_is_its_equation_s(n):
    alpha, kl_beta = 4.0, 0.5
    t = brentq(lambda t: expit(2 * t) + (n - 2) * expit(t) - 0.5 * (n - 1) - n**2 / (8.0 * alpha), 0.0, 50.0)
    weights = np.exp(np.array([0.0, -2.0 * t, *[-t] * (n - 2)]) / kl_beta) / n
    assert pro_chosen(n, alpha, kl_beta) == pytest.approx(-np.log(weights.sum()), abs=1e-9)
