"""Rounds of correction: laws, limits, classes, periods and rates against brute force and known chains."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.theory.correction.test_composition import channels
from theory.correction.composition import answer_gains, compose
from theory.correction.examples import CORRECTOR, ROUNDS, resample_kernel
from theory.correction.repetition import best_round, convergence_rate, limit_law, recurrent_classes, round_laws, rounds
from theory.correction.users import edit_kernel, edit_limit
from theory.solution import CertificateError


def walk(n: int, up: float) -> sparse.csr_array:
    """A walk on n places with reflecting ends; stationary law ∝ (up/(1−up))ⁱ, λ₂ = 2√(up(1−up))·cos(π/n)."""
    kernel = sparse.diags_array([np.full(n - 1, 1 - up), np.full(n - 1, up)], offsets=[-1, 1]).tolil()
    kernel[0, 0], kernel[n - 1, n - 1] = 1 - up, up
    return kernel.tocsr()


def random_sparse(n: int, per_row: int, rng: np.random.Generator) -> sparse.csr_array:
    rows = np.repeat(np.arange(n), per_row)
    kernel = sparse.csr_array((rng.random(n * per_row), (rows, rng.integers(0, n, n * per_row))), shape=(n, n))
    return (sparse.diags_array(1 / kernel.sum(axis=1)) @ kernel).tocsr()


@given(channels(), st.integers(0, 6))
def test_rounds_are_powers(channel, k):
    pi, K = channel
    u = np.cos(np.arange(len(pi)))
    found = rounds(pi, K, u, k)
    assert found.shape == (k + 1,)
    for j in range(k + 1):
        assert found[j] == pytest.approx(pi @ np.linalg.matrix_power(K, j) @ u, abs=1e-12)
    assert rounds(pi, sparse.csc_array(K), u, k) == pytest.approx(found, abs=1e-14)
    if k:
        assert np.diff(found) == pytest.approx(round_laws(pi, K, k)[:-1] @ answer_gains(K, u), abs=1e-12)


@given(channels())
def test_limits_are_where_rounds_end(channel):
    pi, K = channel
    K = 0.1 * np.eye(len(pi)) + 0.9 * K  # aperiodic, any number of classes
    power = np.linalg.matrix_power(K, 2**15)
    assert limit_law(K, pi) == pytest.approx(pi @ power, abs=1e-10)
    if len(recurrent_classes(K).classes) == 1:
        assert limit_law(K) == pytest.approx(power[0], abs=1e-10)
        # in the end a round gains nothing, and somebody loses where not everything has the same worth
        gains = answer_gains(K, np.arange(len(pi)))
        assert limit_law(K) @ gains == pytest.approx(0.0, abs=1e-10)
    else:
        with pytest.raises(ValueError, match="recurrent classes"):
            limit_law(K)


@given(channels())
def test_rate_is_the_second_largest_modulus(channel):
    pi, K = channel
    K = 0.2 * np.eye(len(pi)) + 0.8 * K
    classes = len(recurrent_classes(K).classes)
    moduli = np.sort(np.abs(np.linalg.eigvals(K)))[::-1]
    assert moduli[:classes] == pytest.approx(1.0, abs=1e-7)
    assert convergence_rate(K) == pytest.approx(moduli[classes] if classes < len(pi) else 0.0, abs=1e-6)


def test_known_chains():
    for share in (0.1, 0.5, 1.0):
        target = np.array([0.2, 0.3, 0.5])
        assert limit_law(resample_kernel(share, target)) == pytest.approx(target, abs=1e-15)
        assert convergence_rate(resample_kernel(share, target)) == pytest.approx(1 - share, abs=1e-12)
    n = 9  # Ehrenfest's urn with a holding probability of 1/n
    urn = ROUNDS["line"]
    assert convergence_rate(urn.kernel) == pytest.approx(1 - 2 / n, abs=1e-12)
    assert limit_law(urn.kernel) == pytest.approx([math.comb(n - 1, i) / 2 ** (n - 1) for i in range(n)], abs=1e-15)
    over = ROUNDS["overcorrect"]
    assert best_round(over.policy, over.kernel, over.utilities, 20) == 2
    assert best_round(ROUNDS["resample"].policy, ROUNDS["resample"].kernel, ROUNDS["resample"].utilities, 20) == 20


def test_elimination_keeps_the_digits_of_tiny_probabilities():
    n, up = 200, 0.1
    ratio = up / (1 - up)
    law = limit_law(walk(n, up))
    assert law[-1] == pytest.approx(law[0] * ratio ** (n - 1), rel=1e-12)
    assert law[-1] < 1e-180


def test_large_kernels_by_iteration_and_by_factorisation(rng):
    n = 3000
    drifting = limit_law(walk(n, 0.3))  # neither of the walks settles within the rounds that iteration gets
    expected = np.exp(np.arange(n) * math.log(0.3 / 0.7))
    assert drifting == pytest.approx(expected / expected.sum(), abs=1e-14)
    assert limit_law(walk(n, 0.5)) == pytest.approx(1 / n, rel=1e-9)
    kernel = random_sparse(800, 20, rng)
    assert limit_law(kernel) == pytest.approx(round_laws(np.eye(800)[0], kernel, 60)[-1], abs=1e-14)


@pytest.mark.parametrize("n", [40, 501, 800])
def test_rates_of_small_and_large_kernels(n):
    """Ehrenfest's urn, with stationary probabilities down to 2⁻⁸⁰⁰."""
    uniform = np.full(n, 1 / n)
    assert convergence_rate(edit_kernel(uniform)) == pytest.approx(1 - 2 / n, abs=1e-9)
    assert limit_law(edit_kernel(uniform)) == pytest.approx(edit_limit(uniform), rel=1e-9, abs=1e-200)


