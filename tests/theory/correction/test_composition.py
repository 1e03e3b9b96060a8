"""The correction channel and its kernels: entropies by brute force, the bound's sides, gains, copying."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.integrate import solve_ivp
from scipy.special import expit, xlogy

from tests.oracles.strategies import distributions
from theory.correction.composition import (
    aligner_floor,
    answer_gains,
    bound_sides,
    compose,
    floors,
    gain,
    information_gain,
    sft_floor,
    transfer_bound,
)
from theory.correction.copying import copying_left, identity_mixture, unchanged_share
from theory.correction.examples import CORRECTOR, TRAINING, UPSTREAM, UTILITIES, edit_floors, edit_process
from theory.correction.kernels import check_kernel, dense, empirical_kernel, entries, row_entropies, values_at

FORMATS = [np.asarray, sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.lil_array, sparse.csr_matrix]
EXACT = 1e-12


@st.composite
def channels(draw: st.DrawFn, square: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A law (O,) and a kernel (O, C), entries 0 among them."""
    O = draw(st.integers(2, 5))  # noqa: E741
    C = O if square else draw(st.integers(1, 5))
    raw = np.array(draw(st.lists(st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0]), min_size=C, max_size=C),
                                 min_size=O, max_size=O)))  # fmt: skip
    raw[np.arange(O), np.arange(O) % C] += 0.5
    return draw(distributions(O)), raw / raw.sum(axis=1, keepdims=True)


def entropy(p: np.ndarray) -> float:
    return -float(xlogy(p, p).sum())


# A1.


@given(channels(square=False))
def test_floors_are_the_entropies_of_the_joint_law(channel):
    pi, K = channel
    joint = pi[:, None] * K
    assert aligner_floor(pi, K) == pytest.approx(entropy(joint) - entropy(pi), abs=EXACT)
    assert sft_floor(pi, K) == pytest.approx(entropy(joint.sum(axis=0)), abs=EXACT)
    product = np.outer(pi, joint.sum(axis=0))
    kl = float(np.sum(xlogy(joint, joint) - xlogy(joint, product)))
    assert information_gain(pi, K) == pytest.approx(kl, abs=EXACT)
    assert sft_floor(pi, K) - aligner_floor(pi, K) == pytest.approx(kl, abs=EXACT)


@given(channels(), st.sampled_from(FORMATS[1:]))
def test_sparse_kernels_give_the_same_numbers(channel, convert):
    pi, K = channel
    S, u = convert(K), np.arange(len(pi)) / len(pi)
    for function in (compose, aligner_floor, sft_floor, information_gain, unchanged_share):
        assert function(pi, S) == pytest.approx(function(pi, K), abs=1e-14), function.__name__
    assert gain(pi, S, u) == pytest.approx(gain(pi, K, u), abs=1e-14)
    mixed = identity_mixture(S, 0.3)
    assert sparse.issparse(mixed)
    assert mixed.toarray() == pytest.approx(identity_mixture(K, 0.3), abs=1e-14)
    other = 0.5 * K + 0.5 * np.roll(K, 1, axis=1)
    first, second = bound_sides(pi, K, other), bound_sides(pi, S, convert(other))
    assert tuple(vars(first).values()) == pytest.approx(tuple(vars(second).values()), abs=1e-12)


def test_floors_of_an_edit_process_are_those_of_its_tokens():
    for edit_rate in (0.0, 0.02, 0.3, 0.75, 1.0):
        for length in (1, 2, 3):
            process = edit_process(edit_rate, length)
            found = floors(process.prompts, process.policies, process.kernels)
            known = edit_floors(edit_rate, length)
            assert vars(found) == pytest.approx(vars(known), abs=1e-12)
    assert edit_floors(0.75).gain == pytest.approx(0.0, abs=1e-15)  # every edited token is uniform: nothing is learnt


def test_copying_and_ignoring_are_the_ends():
    pi = np.array([0.2, 0.3, 0.5])
    assert aligner_floor(pi, np.eye(3)) == 0.0
    assert information_gain(pi, np.eye(3)) == pytest.approx(entropy(pi), abs=EXACT)
    assert information_gain(pi, np.tile(pi, (3, 1))) == 0.0


