"""Claims B4–B7 and B9: what Speculative Rejection returns, what it costs, and that it loses nothing it need not.

Paper: [7] Sun et al. (arXiv 2410.20290). Vectors stand in settings as text, `0.25 0.5 0.75`. Predictions are called
through their modules, so that a changed formula changes them.
"""

from __future__ import annotations

import numpy as np

from theory.best_of_n import cost, processes, rejection
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import EXAMPLES
from theory.claim import Check, Claim, Setting, Value, grid
from theory.validate import Array

#: The spec's instances of B4 (standard normal final reward), and small n, where the N → ∞ closure is far off.
SCHEDULES: tuple[Setting, ...] = (
    {"n": 64, "v": "0.25 0.5 0.75", "keep": 0.5},
    {"n": 256, "v": "0.2 0.4 0.6 0.8", "keep": 0.5},
    {"n": 1024, "v": "0.1 0.3 0.6", "keep": 0.25},
    {"n": 1024, "v": 0.6, "keep": 0.05},
    {"n": 8, "v": "0.25 0.5 0.75", "keep": 0.5},
    {"n": 16, "v": "0.1 0.5 0.9", "keep": 0.6},
)
#: A million rows, of which one hundred survive the first decision.
MILLION: Setting = {"n": 1_000_000, "v": "0.2 0.6", "keep": "0.0001 0.1"}
#: Where the survivors' law is read: three decisions and the final reward.
SURVIVORS = tuple(
    {**SCHEDULES[0], "decision": decision, "score": score}
    for decision in (1, 2, 3, 4)
    for score in (0.2, 0.5, 0.8, 1.1, 1.4, 1.7, 2.0, 2.3)
)
#: Tokens: fixed decision times, in tokens of a response of 256.
TIMES: tuple[Setting, ...] = (
    {"n": 64, "times": "64 128 192", "keep": 0.5, "length": 256},
    {"n": 100, "times": "16 40 100", "keep": "0.3 0.8 0.5", "length": 256},
    {"n": 1000, "times": 32, "keep": 0.05, "length": 256},
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


def reward(n: int, v: Value, keep: Value, **_: Value) -> float:
    """B4 with the finite-N correction."""
    return rejection.speculative_reward(n, vector(v), keep_of(keep))


def closure(n: int, v: Value, keep: Value, **_: Value) -> float:
    """B4, N → ∞ closure."""
    return rejection.speculative_reward(n, vector(v), keep_of(keep), closure=True)


def survival(n: int, v: Value, keep: Value, **_: Value) -> float:
    """B5."""
    variances = vector(v)
    counts = survivor_counts(n, keep_of(keep), variances.size)
    return rejection.winner_survival(processes.gaussian_process(variances), counts)


def survivors(n: int, v: Value, keep: Value, decision: int, score: float, **_: Value) -> float:
    """P(score ≤ s) of a survivor of one decision."""
    variances = vector(v)
    counts = survivor_counts(n, keep_of(keep), variances.size)
    process = processes.gaussian_process(variances)
    return rejection.survivor_distribution(process, counts, decision, score)


def example_reward(process: str, n: int, keep: float, **_: Value) -> float:
    """B4 for a named process."""
    return EXAMPLES[process].expected_reward(n, keep)


def example_survival(process: str, n: int, keep: float, **_: Value) -> float:
    """B5 for a named process."""
    rows = EXAMPLES[process]
    return rejection.winner_survival(rows.process(), survivor_counts(n, keep, len(rows.explained_variance)))


def full_times(n: int, keep: float, length: int, budget: int) -> Array:
    """Decision times of the schedule that keeps the budget full."""
    return np.array(cost.full_budget_schedule(n, keep, budget, length).times)


def profile_reward(n: int, area: float, keep: float, length: int, budget: int, **_: Value) -> float:
    """B6: mean reward of that schedule on the power profile of this area."""
    v = cost.power_profile(full_times(n, keep, length, budget) / length, area)
    return rejection.speculative_reward(n, v, keep)


def profile_speedup(n: int, area: float, keep: float, length: int, budget: int, **_: Value) -> float:
    """B6: its speed-up."""
    times = full_times(n, keep, length, budget)
    v = cost.power_profile(times / length, area)
    return cost.speedup(n, v, times, keep, length)


def required_area(target: int, n: int, keep: float, length: int, budget: int, **_: Value) -> float:
    """B6, the inverse question."""
    times = full_times(n, keep, length, budget)
    return cost.required_profile(target, n, times, keep, length).area


def tokens(n: int, times: Value, keep: Value, length: int, **_: Value) -> float:
    """B6."""
    return cost.speculative_tokens(n, vector(times), keep_of(keep), length)


def scored(n: int, times: Value, keep: Value, length: int, **_: Value) -> float:
    """B6: tokens that a scorer without a cache reads."""
    return cost.speculative_cost(n, vector(times), keep_of(keep), length).scored


def early_stop(n: int, times: Value, keep: float, length: int, stop: float, **_: Value) -> float:
    """B6 for responses that end with probability `stop` after each token."""
    return cost.expected_tokens(n, vector(times), keep, (1.0 - stop) ** np.arange(length))


def peak(n: int, times: Value, keep: Value, length: int, prompt: int, **_: Value) -> float:
    """B7."""
    return cost.speculative_cost(n, vector(times), keep_of(keep), length, prompt).peak


def largest_batch(budget: int, times: Value, keep: float, length: int, prompt: int, **_: Value) -> float:
    """B7."""
    return cost.largest_batch(budget, vector(times), keep, length, prompt)


def full_tokens(n: int, keep: float, budget: int, length: int, prompt: int, **_: Value) -> float:
    """B7: tokens of the schedule that keeps the budget full."""
    schedule = cost.full_budget_schedule(n, keep, budget, length, prompt)
    return cost.schedule_cost(schedule.counts, schedule.times, length, prompt).generated


def full_share(n: int, keep: float, budget: int, length: int, prompt: int, **_: Value) -> float:
    """B7: least share of the budget in use at a decision of that schedule."""
    schedule = cost.full_budget_schedule(n, keep, budget, length, prompt)
    return min(rows * (prompt + time) / budget for rows, time in zip(schedule.counts, schedule.times, strict=False))


FULL_BUDGETS = (
    {"n": 100, "keep": 0.5, "budget": 3000, "length": 256, "prompt": 0},
    {"n": 64, "keep": 0.8, "budget": 4096, "length": 256, "prompt": 32},
)

SPECULATIVE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "B4",
        "Density evolution: alternately cutting at random Beta(n_{j−1}−n_j, n_j+1) quantiles and convolving gives the "
        "exact law of the survivors for every n; the N → ∞ closure at fixed quantiles overstates.",
        "ours",
        "equality",
        "best_of_n",
        (
            Check(
                "reward",
                "mean best reward of Speculative Rejection, standard normal final reward",
                "equality",
                (*SCHEDULES, MILLION),
                reward,
                3e-3,
                "the spec's Monte Carlo errors; below 1 % for every n",
            ),
            Check(
                "closure",
                "mean best reward, against the closure",
                "upper bound",
                tuple(setting for setting in SCHEDULES if int(setting["n"]) <= 256),
                closure,
                0.0,
                "the closure overstates",
            ),
            Check(
                "process",
                "mean best reward on processes that reveal early or late, with noisy or biased scorers, not Gaussian",
                "equality",
                grid(process=tuple(EXAMPLES), n=(8, 64), keep=0.5),
                example_reward,
                5e-3,
                "half a per cent of the smallest",
                relative=True,
            ),
            Check(
                "survivors",
                "share of the survivors of a decision (4: of the final rewards) with a score of at most s",
                "equality",
                SURVIVORS,
                survivors,
                3e-3,
                "20 000 runs",
            ),
        ),
    ),
    Claim(
        "B5",
        "The probability that Best-of-N's winner survives every rejection is an integral over the laws of the dropped "
        "rows; as N grows, keeping N^{1−a} rows at explained variance v loses it never if a < v and always if a > v.",
        "ours",
        "equality",
        "best_of_n",
        (
            Check(
                "survival",
                "share of runs in which the row of highest final reward survives",
                "equality",
                SCHEDULES,
                survival,
                7e-3,
                "10 000 to 100 000 runs",
            ),
            Check(
                "process",
                "the same on other processes",
                "equality",
                grid(process=("early", "late", "noisy", "gamma"), n=(8, 64), keep=0.5),
                example_survival,
                7e-3,
                "20 000 runs",
            ),
            Check(
                "free",
                "survival at n = 4096 minus survival at n = 64, a below v = ½",
                "ordering",
                grid(a=(0.2, 0.3)),
                lambda **_: 0.0,
                0.0,
                "paired by n",
            ),
            Check(
                "lossy",
                "survival at n = 64 minus survival at n = 4096, a above v = ½",
                "ordering",
                grid(a=(0.7, 0.8)),
                lambda **_: 0.0,
                0.0,
                "paired by n",
            ),
        ),
    ),
    Claim(
        "B6",
        "Speculative Rejection generates Σ n_j (t_{j+1} − t_j) tokens, and its speed-up N*T/tokens at equal expected "
        "reward follows from the explained variance: 16 to 32 times need early-revealing scores, late-revealing ones "
        "make keeping a fixed half slower than Best-of-N, keeping n^{1−v} rows does not.",
        "[7] section 4; prediction ours",
        "equality",
        "best_of_n",
        (
            Check("tokens", "tokens that the decoder generates", "equality", TIMES, tokens, 0.0, "a count"),
            Check("scored", "tokens that a scorer without a cache reads", "equality", TIMES, scored, 0.0, "a count"),
            Check(
                "early_stop",
                "tokens generated when responses end by themselves",
                "equality",
                grid(n=2000, times="32 64 128", keep=0.5, length=256, stop=(0.005, 0.02)),
                early_stop,
                5e-3,
                "rounding of counts, 1/n",
                relative=True,
            ),
            Check(
                "reward",
                "mean best reward of the schedule that keeps a budget of two responses full",
                "equality",
                tuple({"n": n, "area": area, **FULL} for area in (0.3, 0.8) for n in (8, 32, 128, 512)),
                profile_reward,
                5e-3,
                "20 000 runs",
            ),
            Check(
                "speedup",
                "tokens of Best-of-N at equal mean reward over tokens of Speculative Rejection",
                "equality",
                tuple({"n": n, "area": area, **FULL} for n in (64, 256) for area in (0.3, 0.5, 0.7, 0.8, 0.9)),
                profile_speedup,
                2e-2,
                "N* is exponential in the reward",
                relative=True,
            ),
            Check(
                "area",
                "area under the explained variance at which the speed-up is `target`",
                "equality",
                tuple({"target": target, "n": 1024, **FULL} for target in (16, 32, 64)),
                required_area,
                1e-2,
                "a tenth of what separates one target from twice it",
            ),
            Check(
                "optimal",
                "mean best reward of the certified optimal schedule minus that of the best fixed fraction, same tokens",
                "ordering",
                (
                    {"area": 0.25, "times": "6 9 12 14", "length": 16, "responses": 16, "skip": 1},
                    {"area": 0.25, "times": "6 9 12 14", "length": 16, "responses": 16, "skip": 0},
                    {"area": 0.75, "times": "2 4 8 12", "length": 16, "responses": 8, "skip": 1},
                ),
                lambda **_: 0.0,
                0.0,
                "paired runs; branch and bound proves the optimum to 2·10⁻³",
            ),
            Check(
                "information",
                "log speed-up of keeping n^{1−v} rows minus that of keeping half, at the same times",
                "ordering",
                tuple({"n": n, "area": area, **FULL} for n in (64, 256) for area in (0.3, 0.5)),
                lambda **_: 0.0,
                0.0,
                "independent runs",
            ),
        ),
    ),
    Claim(
        "B7",
        "Memory peaks at max_j n_j t_{j+1}; the largest batch that fits a budget and the schedule that keeps the "
        "budget full follow.",
        "[7] section 3",
        "equality",
        "best_of_n",
        (
            Check(
                "peak",
                "most cached tokens that the decoder holds at once",
                "equality",
                tuple({**setting, "prompt": prompt} for setting in TIMES for prompt in (0, 32)),
                peak,
                0.0,
                "a count",
            ),
            Check(
                "batch",
                "the largest batch that the decoder gets through a budget",
                "equality",
                grid(budget=(3000, 20_000), times="32 64 128", keep=0.5, length=256, prompt=(0, 32)),
                largest_batch,
                0.0,
                "a count",
            ),
            Check(
                "full_tokens",
                "tokens generated when rejection is triggered by memory",
                "equality",
                FULL_BUDGETS,
                full_tokens,
                0.0,
                "a count",
            ),
            Check(
                "full_share",
                "least share of the budget in use when memory triggers a rejection",
                "equality",
                FULL_BUDGETS,
                full_share,
                1e-12,
                "a count",
            ),
        ),
    ),
    Claim(
        "B9",
        "With α = 0 at fixed times, or triggered by memory without a limit, Speculative Rejection returns Best-of-N of "
        "the same samples bit for bit; a response that finishes is never lost; a truncated one is never returned.",
        "ours",
        "equality",
        "best_of_n",
        (
            Check(
                "same",
                "share of runs with another winner, reward or token count than Best-of-N",
                "equality",
                grid(mode=("fixed times", "no limit")),
                lambda **_: 0.0,
                0.0,
                "bit for bit",
            ),
            Check(
                "lost",
                "share of runs in which a response that finished beats the one returned",
                "equality",
                grid(mode=("fixed times", "memory")),
                lambda **_: 0.0,
                0.0,
                "bit for bit",
            ),
            Check(
                "truncated",
                "share of runs that return a response cut off by the length limit as finished",
                "equality",
                grid(mode=("fixed times", "memory")),
                lambda **_: 0.0,
                0.0,
                "bit for bit",
            ),
        ),
    ),
)