def test_the_rate_of_a_drifting_walk_is_not_lost_to_rounding(monkeypatch):
    """Its eigenvectors span 95 orders of magnitude: unscaled, float64 eigenvalues are off by a quarter."""
    assert convergence_rate(walk(200, 0.1)) == pytest.approx(0.6 * math.cos(math.pi / 200), rel=1e-10)
    monkeypatch.setattr("theory.correction.repetition.MAX_RESTARTS", 5)
    with pytest.raises(CertificateError, match="was not found"):
        convergence_rate(walk(600, 0.1))  # hundreds of eigenvalues within a thousandth of the largest


def test_a_large_corrector_that_copies(rng):
    """Two good answers are copied; the limit is how often each is met, and its rate that of getting away."""
    n, good = 1500, [3, 900]
    found = sparse.csr_array((np.tile([0.06, 0.04], n), (np.repeat(np.arange(n), 2), np.tile(good, n))), shape=(n, n))
    kernel = sparse.lil_array(0.9 * random_sparse(n, 5, rng) + found)
    for answer in good:
        kernel[[answer]] = sparse.eye_array(n, format="csr")[[answer]]
    kernel, pi = kernel.tocsr(), rng.dirichlet(np.ones(n))
    law, late = limit_law(kernel, pi), round_laws(pi, kernel, 400)
    assert np.flatnonzero(law).tolist() == good
    assert law == pytest.approx(late[-1], abs=1e-12)
    left = 1.0 - late[:, good].sum(axis=1)
    assert convergence_rate(kernel) == pytest.approx(left[120] / left[119], rel=1e-6)


def test_a_million_entries_take_far_less_than_a_second_a_round(rng):
    n = 10_000
    kernel, pi, u = random_sparse(n, 100, rng), rng.dirichlet(np.ones(n)), rng.random(n)
    rounds(pi, kernel, u, 1)
    start = time.process_time()
    rounds(pi, kernel, u, 20)
    assert (time.process_time() - start) / 20 < 0.2
    law = limit_law(kernel)
    assert compose(law, kernel) == pytest.approx(law, abs=1e-14)


def test_structure_is_reported():
    kernel = np.zeros((6, 6))
    kernel[0, 1] = kernel[1, 0] = 1.0  # a circle of two
    kernel[2, 2] = 1.0  # left alone
    kernel[3, [0, 2]] = 0.5  # passing
    kernel[4, 5] = kernel[5, 3] = 1.0
    found = recurrent_classes(kernel)
    assert [members.tolist() for members in found.classes] == [[0, 1], [2]]
    assert found.periods == (2, 1)
    assert found.transient.tolist() == [3, 4, 5]
    circle = np.roll(np.eye(6), 1, axis=1)
    assert recurrent_classes(circle).periods == (6,)
    chord = 0.5 * circle + 0.5 * np.linalg.matrix_power(circle, 3)
    assert recurrent_classes(chord).periods == (2,)
    # stored zeros are no way out
    stored = sparse.csr_array((np.array([1.0, 0.0, 1.0]), ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    assert len(recurrent_classes(stored).classes) == 2


def test_an_entered_class_decides():
    """A periodic class that π never enters does not matter; one that it enters does."""
    kernel = np.zeros((3, 3))
    kernel[0, 1] = kernel[1, 0] = kernel[2, 2] = 1.0
    assert limit_law(kernel, [0.0, 0.0, 1.0]).tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="period 2"):
        limit_law(kernel, [0.1, 0.0, 0.9])


def test_a_missed_certificate_is_an_error(monkeypatch):
    monkeypatch.setattr("theory.correction.repetition._stationary", lambda block: np.full(block.shape[0], 1 / 6))
    with pytest.raises(CertificateError, match="residual"):
        limit_law(CORRECTOR)
