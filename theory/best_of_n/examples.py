"""The reward processes and tables that the claims are checked on, by name. Definitions only: no results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.best_of_n import cost, evolution, gaussian, processes, rejection
from theory.best_of_n.processes import RewardProcess
from theory.claim import Setting, Value
from theory.validate import Array, check_between


@dataclass(frozen=True)
class Table:
    """A finite reward law: probabilities and rewards of the responses."""

    policy: tuple[float, ...]
    rewards: tuple[float, ...]


#: Five distinct rewards; rewards with ties across unequal responses; a law dominated by one atom.
TABLES: dict[str, Table] = {
    "distinct": Table((0.2, 0.2, 0.2, 0.2, 0.2), (0.0, 1.0, 2.0, 3.0, 4.0)),
    "ties": Table((0.1, 0.25, 0.05, 0.3, 0.2, 0.1), (1.0, 0.5, 1.0, -1.0, 0.5, 2.0)),
    "peaked": Table((0.7, 0.2, 0.1), (0.0, 1.0, 2.0)),
}


#: A table whose proxy and truth part ways: the response of highest proxy reward, drawn once in a hundred, is bad.
PROXY_TABLE = {
    "policy": (0.4, 0.3, 0.2, 0.09, 0.01),
    "proxy": (0.0, 0.8, 1.6, 2.2, 3.0),
    "truth": (0.0, 0.7, 1.5, 1.8, -1.0),
}
#: A Gaussian proxy that a share of the responses fools: of those the proxy reward is 3 higher, the truth −1.
FAULTY = {"correlation": 0.8, "shift": 3.0, "truth": -1.0}
#: Share of the responses of `rare_table` that are good, and by how much the proxy overrates the bad one.
GOOD, OVERRATED = 0.25, 3.0


def rare_table(rare: float) -> tuple[Array, Array, Array]:
    """Policy, proxy and truth of a usual, a good and a bad response; the bad one, of probability `rare`, looks best."""
    rare = check_between("rare", rare, 0.0, 1.0 - GOOD, ends="(]")
    policy = np.array([1.0 - GOOD - rare, GOOD, rare])
    truth = np.array([0.0, 1.0, -1.0])
    return policy, truth + np.array([0.0, 0.0, OVERRATED]), truth


@dataclass(frozen=True)
class Example:
    """A row process with three decisions: what a partial response reveals, and how the scorer errs.

    explained_variance  v_j of the martingale part
    noise               variance of independent errors of the scorer, one per decision; () for none
    bias                variance of one error per row that stays the same at all decisions and is not in the reward
    shape               of a Gamma process instead of a Gaussian one; 0 for Gaussian
    log_scale           the reward is exp(log_scale·z), z standard normal; 0 for z itself
    """

    explained_variance: tuple[float, ...]
    noise: tuple[float, ...] = ()
    bias: float = 0.0
    shape: float = 0.0
    log_scale: float = 0.0

    def process(self) -> RewardProcess:
        """The process as independent increments; ValueError if it has a bias (then it is none)."""
        if self.bias:
            raise ValueError("a persistent bias does not have independent increments; use covariance()")
        if self.shape:
            return processes.gamma_process(self.explained_variance, self.shape)
        return processes.gaussian_process(self.explained_variance, self.noise or None)

    def covariance(self) -> Array:
        """(J + 1, J + 1) covariance of the scores and the reward of a Gaussian process."""
        v = np.append(self.explained_variance, 1.0)
        scorer = np.append(np.ones(v.size - 1), 0.0)
        errors = np.append(self.noise or np.zeros(v.size - 1), 0.0)
        return np.minimum.outer(v, v) + self.bias * np.outer(scorer, scorer) + np.diag(errors)

    def transform(self, z: Array) -> Array:
        """The reward as a function of the standardised final score."""
        return np.exp(self.log_scale * z) if self.log_scale else z

    def expected_reward(self, n: int, keep: float) -> float:
        """B4 for this process."""
        if self.bias:
            return gaussian.correlated_reward(n, self.covariance(), keep)
        counts = evolution.survivor_counts(n, keep, len(self.explained_variance))
        return rejection.expected_reward(self.process(), counts, transform=self.transform)


EXAMPLES: dict[str, Example] = {
    "linear": Example((0.25, 0.5, 0.75)),
    "early": Example((0.63, 0.79, 0.91)),
    "late": Example((0.015, 0.125, 0.42)),
    "noisy": Example((0.25, 0.5, 0.75), noise=(0.5, 0.3, 0.2)),
    "biased": Example((0.25, 0.5, 0.75), bias=0.3),
    "gamma": Example((0.25, 0.5, 0.75), shape=2.0),
    "lognormal": Example((0.25, 0.5, 0.75), log_scale=0.5),
}

#: The spec's instances of B4 (standard normal final reward), and small n, where the N → ∞ closure is far off.
SCHEDULES: tuple[Setting, ...] = (
    {"n": 64, "v": "0.25 0.5 0.75", "keep": 0.5},
    {"n": 256, "v": "0.2 0.4 0.6 0.8", "keep": 0.5},
    {"n": 1024, "v": "0.1 0.3 0.6", "keep": 0.25},
    {"n": 1024, "v": 0.6, "keep": 0.05},
    {"n": 8, "v": "0.25 0.5 0.75", "keep": 0.5},
    {"n": 16, "v": "0.1 0.5 0.9", "keep": 0.6},
)
#: Schedules that keep a budget of two full responses busy.
FULL = {"keep": 0.5, "length": 1024, "budget": 2048}


def vector(text: Value) -> Array:
    """A setting's vector: numbers separated by blanks; a single one may have been parsed already."""
    return np.array([float(word) for word in str(text).split()])


def keep_of(text: Value) -> Array | float:
    """A number, or one per decision."""
    values = vector(text)
    return float(values[0]) if values.size == 1 else values


def full_times(n: int, keep: float, length: int, budget: int) -> Array:
    """Decision times of the schedule that keeps the budget full."""
    return np.array(cost.full_budget_schedule(n, keep, budget, length).times)
