"""Which schedule is best: how many rows to keep at each decision time, for a given v(·) and token budget.

    maximise  E[best reward of the schedule n₀ ≥ n₁ ≥ … ≥ n_J ≥ 1]   subject to   Σ_j n_j (t_{j+1} − t_j) ≤ budget

over whole numbers of rows at given candidate times (n_j = n_{j−1} is no decision, so times are chosen too).

Lemma (ours, `paper/sections/best_of_n_proofs.tex`): for independent increments the expected best reward does not
decrease when any n_j is raised. So on a box of schedules the value at the upper corner bounds all of them: depth-first
branch and bound over boxes finds the optimum and proves it, up to `tolerance` and the error of the search's rule.

Theorem (ours): as n → ∞ a schedule n_j = n^{1−a_j} loses the Best-of-N winner with vanishing probability if
a_j < v_j at every decision, and keeps it with vanishing probability if a_j > v_j at one: rejecting down to n^{1−v}
rows is free, below it is not. `information_schedule` is that law; a fixed fraction per decision matches it only
where v grows linearly in the number of decisions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from theory.best_of_n.cost import check_times
from theory.best_of_n.evolution import convolve, distribution_power, survivor_counts
from theory.best_of_n.order_statistics import beta_nodes
from theory.best_of_n.processes import check_explained_variance, gaussian_process
from theory.best_of_n.rejection import expected_reward
from theory.solution import CertificateError
from theory.validate import Array, check_positive, check_whole

#: The search's rule: a coarse lattice, or a quarter of the smallest increment's standard deviation if that is finer,
#: and few nodes. Over random profiles and schedules it is never off by more than `SEARCH_ERROR` towards too low a
#: mean reward, the direction that a proof cannot bear (at most 7·10⁻⁴; too high by up to 1.4·10⁻³).
SEARCH_SPACING, SEARCH_NODES, SEARCH_ERROR = 0.025, 3, 1e-3
#: Default certificate of the search, in standard deviations of the reward.
TOLERANCE = 5e-4
MAX_EVALUATIONS = 50_000
#: The local search moves this share of a period's rows at first, and stops below the last.
FIRST_EXCHANGE, LAST_EXCHANGE = 0.25, 0.004


@dataclass(frozen=True)
class OptimalSchedule:
    """`counts` (J + 1) at the candidate times; `reward` of it and `tokens`; no schedule is better by more than `gap`.

    evaluated: how many schedules or corners of boxes were evaluated to prove it.
    """

    counts: tuple[int, ...]
    reward: float
    tokens: float
    gap: float
    evaluated: int


def information_schedule(n: int, explained_variance: ArrayLike) -> tuple[int, ...]:
    """n_j = max(1, round(n^{1−v_j})): the fewest rows that asymptotically still hold the winner, (J + 1) counts."""
    v = check_explained_variance(explained_variance)
    return (check_whole("n", n), *(max(1, round(n ** (1.0 - float(x)))) for x in v))


def optimal_schedule(
    explained_variance: ArrayLike,
    times: ArrayLike,
    length: float,
    budget: float,
    *,
    tolerance: float = TOLERANCE,
    max_evaluations: int = MAX_EVALUATIONS,
) -> OptimalSchedule:
    """The best schedule at these candidate times for a token budget, with its certificate.

    explained_variance, times  (J,) v_j at t_j, as in `theory.best_of_n.cost.speedup`; length  T, in tokens
    budget           generated tokens, ≥ length (one row must be finished), ValueError otherwise
    tolerance        boxes whose bound is within it of the best schedule found are not searched
    max_evaluations  CertificateError if the proof needs more (the work grows fast with J and budget/length:
                     thousands for J = 4 and 16 responses); `refined_schedule` then gives a schedule without proof

    All J decisions may be skipped, so Best-of-N with n ≤ budget/length is among the candidates.
    """
    problem = _Problem(explained_variance, times, length, budget)
    check_positive("tolerance", tolerance)
    start = refined_schedule(explained_variance, times, length, budget)
    search = _Search(problem, tolerance, max_evaluations, problem.value(start.counts), start.counts)
    search.explore((), problem.start(), 1, int(problem.budget // problem.durations[0]))
    best = problem.result(search.counts, math.nan)
    # true(any) ≤ searched(any) + SEARCH_ERROR ≤ searched(best) + tolerance + SEARCH_ERROR
    return replace(best, gap=max(0.0, search.best - best.reward) + tolerance + SEARCH_ERROR)


def refined_schedule(explained_variance: ArrayLike, times: ArrayLike, length: float, budget: float) -> OptimalSchedule:
    """A schedule that no small exchange of tokens between two periods improves, from the best fixed fraction on.

    Arguments as in `optimal_schedule`. A local search for large budgets, without a certificate: `gap` is nan.
    """
    problem = _Problem(explained_variance, times, length, budget)
    counts = best_fixed_schedule(explained_variance, times, length, budget, keeps=np.arange(1, 51) / 50).counts
    value, share = problem.value(counts), FIRST_EXCHANGE
    while share > LAST_EXCHANGE:
        for counts_tried in list(problem.exchanges(counts, share)):
            tried = problem.value(counts_tried)
            if tried > value + 1e-7:
                counts, value, share = counts_tried, tried, 2 * share  # halved below: the step stays
                break
        share /= 2
    return problem.result(counts, math.nan)


def best_fixed_schedule(
    explained_variance: ArrayLike,
    times: ArrayLike,
    length: float,
    budget: float,
    *,
    skip: bool = True,
    keeps: ArrayLike | None = None,
) -> OptimalSchedule:
    """The best schedule that keeps one and the same fraction at each decision, for a token budget.

    skip   whether decision times may be left out (any subset); otherwise all are used
    keeps  fractions tried, in (0, 1]; None: every hundredth

    The number of rows is the largest that the budget affords, which is the best by the lemma. `gap` is nan: the
    fractions are a grid.
    """
    problem = _Problem(explained_variance, times, length, budget)
    fractions = np.arange(1, 101) / 100 if keeps is None else np.atleast_1d(np.asarray(keeps, dtype=np.float64))
    J = problem.process.decisions
    subsets = itertools.product((False, True), repeat=J) if skip else [(True,) * J]
    candidates = {problem.largest(np.where(used, fraction, 1.0)) for used in subsets for fraction in fractions.tolist()}
    return problem.result(max(sorted(candidates), key=problem.value), math.nan)


#: Laws (G, K) of the rows that come to a decision along every threshold path, and the paths' weights (G,).
_State = tuple[Array, Array]


class _Problem:
    """Rewards and tokens of schedules on one profile and budget, on a coarse lattice."""

    def __init__(self, explained_variance: ArrayLike, times: ArrayLike, length: float, budget: float) -> None:
        t = check_times(times, length)
        self.v = check_explained_variance(explained_variance)
        if self.v.shape != t.shape:
            raise ValueError(f"explained_variance must have one entry per decision time, {t.size}, got {self.v.size}")
        if not length <= budget < math.inf:
            raise ValueError(f"budget = {budget} tokens cannot finish one row of length {length}")
        self.process = gaussian_process(self.v, coarsest=SEARCH_SPACING)
        self.kernels = [self.process.kernel(increment) for increment in self.process.increments]
        self.durations = np.diff(np.concatenate(([0.0], t, [length])))
        self.to_go = np.append(np.cumsum(self.durations[::-1])[::-1], 0.0)
        self.budget = float(budget)
        self.evaluated = 0

    def start(self) -> _State:
        return convolve(self.process.start(), self.kernels[0]), np.ones(1)

    def decide(self, state: _State, before: int, after: int, decision: int) -> _State:
        """One decision (0 … J − 1) further, by the first-order rule: all laws at the mean cut, the first at others."""
        laws, weights = state
        if before > after:
            nodes, node_weights = beta_nodes(before - after, after + 1, SEARCH_NODES)
            fractions = np.append(np.full(len(laws), (before - after) / (before + 1)), nodes)
            laws = np.concatenate([laws, np.repeat(laws[:1], nodes.size, axis=0)])
            weights = np.concatenate([weights - (np.arange(weights.size) == 0), node_weights])
            below = np.cumsum(laws, axis=1) - fractions[:, None]
            laws = np.clip(below, 0.0, laws) / (1.0 - fractions[:, None])  # the threshold's node is split
        return convolve(laws, self.kernels[decision + 1]), weights

    def reward(self, state: _State, counts: Sequence[int], decision: int) -> float:
        """Expected best reward when counts[0] rows come to `decision` and counts[1:] are kept from there on."""
        for before, after in itertools.pairwise(counts):
            state = self.decide(state, before, after, decision)
            decision += 1
        self.evaluated += 1
        laws, weights = state
        best = np.diff(distribution_power(laws, counts[-1]), prepend=0.0, axis=-1)
        return float(weights @ (best @ self.process.nodes))

    def value(self, counts: Sequence[int]) -> float:
        return self.reward(self.start(), counts, 0)

    def result(self, counts: tuple[int, ...], gap: float) -> OptimalSchedule:
        """The schedule with its reward at full accuracy."""
        reward = expected_reward(gaussian_process(self.v), counts)
        return OptimalSchedule(counts, reward, self.tokens(counts), gap, self.evaluated)

    def tokens(self, counts: Sequence[int]) -> float:
        """Tokens generated in the first len(counts) periods."""
        return float(np.dot(counts, self.durations[: len(counts)]))

    def exchanges(self, counts: tuple[int, ...], share: float) -> Iterator[tuple[int, ...]]:
        """Schedules within the budget with `share` more rows in one period, paid for by another period."""
        for gains, pays in itertools.permutations(range(len(counts)), 2):
            if self.durations[pays] == 0:  # a decision at the very end
                continue
            tried = list(counts)
            tried[gains] += max(1, round(share * tried[gains]))
            tried[pays] -= max(0, math.ceil((self.tokens(tried) - self.budget) / self.durations[pays]))
            if tried[-1] < 1 or any(after > before for before, after in itertools.pairwise(tried)):
                continue
            for j in reversed(range(len(tried))):  # what is left over goes to the latest periods
                ceiling = tried[j - 1] if j else math.inf
                tried[j] = int(min(ceiling, tried[j] + _rows(self.budget - self.tokens(tried), self.durations[j])))
            yield tuple(tried)

    def largest(self, keep: Array) -> tuple[int, ...]:
        """Counts of the largest n whose schedule with these fractions is within the budget."""
        low, high = 1, int(self.budget // self.durations[0]) + 1
        while high - low > 1:
            middle = (low + high) // 2
            affordable = self.tokens(survivor_counts(middle, keep, keep.size)) <= self.budget
            low, high = (middle, high) if affordable else (low, middle)
        return survivor_counts(low, keep, keep.size)


def _rows(tokens: float, duration: float) -> float:
    """How many rows `tokens` pay for over a period; a period without length costs nothing."""
    return tokens // duration if duration > 0 else math.inf


@dataclass
class _Search:
    """Depth-first branch and bound: counts are fixed one period after the other, by halving intervals."""

    problem: _Problem
    tolerance: float
    max_evaluations: int
    best: float
    counts: tuple[int, ...]

    def explore(self, prefix: tuple[int, ...], state: _State, fewest: int, most: int) -> None:
        """All schedules that begin with `prefix` and go on with `fewest` … `most` rows.

        state: the laws at the decision that fixes the last count of the prefix (before the first: the start).
        """
        problem, k = self.problem, len(prefix)
        left = problem.budget - problem.tokens(prefix)
        most = int(min(most, _rows(left - problem.to_go[k + 1], problem.durations[k])))
        if most < fewest:
            return
        if k == problem.process.decisions:
            self._finish((*prefix, most), state)
            return
        after = state if k == 0 else problem.decide(state, prefix[-1], most, k - 1)
        corner = (most, *(self._most(k, i, fewest, most, left) for i in range(k + 1, problem.durations.size)))
        if problem.reward(after, corner, k) <= self.best + self.tolerance:
            return
        if problem.evaluated > self.max_evaluations:
            raise CertificateError(
                f"the proof needs more than max_evaluations = {self.max_evaluations} evaluations; the best schedule "
                f"found so far is {self.counts}, expected reward {self.best:.6g}"
            )
        if fewest == most:
            self.explore((*prefix, most), after, 1, most)
        else:
            middle = (fewest + most) // 2
            self.explore(prefix, state, middle + 1, most)
            self.explore(prefix, state, fewest, middle)

    def _finish(self, counts: tuple[int, ...], state: _State) -> None:
        """A complete schedule, its last count the largest affordable. One that can be raised is not evaluated."""
        problem = self.problem
        left = problem.budget - problem.tokens(counts)
        for j, count in enumerate(counts[:-1]):
            if problem.durations[j] <= left and (j == 0 or count < counts[j - 1]):
                return
        value = problem.value(counts) if len(counts) == 1 else problem.reward(state, counts[-2:], len(counts) - 2)
        if value > self.best:
            self.best, self.counts = value, counts

    def _most(self, k: int, i: int, fewest: int, most: int, left: float) -> int:
        """The most rows that can be alive in period i > k if period k has `fewest` … `most`, others one or as many."""
        durations, rest = self.problem.durations, self.problem.to_go[i + 1]
        between = float(durations[k + 1 : i + 1].sum())
        rows = _rows(left - rest - fewest * durations[k], between)
        if rows > fewest:  # then period k needs that many too
            rows = max(fewest, (left - rest) // (durations[k] + between))
        return int(min(rows, most))
