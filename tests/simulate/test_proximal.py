"""simulate/proximal*.py: its losses are those of theory with right gradients, and its experiments judge the claims."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulate.proximal.losses import (
    descend,
    edpo,
    of_rewards,
    population_dpo,
    pro_binary,
    pro_pairs,
    pro_scalar,
    sampled_dpo,
    to_optimum,
    with_hyper,
)
from simulate.proximal.tables import threshold_over_subsets
from tests.oracles.experiments import CHECKS, broken, judge, judged, measure
from tests.oracles.pro_losses import pro_binary_loss, pro_pairwise_loss, pro_scalar_loss
from theory.proximal import claims, descent
from theory.proximal.losses import dpo_loss, edpo_loss

# Every loss: value as in theory, gradient as by differences.

LOG_REF = np.log([0.3, 0.2, 0.4, 0.1])
P = np.array([[0.5, 0.7, 0.2, 0.6], [0.3, 0.5, 0.9, 0.5], [0.8, 0.1, 0.5, 0.5], [0.4, 0.5, 0.5, 0.5]])
MU = np.array([0.4, 0.3, 0.2, 0.1])
PAIR = np.array([0, 1])
ONE_PAIR_P, HALVES = np.array([[0.5, 1.0], [0.0, 0.5]]), np.array([0.5, 0.5])
LOSSES = {
    "dpo": of_rewards(population_dpo(P, MU), LOG_REF, 0.7),
    "sampled": of_rewards(sampled_dpo(np.array([[0, 1], [2, 1], [0, 3]])), LOG_REF, 0.7),
    "edpo": of_rewards(edpo(MU * (P @ MU - 0.5), MU, 1.0), LOG_REF, 0.7),
    "pairs": with_hyper(pro_pairs(ONE_PAIR_P, HALVES, 2 / 3), PAIR, LOG_REF, 0.7),
    "binary": with_hyper(pro_binary(0.5, 2.5), PAIR[:1], LOG_REF, 0.7),
    "printed": with_hyper(pro_binary(0.5, 2.5, "printed"), PAIR[:1], LOG_REF, 0.7),
    "zero": with_hyper(pro_binary(0.5, 2.5, "zero"), PAIR[:1], LOG_REF, 0.7),
    "scalar": with_hyper(pro_scalar(np.array([0.4, -0.1]), 2.0), PAIR, LOG_REF, 0.7),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    x, step = np.log([0.25, 0.35, 0.3, 0.1]), 1e-6
    numeric = [(LOSSES[name](x + step * e)[0] - LOSSES[name](x - step * e)[0]) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(LOSSES[name](x)[1], numeric, atol=1e-9)


def test_values_are_those_of_theory():
    pi, reference = np.array([0.25, 0.35, 0.3, 0.1]), np.exp(LOG_REF)
    x = np.log(pi)
    scores = P @ MU - 0.5
    assert LOSSES["dpo"](x)[0] == pytest.approx(dpo_loss(pi, reference, P, MU, 0.7), abs=1e-14)
    linear = 0.7 * (MU * scores) @ LOG_REF  # theory writes log π, training r
    assert LOSSES["edpo"](x)[0] == pytest.approx(edpo_loss(pi, reference, scores, MU, MU, 1.0, 0.7) + linear, abs=1e-14)
    pair = pro_pairwise_loss(x[:2], LOG_REF[:2], 2.25, 0.7)
    assert LOSSES["pairs"](x)[0] == pytest.approx(pair + 0.5 * math.log(2), abs=1e-14)
    assert LOSSES["binary"](x)[0] == pytest.approx(pro_binary_loss(x[0], LOG_REF[0], 0.5, 2.5, 0.7), abs=1e-14)
    assert LOSSES["zero"](x)[0] == pytest.approx(pro_binary_loss(x[0], LOG_REF[0], 0.5, 2.5, 0.7, "zero"), abs=1e-14)
    scalar = pro_scalar_loss(x[:2], LOG_REF[:2], [0.4, -0.1], 2.0, 0.7)
    assert LOSSES["scalar"](x)[0] == pytest.approx(scalar, abs=1e-14)


def test_training_finds_a_known_optimum_and_says_so_only_there():
    found = to_optimum(of_rewards(pro_binary(0.5, 2.5), LOG_REF[:2], 0.1), np.zeros(2))
    r = 0.1 * (found - LOG_REF[:2])
    assert r[0] - r[1] == pytest.approx(math.log(7 / 3), abs=1e-12)
    path = descend(of_rewards(pro_binary(0.5, 0.9), LOG_REF[:2], 1.0), np.eye(2), LOG_REF[:2], 10.0, 1000)
    assert path[-1, 0] - path[-1, 1] > 100.0  # no optimum: the descent runs away


def test_descent_with_the_identity_is_descent_on_logits():
    loss = LOSSES["edpo"]
    path = descend(loss, np.eye(4), LOG_REF, 0.5, 1)
    gradient = loss(LOG_REF)[1]
    logits = LOG_REF - 0.5 * (gradient - np.exp(LOG_REF) * gradient.sum())
    np.testing.assert_allclose(path[1], logits - np.logaddexp.reduce(logits), atol=1e-14)


# A broken formula is caught.


def first(key):
    return judge(key, CHECKS[key].settings[0])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("pair_log_ratio", ["P9.gap"]),
        ("binary_log_ratio", ["P10.gap", "P13.log_ratio"]),
        ("paper_binary_gap", ["P10.printed"]),
        ("zero_hyper_binary_gap", ["P10.zero_hyper"]),
        ("scalar_log_ratio", ["P11.gap"]),
        ("binary_threshold", ["P13.threshold"]),
        ("existence_threshold", ["P7.one_pair"]),
        ("proximal_optimum", ["P1.policy"]),
        ("irreproducible_dimension", ["P14.dimension"]),
        ("start_spread", ["P14.start"]),
        ("coupled_direction", ["P14.direction"]),
        ("run_range", ["P14.dpo"]),
    ],
)
def test_a_formula_off_by_a_millionth_is_caught(monkeypatch, name, keys):
    assert {first(key) for key in keys} == {"agrees"}
    wrong = lambda right: lambda *arguments, **options: (1 + 1e-6) * right(*arguments, **options)
    for key in keys:
        with monkeypatch.context() as patch:
            check = broken(patch, key, claims, name, wrong)
            assert judged(check, check.settings[0], measure(key, check.settings[0])) == "disagrees"


def test_a_wrong_score_is_caught(monkeypatch):
    right = claims.empirical_scores

    def doubled(n_responses, pairs):
        scores, empirical = right(n_responses, pairs)
        return 2 * scores, empirical

    for module in (claims, descent):
        monkeypatch.setattr(module, "empirical_scores", doubled)
    assert first("P5.path") == first("P12.path") == first("P7.one_pair") == "disagrees"


def test_subsets_by_hand():
    assert threshold_over_subsets(np.array([0.125, -0.125, 0.0]), np.full(3, 1 / 3)) == pytest.approx(9 / 8)