def test_information_is_right_for_probabilities_that_underflow():
    K = np.array([[1.0 - 1e-300, 1e-300], [0.5, 0.5]])
    assert information_gain([1.0, 0.0], K) == 0.0
    assert information_gain([1e-300, 1.0], K) == pytest.approx(1e-300 * math.log(2.0), abs=1e-310)


# A2.


@given(channels(), st.floats(0.0, 1.0))
def test_the_bound_holds_and_its_slack_is_the_posterior(channel, share):
    pi, K = channel
    model = share * K + (1 - share) / len(pi)
    sides = bound_sides(pi, K, model)
    assert sides.composed <= sides.correction + sides.prior + EXACT
    assert sides.slack == pytest.approx(sides.correction + sides.prior - sides.composed, abs=1e-10)
    assert sides.naive_gap == pytest.approx(sides.correction - sides.composed, abs=1e-10)
    assert sides.composed <= sides.independent + EXACT
    joint = pi[:, None] * K
    equivocation = entropy(joint) - entropy(joint.sum(axis=0))
    assert sides.slack >= equivocation - EXACT
    assert bound_sides(pi, K).slack == pytest.approx(equivocation, abs=EXACT)


@given(channels())
def test_the_naive_form_fails_by_the_information(channel):
    pi, K = channel
    assert bound_sides(pi, K).naive_gap == pytest.approx(-information_gain(pi, K), abs=EXACT)


def test_the_counterexample():
    sides = bound_sides([0.5, 0.5], np.eye(2))
    assert sides.composed == pytest.approx(math.log(2.0))
    assert (sides.correction, sides.slack) == (0.0, 0.0)
    assert (sides.independent, sides.jensen_gap) == (math.inf, math.inf)


def test_jensens_gap_is_the_divergence_of_the_independent_law():
    pi, K = TRAINING, 0.9 * CORRECTOR + 0.1 / 6
    joint = pi[:, None] * K
    product = np.outer(pi, joint.sum(axis=0))
    assert bound_sides(pi, K).jensen_gap == pytest.approx(float((product * np.log(product / joint)).sum()), abs=EXACT)


def test_a_model_that_rules_out_data_costs_infinitely_much():
    K = np.array([[0.5, 0.5], [0.5, 0.5]])
    for model in (np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])):
        sides = bound_sides([0.5, 0.5], K, model)
        assert (sides.correction, sides.slack, sides.naive_gap) == (math.inf,) * 3
        assert not any(math.isnan(value) for value in vars(sides).values())


# A3.


@given(channels(), st.floats(0.0, 1.0), st.data())
def test_gain_is_linear_and_between_its_ends(channel, share, data):
    pi, K = channel
    other = data.draw(distributions(len(pi)))
    u = np.cos(np.arange(len(pi)))
    mixed = share * pi + (1 - share) * other
    assert gain(mixed, K, u) == pytest.approx(share * gain(pi, K, u) + (1 - share) * gain(other, K, u), abs=EXACT)
    assert gain(pi, K, u) == pytest.approx(compose(pi, K) @ u - pi @ u, abs=EXACT)
    assert answer_gains(K, u).min() - EXACT <= gain(pi, K, u) <= answer_gains(K, u).max() + EXACT


def test_examples_gain_less_the_better_they_are():
    gains = [gain(policy, CORRECTOR, UTILITIES) for policy in UPSTREAM.values()]
    utilities = [float(policy @ UTILITIES) for policy in UPSTREAM.values()]
    assert sorted(utilities) == utilities
    assert sorted(gains, reverse=True) == gains
    assert gains[0] > 0.4
    assert gains[-1] < 0.0


@given(channels(), st.floats(0.0, 3.0), st.data())
def test_transfer_bound_holds(channel, spread, data):
    pi, K = channel
    K = 0.9 * K + 0.1 / len(pi)
    trained = data.draw(distributions(len(pi)))
    wrong = K * np.exp(spread * np.sin(7.0 * np.arange(K.size))).reshape(K.shape)
    wrong /= wrong.sum(axis=1, keepdims=True)
    u = np.cos(np.arange(len(pi)))
    excess = max(0.0, float((trained[:, None] * K * np.log(K / wrong)).sum()))
    assert abs(pi @ (wrong - K) @ u) <= transfer_bound(pi, trained, excess, u) + EXACT


