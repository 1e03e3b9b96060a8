"""Predictions of A1–A7 from the definitions on their examples: sums and powers written out, the paper's fractions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.correction import predictions as predict
from theory.correction.examples import (
    CORRECTOR,
    IDENTITY_LAWS,
    PROMPTS,
    ROUNDS,
    TOKENS,
    UPSTREAM,
    UTILITIES,
    WORST_CORRECTORS,
    WORST_POLICY,
)


def entropy(law: np.ndarray) -> float:
    return -float(np.sum(law * np.log(law)))


def test_floors_of_edited_words():
    """Two tokens, each kept with probability .7 or made one of three others: entropies add up over tokens."""
    kernel = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    sft = sum(weight * 2 * entropy(law @ kernel) for weight, law in zip(PROMPTS, TOKENS, strict=True))
    assert predict.floor("aligner", 0.3) == pytest.approx(2 * entropy(kernel[0]), rel=1e-12)
    assert predict.floor("sft", 0.3) == pytest.approx(sft, rel=1e-12)


@pytest.mark.parametrize("upstream", UPSTREAM)
def test_corrections_of_an_upstream_model(upstream):
    pi = UPSTREAM[upstream]
    stacked = [sum(pi[o] * CORRECTOR[o, c] for o in range(6)) for c in range(6)]
    assert [predict.stacked_share(upstream, c) for c in range(6)] == pytest.approx(stacked, rel=1e-12)
    assert predict.gain(upstream) == pytest.approx(sum(stacked * UTILITIES) - sum(pi * UTILITIES), abs=1e-14)


@pytest.mark.parametrize("corrector", ["aligner", "resample"])
def test_rounds_by_powers(corrector):
    r = ROUNDS[corrector]
    for k in (0, 1, 3):
        after = r.policy @ np.linalg.matrix_power(r.kernel, k) @ r.utilities
        assert predict.utility_after(corrector, k) == pytest.approx(after, rel=1e-12)
    far = r.policy @ np.linalg.matrix_power(r.kernel, 4096) @ r.utilities
    assert predict.limit_utility(corrector) == pytest.approx(far, rel=1e-11)
    second = sorted(np.abs(np.linalg.eigvals(r.kernel)))[-2]
    assert predict.log_rate(corrector) == pytest.approx(math.log(second), rel=1e-9)


@pytest.mark.parametrize("laws", IDENTITY_LAWS)
def test_copying_after_joint_training(laws):
    """A pair that starts from o is an identity pair with odds q π_id(o) : (1 − q) π_qac(o)."""
    identity, corrections = IDENTITY_LAWS[laws]
    weight = 0.3 * identity / (0.3 * identity + 0.7 * corrections)
    copied = weight + (1 - weight) * np.diag(CORRECTOR)
    assert [predict.copied(0.3, laws, o) for o in range(6)] == pytest.approx(list(copied), rel=1e-12)
    assert predict.unchanged(0.3, laws, "raw") == pytest.approx(sum(UPSTREAM["raw"] * copied), rel=1e-12)


@pytest.mark.parametrize("kl_beta", [0.6, 0.8, 2.0])
def test_repeated_dpo_shrinks_by_one_less_its_inverse_weight(kl_beta):
    assert predict.repeated_dpo(kl_beta) == pytest.approx(math.log(abs(1 - 1 / kl_beta)), abs=1e-9)


def test_what_users_corrections_cost():
    """1/c and 1/(c(π₁ + π₂)); (1 − π₁)/c and π₄/((π₄ + π₁)c); on a line the fractions of odd A."""
    first, second, *_, last = sorted(WORST_POLICY)
    c = min(WORST_CORRECTORS)
    assert predict.worst("favourite", "distortion") == pytest.approx(1 / c)
    assert predict.worst("step", "distortion") == pytest.approx(1 / (c * (first + second)))
    assert predict.worst("favourite", "harm") == pytest.approx((1 - first) / c)
    assert predict.worst("step", "harm") == pytest.approx(last / ((last + first) * c))
    for A in (3, 9):
        assert predict.favourites_on_a_line(A) == pytest.approx(0.75 * (3 * A - 1) / (2 * A - 1), rel=1e-12)
        assert predict.edits_settle("uniform", A) == pytest.approx((3 * A - 1) / (3 * A - 2), rel=1e-12)
        assert predict.edits_after(A, 20 * A) == pytest.approx((3 * A - 1) / (3 * A - 2), rel=1e-6)
