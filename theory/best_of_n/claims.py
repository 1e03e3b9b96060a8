"""Claims B1–B9: Best-of-N's law, KL and reward; what Speculative Rejection returns, costs and never loses; its metrics.

Predictions are in `theory.best_of_n.predictions`. Vectors stand in settings as text, `0.25 0.5 0.75`.
"""

from __future__ import annotations

from theory.best_of_n import predictions as predict
from theory.best_of_n.examples import EXAMPLES, FULL, SCHEDULES
from theory.best_of_n.law import kl_bound
from theory.best_of_n.order_statistics import expected_max
from theory.claim import Claim, Setting, at_most, by, equal, greater, grid, invariant, of_topic

#: A million rows, of which one hundred survive the first decision.
MILLION: Setting = {"n": 1_000_000, "v": "0.2 0.6", "keep": "0.0001 0.1"}
#: Where the survivors' law is read: three decisions and the final reward.
SURVIVORS = tuple(
    {**SCHEDULES[0], **place} for place in grid(decision=(1, 2, 3, 4), score=(0.2, 0.5, 0.8, 1.1, 1.4, 1.7, 2.0, 2.3))
)
#: Tokens: fixed decision times, in tokens of a response of 256.
TIMES: tuple[Setting, ...] = (
    {"n": 64, "times": "64 128 192", "keep": 0.5, "length": 256},
    {"n": 100, "times": "16 40 100", "keep": "0.3 0.8 0.5", "length": 256},
    {"n": 1000, "times": 32, "keep": 0.05, "length": 256},
)
FULL_BUDGETS: tuple[Setting, ...] = (
    {"n": 100, "keep": 0.5, "budget": 3000, "length": 256, "prompt": 0},
    {"n": 64, "keep": 0.8, "budget": 4096, "length": 256, "prompt": 32},
)
#: Quantile levels that are one atom of an otherwise continuous law.
MIXED: tuple[Setting, ...] = (
    {"n": 4, "low": 0.3, "high": 0.8},
    {"n": 16, "low": 0.9, "high": 1.0},
    {"n": 64, "low": 0.0, "high": 0.97},
)
TIGHT: tuple[Setting, ...] = (
    {"area": 0.25, "times": "6 9 12 14", "length": 16, "responses": 16, "skip": 1},
    {"area": 0.25, "times": "6 9 12 14", "length": 16, "responses": 16, "skip": 0},
    {"area": 0.75, "times": "2 4 8 12", "length": 16, "responses": 8, "skip": 1},
)
MODES = ("fixed times", "memory")

DRAWS = "4·10⁵ draws of Best-of-N"
DUELS = "4·10⁵ duels"
COUNT = "a count"
BITS = "bit for bit"
EITHER_N = "independent runs at either n"


def full(areas: tuple[float, ...], *sizes: int) -> tuple[Setting, ...]:
    """The schedule that keeps the budget full, for every area and number of rows."""
    return tuple({"n": n, "area": area, **FULL} for area in areas for n in sizes)


claim = of_topic("best_of_n")