def test_transfer_bound_is_nearly_attained_and_capped():
    delta = 1e-3
    excess = -0.5 * math.log1p(-4 * delta**2)  # KL(½ ‖ ½ ± δ)
    assert transfer_bound([1.0], [1.0], excess, [1.0]) == 0.0
    bound = transfer_bound([0.5, 0.5], [0.5, 0.5], excess, [1.0, 0.0])
    assert bound == pytest.approx(delta, rel=1e-5)
    assert transfer_bound([0.5, 0.5], [1.0, 0.0], 0.0, [2.0, -1.0]) == 3.0
    assert transfer_bound([0.5, 0.5], [0.5, 0.5], 100.0, [2.0, -1.0]) == 3.0


# A5.


def test_identity_mixture_is_the_law_of_the_mixed_data():
    """Joint training sees q·π_id(o)·1{c = o} + (1−q)·π_qac(o)·K(c|o): its conditional law is the kernel."""
    identity, corrections = UPSTREAM["strong"], TRAINING
    for share in (0.0, 0.2, 0.7, 1.0):
        joint = share * np.diag(identity) + (1 - share) * corrections[:, None] * CORRECTOR
        if (joint.sum(axis=1) == 0).any():
            continue
        expected = joint / joint.sum(axis=1, keepdims=True)
        assert identity_mixture(CORRECTOR, share, identity, corrections) == pytest.approx(expected, abs=EXACT)
        same = identity_mixture(CORRECTOR, share, corrections, corrections)
        assert same == pytest.approx(identity_mixture(CORRECTOR, share), abs=EXACT)
        assert unchanged_share(corrections, same) == pytest.approx(
            share + (1 - share) * corrections @ np.diag(CORRECTOR), abs=EXACT
        )


@pytest.mark.parametrize("n_edits", [1, 5])
@pytest.mark.parametrize("copy", [0.0, 0.2, 0.9])
def test_copying_left_solves_its_equation(copy, n_edits):
    pace = 1 + 1 / n_edits
    times = np.array([0.0, 0.5, 3.0, 30.0])
    warm = solve_ivp(lambda t, s: pace * (1 - expit(s)), (0, 4.0), [-math.log(n_edits)], rtol=1e-11, atol=1e-12)
    path = solve_ivp(
        lambda t, s: pace * (copy - expit(s)), (0, 30.0), warm.y[:, -1], "LSODA", times, rtol=1e-11, atol=1e-12
    )
    assert copying_left(copy, n_edits, 4.0, times) == pytest.approx(expit(path.y[0]), abs=1e-8)


def test_copying_is_forgotten_like_one_over_t_where_corrections_never_copy():
    late = copying_left(0.0, 3, 20.0, np.array([1e4, 1e5]))
    assert late * np.array([1e4, 1e5]) * (1 + 1 / 3) == pytest.approx(1.0, rel=3e-3)
    assert copying_left(0.4, 3, 20.0, 1e4) == pytest.approx(0.4, abs=1e-12)


# Kernels.


def test_kernels_are_read_and_not_changed():
    repeated = sparse.coo_array(([0.25, 0.25, 0.5, 1.0, 0.0], ([0, 0, 0, 1, 1], [0, 0, 1, 1, 0])), shape=(2, 2))
    checked = check_kernel(repeated)
    assert dense(checked) == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert repeated.nnz == 5
    listed = sparse.csr_array(([0.25, 0.25, 0.5, 1.0], [0, 0, 1, 1], [0, 3, 4]), shape=(2, 2))
    assert row_entropies(check_kernel(listed)) == pytest.approx([math.log(2.0), 0.0])
    assert listed.nnz == 4
    assert entries(checked).probability.tolist() == [0.5, 0.5, 1.0]
    assert row_entropies(checked) == pytest.approx([math.log(2.0), 0.0])
    for convert in FORMATS:
        K = check_kernel(convert(CORRECTOR))
        found = values_at(K, np.array([0, 4, 1]), np.array([3, 4, 0]))
        assert found.tolist() == [CORRECTOR[0, 3], CORRECTOR[4, 4], 0.0]
        assert row_entropies(K) == pytest.approx([entropy(row) for row in CORRECTOR], abs=EXACT)


def test_empirical_kernel_counts():
    K = empirical_kernel(3, [0, 0, 1, 2, 0], [1, 1, 1, 0, 2])
    assert dense(K) == pytest.approx(np.array([[0, 2 / 3, 1 / 3], [0, 1, 0], [1, 0, 0]]))
    assert sparse.issparse(K)
