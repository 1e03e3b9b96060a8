"""What bad input of the topic is told: one sentence that names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.best_of_n import cost, gaussian, law, metrics, order_statistics, processes, rejection, schedule


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cost.speculative_tokens(8, (3, 3), 0.5, 10), r"times\[1\] = 3"),
        (lambda: cost.speculative_tokens(8, (3, 11), 0.5, 10), r"times\[1\] = 11"),
        (lambda: cost.speculative_tokens(8, (0,), 0.5, 10), r"times\[0\] = 0"),
        (lambda: cost.speculative_tokens(8, (math.nan,), 0.5, 10), r"times\[0\] = nan"),
        (lambda: cost.speculative_tokens(0, (3,), 0.5, 10), "n = 0"),
        (lambda: cost.speculative_tokens(8, (3,), -0.5, 10), r"keep\[0\] = -0.5"),
        (lambda: cost.speculative_tokens(8, (3,), 0.5, 0), "length = 0"),
        (lambda: cost.speedup(8, (0.5, 0.6), (3,), 0.5, 10), "explained_variance must have"),
        (lambda: cost.speedup(8, (1.5,), (3,), 0.5, 10), r"explained_variance\[0\]"),
        (lambda: cost.expected_tokens(8, (3,), 0.5, [1.0, 1.1, 0.5, 0.2]), r"alive\[1\]"),
        (lambda: cost.expected_tokens(8, (1.5,), 0.5, [1.0, 0.9]), "whole tokens"),
        (lambda: cost.expected_tokens(8, (3, 4), (0.5,), [1.0] * 9), "keep must be"),
        (lambda: cost.expected_tokens(8, (3,), 0.5, 1.0), "alive must be"),
        (lambda: cost.largest_batch(9, (3,), 0.5, 10), "budget = 9 cannot hold one row"),
        (lambda: cost.largest_batch(math.inf, (3,), 0.5, 10), "budget = inf"),
        (lambda: cost.largest_batch(90, (3,), 0.5, 10, -1), "prompt = -1"),
        (lambda: cost.full_budget_schedule(8, 0.5, 9, 10), "budget = 9 cannot hold one row"),
        (lambda: cost.full_budget_schedule(30, 0.5, 20, 10), "budget = 20 cannot hold n = 30"),
        (lambda: cost.full_budget_schedule(8, 1.0, 20, 10), "keep = 1 drops nothing"),
        (lambda: cost.full_budget_schedule(8, 0.0, 20, 10), r"keep\[0\] = 0"),
        (lambda: cost.full_budget_schedule(2, 7.0, 900, 10), r"keep\[0\] = 7"),
        (lambda: cost.full_budget_schedule(2, 0.5, 900, 10, -1), "prompt = -1"),
        (lambda: cost.power_profile(np.array([0.5]), 1.0), "area = 1"),
        (lambda: metrics.improvement_score([1.0], [[math.nan, 1.0]]), r"reference\[0, 0\]"),
        (lambda: metrics.improvement_score([1.0, 2.0], [[0.0, 1.0]]), "reference must be"),
        (lambda: metrics.relative_compute([0.0], [1.0]), r"compute\[0\]"),
        (lambda: metrics.measured_speedup(1.0, 1.0, [1, 2], [0.0, 0.0], [1, 2]), r"curve\[1\]"),
        (lambda: metrics.measured_speedup(math.nan, 1.0, [1, 2], [0.0, 1.0], [1, 2]), "NaN"),
        (lambda: rejection.speculative_reward(0, (0.5,), 0.5), "n = 0"),
        (lambda: rejection.speculative_reward(2.5, (0.5,), 0.5), "n = 2.5"),
        (lambda: rejection.speculative_reward(8, (0.5,), 0.0), r"keep\[0\] = 0"),
        (lambda: rejection.speculative_reward(8, (0.5, 0.6), (0.5, 1.1)), r"keep\[1\] = 1.1"),
        (lambda: rejection.speculative_reward(8, (0.5, 0.6), (0.5,)), "keep must be"),
        (lambda: rejection.speculative_reward(8, (0.5, math.nan), 0.5), r"explained_variance\[1\] = nan"),
        (lambda: rejection.speculative_reward(8, (0.5, 0.4), 0.5), r"explained_variance\[1\] = 0.4"),
        (lambda: rejection.speculative_reward(8, (-0.1,), 0.5), r"explained_variance\[0\]"),
        (lambda: rejection.speculative_reward(8, (0.5,), 0.5, noise=(-1.0,)), r"noise\[0\]"),
        (lambda: rejection.speculative_reward(8, (0.5,), 0.5, noise=(0.1, 0.1)), "noise must have"),
        (lambda: rejection.speculative_reward(8, (0.5,), 1.0, noise=(-1.0,)), r"noise\[0\]"),
        (lambda: rejection.speculative_reward(2 * 10**9, (0.5,), 0.5), r"counts\[0\]"),
        (lambda: rejection.expected_reward(processes.gaussian_process([0.5]), (4, 5)), r"counts\[1\] = 5"),
        (lambda: rejection.expected_reward(processes.gaussian_process([0.5]), (4,)), "counts must have 2"),
        (lambda: rejection.survivor_law(processes.gaussian_process([0.5]), (4, 2), 3), "decision = 3"),
        (lambda: processes.gamma_process([0.5], 0.0), "shape"),
        (lambda: gaussian.correlated_reward(8, [[1.0, 0.5], [0.4, 1.0]], 0.5), "covariance"),
        (lambda: gaussian.correlated_reward(8, [[1.0, 2.0], [2.0, 1.0]], 0.5), "positive semidefinite"),
        (lambda: gaussian.correlated_reward(8, [[0.0, 0.0], [0.0, 1.0]], 0.5), r"covariance\[0, 0\]"),
        (lambda: law.best_of_n_law([0.5, 0.5], [0.0, 1.0], 0), "n = 0"),
        (lambda: law.best_of_n_law([0.5, 0.5], [0.0, 1.0], 2.5), "n = 2.5"),
        (lambda: law.best_of_n_law([0.5, 0.6], [0.0, 1.0], 2), "policy sums"),
        (lambda: law.best_of_n_law([0.5, 0.5], [0.0, math.nan], 2), r"rewards\[1\]"),
        (lambda: law.win_rate(4, ties=1.5), "ties"),
        (lambda: law.win_rate(4, [0.5, 0.5]), "rewards is missing"),
        (lambda: law.kl_bound(-3), "n = -3"),
        (lambda: law.kl_with_atoms(4, [(0.2, 0.2)]), r"atoms\[0\]"),
        (lambda: law.kl_with_atoms(4, [(0.2, 0.3, 0.4)]), r"atoms must be pairs"),
        (lambda: law.kl_with_atoms(4, [(0.0, 0.5), (0.4, 0.9)]), r"atoms\[1\]"),
        (lambda: order_statistics.expected_max(0.5), "n = 0.5"),
        (lambda: order_statistics.expected_max(math.nan), "n = nan"),
        (lambda: order_statistics.equivalent_n(-0.1), "reward = -0.1"),
        (lambda: order_statistics.equivalent_n(100.0), "reward = 100"),
        (lambda: order_statistics.expected_inverse_range(2), "n = 2"),
        (lambda: schedule.optimal_schedule((0.5,), (3,), 10, 9), "budget = 9"),
        (lambda: schedule.optimal_schedule((0.5,), (3,), 10, math.nan), "budget = nan"),
        (lambda: schedule.optimal_schedule((0.5, 0.6), (3,), 10, 90), "explained_variance must have"),
        (lambda: schedule.optimal_schedule((0.5,), (3,), 10, 90, tolerance=-1.0), "tolerance = -1"),
        (lambda: schedule.best_fixed_schedule((0.5,), (3,), 10, 90, keeps=[0.5, 1.5]), r"keep\[0\] = 1.5"),
        (lambda: schedule.information_schedule(8, (0.5, 0.4)), r"explained_variance\[1\]"),
        (lambda: schedule.information_schedule(0, (0.5,)), "n = 0"),
        (lambda: cost.required_profile(64.0, 128, cost.full_budget_schedule(128, 0.5, 512, 256).times, 0.5, 256),
         r"target = 64.* ceiling"),
        (lambda: metrics.improvement_score([1.0], [[1.0, 1.0]]), "undefined"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