BEST_OF_N_CLAIMS: tuple[Claim, ...] = (
    claim(
        "B1", "The law and win rate of Best-of-N", ("Best-of-N", "win rate", "atoms"),
        "Best-of-N draws a reward level with probability F(y)^N − F(y−)^N, split inside the level as the base "
        "policy splits it; against the base policy it wins N/(N+1) if the reward law has no atoms and, for N ≥ 2, less "
        "if it has.", "@sun2024 section 2; ours for mixed laws", "equality",
        equal("law", "probability of one response under Best-of-N, from a table with ties", predict.law,
              at=(*grid(table="ties", n=(1, 4, 64), response=(0, 2, 4)),
                  *grid(table="peaked", n=8, response=(0, 1, 2))), within=2e-3, seeds=2, because=DRAWS),
        equal("win_rate", "win rate against the base policy (ties: credit for equal rewards)", predict.win_rate,
              at=(*grid(table="ties", n=(1, 4, 64), ties=(0.0, 0.5)),
                  *grid(table="continuous", n=(1, 4, 64), ties=0.5)), within=2e-3, seeds=3, because=DUELS),
        equal("mixed", "win rate, ties half, for a continuous law with one atom over quantile levels [low, high]",
              predict.mixed_win_rate, at=MIXED, within=2e-3, because=DUELS),
    ),
    claim(
        "B2", "KL of Best-of-N", ("Best-of-N", "KL", "atoms", "folklore bound"),
        "KL(π_N‖π) ≤ log N − (N−1)/N, with equality for N ≥ 2 if and only if the reward law has no atoms; each "
        "atom lowers it by a Jensen gap that is computed exactly.",
        "@beirami2024 (the bound); exact gap ours", "equality",
        equal("kl", "KL of Best-of-N to the base policy, nats", predict.kl, within=5e-3,
              at=grid(table=("distinct", "ties", "peaked", "continuous"), n=(4, 64)),
              because=f"{DRAWS}, plug-in estimate"),
        equal("mixed", "KL for a continuous law with one atom over quantile levels [low, high]", predict.mixed_kl,
              at=MIXED, within=5e-3, seeds=4, because=DRAWS),
        at_most("bound", "largest KL of Best-of-N over random tables, enumerated over all N-tuples", kl_bound,
                at=grid(n=(2, 3, 4, 5)), within=1e-12, because="rounding"),
    ),
    claim(
        "B3", "Best-of-N is an order statistic", ("Best-of-N", "order statistics", "expected reward"),
        "The expected reward of Best-of-N is an order statistic: for standard normal rewards 0.5642, 1.0294, "
        "1.7660, 2.3437, 3.2482 at N = 2, 4, 16, 64, 1024.", "@sun2024 section 2", "equality",
        equal("normal", "expected maximum of n standard normal rewards", expected_max,
              at=grid(n=(2, 4, 16, 64, 256, 1024)), within=3e-3, seeds=6, because=f"{DRAWS}, or 2·10⁷ rewards"),
        equal("table", "expected reward of Best-of-N on a table with ties", predict.table_reward,
              at=grid(table=("ties", "peaked"), n=(4, 64)), within=5e-3, because=DRAWS),
    ),
    claim(
        "B4", "Survivors: density evolution", ("Speculative Rejection", "density evolution", "survivors"),
        "Density evolution: alternately cutting at random Beta(n_{j−1}−n_j, n_j+1) quantiles and convolving "
        "gives the exact law of the survivors for every n; the N → ∞ closure at fixed quantiles overstates.",
        "@yang2025 (greedy selection of such rows is optimal); the law ours", "equality",
        equal("reward", "mean best reward of Speculative Rejection, standard normal final reward", predict.reward,
              at=(*SCHEDULES, MILLION), within=3e-3, seeds=by("n", {64: 1, 256: 2}, 5),
              because="the spec's Monte Carlo errors; below 1 % for every n"),
        at_most("closure", "mean best reward, against the closure", predict.closure,
                at=tuple(s for s in SCHEDULES if int(s["n"]) <= 256), because="the closure overstates"),
        equal("process", "mean best reward: early or late revelation, noisy or biased scorers, not Gaussian",
              predict.process_reward, at=grid(process=tuple(EXAMPLES), n=(8, 64), keep=0.5), relative=8e-3,
              seeds=by("n", {8: 4}), because="320 000 runs of 8 rows, of deviation ≤ 1, tell 0.0046"),
        equal("survivors", "share of a decision's survivors (4: of the final rewards) with a score of at most s",
              predict.survivors, at=SURVIVORS, within=3e-3, seeds=5, because="16 000 runs"),
    ),
    claim(
        "B5", "Does the winner survive?", ("Speculative Rejection", "survival", "explained variance", "threshold"),
        "The probability that Best-of-N's winner survives every rejection is an integral over the laws of the "
        "dropped rows; as N grows, keeping N^{1−a} rows at explained variance v loses it never if a < v and always if "
        "a > v.", "@sun2024 (the method); ours", "equality",
        equal("survival", "share of runs in which the row of highest final reward survives", predict.survival,
              at=SCHEDULES, within=7e-3, seeds=by("n", {256: 2}, 5), because="10 000 to 20 000 runs"),
        equal("process", "the same on other processes", predict.process_survival, within=7e-3,
              at=grid(process=("early", "late", "noisy", "gamma"), n=(8, 64), keep=0.5),
              seeds=by("process", {"late": 6}, 4), because="20 000 runs"),
        greater("free", "survival at n = 4096 minus survival at n = 64, a below v = ½", 0.0, at=grid(a=(0.2, 0.3)),
                because=EITHER_N),
        greater("lossy", "survival at n = 64 minus survival at n = 4096, a above v = ½", 0.0, at=grid(a=(0.7, 0.8)),
                because=EITHER_N),
    ),
    claim(
        "B6", "Tokens and speed-up", ("Speculative Rejection", "speed-up", "compute", "explained variance"),
        "Speculative Rejection generates Σ n_j (t_{j+1} − t_j) tokens, and its speed-up N*T/tokens at equal "
        "expected reward follows from the explained variance: 16 to 32 times need early-revealing scores, "
        "late-revealing ones make keeping a fixed half slower than Best-of-N, keeping n^{1−v} rows does not.",
        "@sun2024 section 4; prediction ours", "equality",
        invariant("tokens", "tokens that the decoder generates", predict.tokens, at=TIMES, because=COUNT),
        equal("scored", "tokens that a scorer without a cache reads", predict.scored, at=TIMES, because=COUNT),
        equal("early_stop", "tokens generated when responses end by themselves", predict.early_stop,
              at=grid(n=2000, times="32 64 128", keep=0.5, length=256, stop=(0.005, 0.02)), relative=5e-3,
              seeds=6, because="rounding of counts, 1/n"),
        equal("reward", "mean best reward of the schedule that keeps a budget of two responses full",
              predict.profile_reward, at=full((0.3, 0.8), 8, 32, 128, 512), within=5e-3,
              seeds=by("area", {0.3: 11, 0.8: 5}), because="40 000 runs"),
        equal("speedup", "tokens of Best-of-N at equal mean reward over tokens of Speculative Rejection",
              predict.profile_speedup, relative=2e-2, seeds=4, because="N* is exponential in the reward",
              at=tuple({"n": n, "area": area, **FULL} for n in (64, 256) for area in (0.3, 0.5, 0.7, 0.8, 0.9))),
        equal("area", "area under the explained variance at which the speed-up is `target`", predict.required_area,
              at=tuple({"target": target, "n": 1024, **FULL} for target in (16, 32, 64)), within=1e-2,
              seeds=2, because="a seventh or less of what separates one target from twice it"),
        greater("optimal", "mean best reward of the certified optimal schedule minus that of the best fixed fraction",
                0.0, at=TIGHT, because="paired runs; branch and bound proves the optimum to 2·10⁻³"),
        greater("information", "log speed-up of keeping n^{1−v} rows minus that of keeping half, same times", 0.0,
                at=tuple({"n": n, "area": area, **FULL} for n in (64, 256) for area in (0.3, 0.5)),
                because="independent runs"),
    ),
    claim(
        "B7", "Memory and schedules", ("Speculative Rejection", "memory", "schedule", "budget"),
        "Memory peaks at max_j n_j t_{j+1}; the largest batch that fits a budget and the schedule that keeps the "
        "budget full follow.", "@sun2024 section 3", "invariant",
        invariant("peak", "most cached tokens that the decoder holds at once", predict.peak,
              at=tuple({**setting, "prompt": prompt} for setting in TIMES for prompt in (0, 32)), because=COUNT),
        invariant("batch", "the largest batch that the decoder gets through a budget", predict.largest_batch,
              at=grid(budget=(3000, 20_000), times="32 64 128", keep=0.5, length=256, prompt=(0, 32)), because=COUNT),
        invariant("full_tokens", "tokens generated when rejection is triggered by memory", predict.full_tokens,
              at=FULL_BUDGETS, because=COUNT),
        invariant("full_share", "least share of the budget in use when memory triggers a rejection", predict.full_share,
              at=FULL_BUDGETS, within=1e-12, because=COUNT),
    ),
    claim(
        "B8", "The paper's improvement score", ("Speculative Rejection", "improvement score", "metric"),
        "The paper's improvement score has expectation 100·(½ + E[best]·E[1/range]) on Gaussian rewards, "
        "whatever the prompts' locations and scales; relative compute is the ratio of tokens; a speed-up is never read "
        "off beyond the last measured Best-of-N point.", "@sun2024 section 4; expectation ours", "equality",
        equal("improvement", "improvement score of Speculative Rejection over prompts of random location and scale",
              predict.improvement, at=grid(n=(64, 256), n_reference=(16, 120)), within=0.5,
              because="40 000 prompts; Best-of-ref is 100"),
        invariant("compute", "tokens of the decoder for Speculative Rejection over tokens for Best-of-ref",
              predict.compute, at=grid(n=(64, 256), n_reference=(16, 120)), within=1e-12, because="both count tokens"),
        invariant("not_extrapolated", "largest measured speed-up × compute of it / compute of the last Best-of-N point",
                1.0, at=grid(last=(8, 32)), within=1e-12, because="rounding"),
        invariant("at_least", "share of runs beyond the last point whose speed-up is reported as a lower bound", 1.0,
              at=grid(last=(8, 32)), because="all of them"),
    ),
    claim(
        "B9", "The decoder, bit for bit", ("Speculative Rejection", "Best-of-N", "decoder", "exactness"),
        "With α = 0 at fixed times, or triggered by memory without a limit, Speculative Rejection returns "
        "Best-of-N of the same samples bit for bit; a response that finishes is never lost; a truncated one is never "
        "returned.", "@sun2024 (the method); ours", "invariant",
        invariant("same", "share of runs with another winner, reward or token count than Best-of-N", 0.0,
              at=grid(mode=("fixed times", "no limit")), because=BITS),
        invariant("lost", "share of runs in which a response that finished beats the one returned", 0.0,
              at=grid(mode=MODES), because=BITS),
        invariant("truncated", "share of runs that return a response cut off by the length limit as finished", 0.0,
              at=grid(mode=MODES), because=BITS),
    ),
)  # fmt: skip
