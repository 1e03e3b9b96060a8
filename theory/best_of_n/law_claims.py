"""Claims B1–B3 and B8: Best-of-N's law, KL and reward, and the metrics of the Speculative Rejection paper.

Paper: [7] Sun et al. (arXiv 2410.20290). Predictions are called through their modules, so that a changed formula
changes them.
"""

from __future__ import annotations

from theory.best_of_n import cost, metrics, order_statistics, rejection
from theory.best_of_n import law as best_of_n
from theory.best_of_n.examples import TABLES
from theory.claim import Check, Claim, Value, grid


def law(table: str, n: int, response: int, **_: Value) -> float:
    """B1: π_N of one response."""
    t = TABLES[table]
    return float(best_of_n.best_of_n_law(t.policy, t.rewards, n)[response])


def win_rate(table: str, n: int, ties: float, **_: Value) -> float:
    """B1: win rate against the base policy; `continuous` is a reward law without atoms."""
    if table == "continuous":
        return best_of_n.win_rate(n, ties=ties)
    return best_of_n.win_rate(n, TABLES[table].policy, TABLES[table].rewards, ties)


def kl(table: str, n: int, **_: Value) -> float:
    """B2: exact KL of a table, or of a law without atoms."""
    if table == "continuous":
        return best_of_n.kl_bound(n)
    return best_of_n.best_of_n_kl(TABLES[table].policy, TABLES[table].rewards, n)


def mixed_kl(n: int, low: float, high: float, **_: Value) -> float:
    """B2: KL of a continuous law whose quantile levels [low, high] are collapsed into an atom."""
    return best_of_n.kl_with_atoms(n, [(low, high)])


def mixed_win_rate(n: int, low: float, high: float, **_: Value) -> float:
    """B1: win rate of the same law, half credit for ties."""
    return best_of_n.win_rate_with_atoms(n, [(low, high)])


def table_reward(table: str, n: int, **_: Value) -> float:
    """B3 on a table."""
    return best_of_n.best_of_n_reward(TABLES[table].policy, TABLES[table].rewards, n)


def improvement(n: int, n_reference: int, **_: Value) -> float:
    """B8: Speculative Rejection at v = (¼, ½, ¾), half kept, against Best-of-n_reference."""
    best = rejection.speculative_reward(n, (0.25, 0.5, 0.75), 0.5)
    return metrics.expected_improvement(best, n_reference)


def compute(n: int, n_reference: int, **_: Value) -> float:
    """B8: tokens of the same schedule, decisions at a quarter, half and three quarters, over n_reference·T."""
    return cost.speculative_tokens(n, (0.25, 0.5, 0.75), 0.5, 1.0) / n_reference


MIXED = ({"n": 4, "low": 0.3, "high": 0.8}, {"n": 16, "low": 0.9, "high": 1.0}, {"n": 64, "low": 0.0, "high": 0.97})

LAW_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "B1",
        "Best-of-N draws a reward level with probability F(y)^N − F(y−)^N, split inside the level as the base policy "
        "splits it; against the base policy it wins N/(N+1) if the reward law has no atoms and, for N ≥ 2, less if it "
        "has.",
        "[7] section 2; ours for mixed laws",
        "equality",
        "best_of_n",
        (
            Check(
                "law",
                "probability of one response under Best-of-N, from a table with ties",
                "equality",
                (*grid(table="ties", n=(1, 4, 64), response=(0, 2, 4)), *grid(table="peaked", n=8, response=(0, 1, 2))),
                law,
                2e-3,
                "4·10⁵ draws of Best-of-N",
            ),
            Check(
                "win_rate",
                "win rate of Best-of-N against the base policy (ties: credit for equal rewards)",
                "equality",
                (*grid(table="ties", n=(1, 4, 64), ties=(0.0, 0.5)), *grid(table="continuous", n=(1, 4, 64), ties=0.5)),
                win_rate,
                2e-3,
                "4·10⁵ duels",
            ),
            Check(
                "mixed",
                "win rate, ties half, for a continuous law with one atom over quantile levels [low, high]",
                "equality",
                MIXED,
                mixed_win_rate,
                2e-3,
                "4·10⁵ duels",
            ),
        ),
    ),
    Claim(
        "B2",
        "KL(π_N‖π) ≤ log N − (N−1)/N, with equality for N ≥ 2 if and only if the reward law has no atoms; "
        "each atom lowers it by a Jensen gap that is computed exactly.",
        "folklore bound; exact gap ours",
        "equality",
        "best_of_n",
        (
            Check(
                "kl",
                "KL of Best-of-N to the base policy, nats",
                "equality",
                (*grid(table=("distinct", "ties", "peaked"), n=(4, 64)), *grid(table="continuous", n=(4, 64))),
                kl,
                5e-3,
                "4·10⁵ draws of Best-of-N, plug-in estimate",
            ),
            Check(
                "mixed",
                "KL for a continuous law with one atom over quantile levels [low, high]",
                "equality",
                MIXED,
                mixed_kl,
                5e-3,
                "4·10⁵ draws of Best-of-N",
            ),
            Check(
                "bound",
                "largest KL of Best-of-N over random tables, enumerated over all N-tuples",
                "upper bound",
                grid(n=(2, 3, 4, 5)),
                lambda n, **_: best_of_n.kl_bound(n),
                1e-12,
                "rounding",
            ),
        ),
    ),
    Claim(
        "B3",
        "The expected reward of Best-of-N is an order statistic: for standard normal rewards 0.5642, 1.0294, 1.7660, "
        "2.3437, 3.2482 at N = 2, 4, 16, 64, 1024.",
        "[7] section 2",
        "equality",
        "best_of_n",
        (
            Check(
                "normal",
                "expected maximum of n standard normal rewards",
                "equality",
                grid(n=(2, 4, 16, 64, 256, 1024)),
                lambda n, **_: order_statistics.expected_max(n),
                3e-3,
                "2·10⁷ rewards",
            ),
            Check(
                "table",
                "expected reward of Best-of-N on a table with ties",
                "equality",
                grid(table=("ties", "peaked"), n=(4, 64)),
                table_reward,
                5e-3,
                "4·10⁵ draws of Best-of-N",
            ),
        ),
    ),
    Claim(
        "B8",
        "The paper's improvement score has expectation 100·(½ + E[best]·E[1/range]) on Gaussian rewards, whatever the "
        "prompts' locations and scales; relative compute is the ratio of tokens; a speed-up is never read off beyond "
        "the last measured Best-of-N point.",
        "[7] section 4; expectation ours",
        "equality",
        "best_of_n",
        (
            Check(
                "improvement",
                "improvement score of Speculative Rejection over prompts of random location and scale",
                "equality",
                grid(n=(64, 256), n_reference=(16, 120)),
                improvement,
                0.5,
                "40 000 prompts; Best-of-ref is 100",
            ),
            Check(
                "compute",
                "tokens of the decoder for Speculative Rejection over tokens for Best-of-ref",
                "equality",
                grid(n=(64, 256), n_reference=(16, 120)),
                compute,
                1e-12,
                "both count tokens",
            ),
            Check(
                "not_extrapolated",
                "largest measured speed-up × compute of Speculative Rejection / compute of the last Best-of-N point",
                "upper bound",
                grid(last=(8, 32)),
                lambda **_: 1.0,
                1e-12,
                "rounding",
            ),
            Check(
                "at_least",
                "share of runs whose reward lies beyond the last point and whose speed-up is reported as a lower bound",
                "equality",
                grid(last=(8, 32)),
                lambda **_: 1.0,
                0.0,
                "all of them",
            ),
        ),
    ),
)
