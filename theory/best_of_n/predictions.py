"""What B1–B9 predict at a setting. Vectors stand in settings as text, `0.25 0.5 0.75`.

Formulas are called through their modules, so that a changed one changes every prediction that rests on it.
"""

from __future__ import annotations

import numpy as np

from theory.best_of_n import cost, metrics, processes, rejection
from theory.best_of_n import law as best_of_n
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import EXAMPLES, TABLES, full_times, keep_of, vector
from theory.claim import Value


def law(table: str, n: int, response: int) -> float:
    """B1: π_N of one response."""
    return float(best_of_n.best_of_n_law(TABLES[table].policy, TABLES[table].rewards, n)[response])


def win_rate(table: str, n: int, ties: float) -> float:
    """B1: win rate against the base policy; `continuous` is a reward law without atoms."""
    if table == "continuous":
        return best_of_n.win_rate(n, ties=ties)
    return best_of_n.win_rate(n, TABLES[table].policy, TABLES[table].rewards, ties)


def mixed_win_rate(n: int, low: float, high: float) -> float:
    """B1: win rate, half credit for ties, of a continuous law whose quantile levels [low, high] are one atom."""
    return best_of_n.win_rate_with_atoms(n, [(low, high)])


def kl(table: str, n: int) -> float:
    """B2: exact KL of a table, or of a law without atoms."""
    if table == "continuous":
        return best_of_n.kl_bound(n)
    return best_of_n.best_of_n_kl(TABLES[table].policy, TABLES[table].rewards, n)


def mixed_kl(n: int, low: float, high: float) -> float:
    """B2: KL of the law of `mixed_win_rate`."""
    return best_of_n.kl_with_atoms(n, [(low, high)])


def table_reward(table: str, n: int) -> float:
    """B3 on a table."""
    return best_of_n.best_of_n_reward(TABLES[table].policy, TABLES[table].rewards, n)


def reward(n: int, v: Value, keep: Value) -> float:
    """B4 with the finite-N correction."""
    return rejection.speculative_reward(n, vector(v), keep_of(keep))


def closure(n: int, v: Value, keep: Value) -> float:
    """B4, N → ∞ closure."""
    return rejection.speculative_reward(n, vector(v), keep_of(keep), closure=True)


def process_reward(process: str, n: int, keep: float) -> float:
    """B4 for a named process."""
    return EXAMPLES[process].expected_reward(n, keep)


def survivors(n: int, v: Value, keep: Value, decision: int, score: float) -> float:
    """B4: P(score ≤ s) of a survivor of one decision."""
    process = processes.gaussian_process(vector(v))
    counts = survivor_counts(n, keep_of(keep), process.decisions)
    return rejection.survivor_distribution(process, counts, decision, score)


def survival(n: int, v: Value, keep: Value) -> float:
    """B5."""
    process = processes.gaussian_process(vector(v))
    return rejection.winner_survival(process, survivor_counts(n, keep_of(keep), process.decisions))


def process_survival(process: str, n: int, keep: float) -> float:
    """B5 for a named process."""
    rows = EXAMPLES[process].process()
    return rejection.winner_survival(rows, survivor_counts(n, keep, rows.decisions))


def tokens(n: int, times: Value, keep: Value, length: int) -> float:
    """B6."""
    return cost.speculative_tokens(n, vector(times), keep_of(keep), length)


def scored(n: int, times: Value, keep: Value, length: int) -> float:
    """B6: tokens that a scorer without a cache reads."""
    return cost.speculative_cost(n, vector(times), keep_of(keep), length).scored


def early_stop(n: int, times: Value, keep: float, length: int, stop: float) -> float:
    """B6 for responses that end with probability `stop` after each token."""
    return cost.expected_tokens(n, vector(times), keep, (1.0 - stop) ** np.arange(length))


def profile_reward(n: int, area: float, keep: float, length: int, budget: int) -> float:
    """B6: mean reward of the schedule that keeps the budget full on the power profile of this area."""
    v = cost.power_profile(full_times(n, keep, length, budget) / length, area)
    return rejection.speculative_reward(n, v, keep)


def profile_speedup(n: int, area: float, keep: float, length: int, budget: int) -> float:
    """B6: its speed-up."""
    times = full_times(n, keep, length, budget)
    return cost.speedup(n, cost.power_profile(times / length, area), times, keep, length)


def required_area(target: int, n: int, keep: float, length: int, budget: int) -> float:
    """B6, the inverse question."""
    return cost.required_profile(target, n, full_times(n, keep, length, budget), keep, length).area


def peak(n: int, times: Value, keep: Value, length: int, prompt: int) -> float:
    """B7."""
    return cost.speculative_cost(n, vector(times), keep_of(keep), length, prompt).peak


def largest_batch(budget: int, times: Value, keep: float, length: int, prompt: int) -> float:
    """B7."""
    return cost.largest_batch(budget, vector(times), keep, length, prompt)


def full_tokens(n: int, keep: float, budget: int, length: int, prompt: int) -> float:
    """B7: tokens of the schedule that keeps the budget full."""
    schedule = cost.full_budget_schedule(n, keep, budget, length, prompt)
    return cost.schedule_cost(schedule.counts, schedule.times, length, prompt).generated


def full_share(n: int, keep: float, budget: int, length: int, prompt: int) -> float:
    """B7: least share of the budget in use at a decision of that schedule."""
    schedule = cost.full_budget_schedule(n, keep, budget, length, prompt)
    if not schedule.times:
        raise ValueError(f"n = {n} rows fit budget = {budget} to their end: the schedule has no decision")
    return min(rows * (prompt + time) / budget for rows, time in zip(schedule.counts, schedule.times, strict=False))


def improvement(n: int, n_reference: int) -> float:
    """B8: Speculative Rejection at v = (¼, ½, ¾), half kept, against Best-of-n_reference."""
    return metrics.expected_improvement(rejection.speculative_reward(n, (0.25, 0.5, 0.75), 0.5), n_reference)


def compute(n: int, n_reference: int) -> float:
    """B8: tokens of the same schedule, decisions at a quarter, half and three quarters, over n_reference·T."""
    return cost.speculative_tokens(n, (0.25, 0.5, 0.75), 0.5, 1.0) / n_reference
