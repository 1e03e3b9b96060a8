"""The decoding engine against `model.generate` of transformers, and Speculative Rejection against Best-of-N on it.

Run from the repository root:  OMP_NUM_THREADS=1 python tests/benchmarks/bench_generation.py [--size tiny]

1. Tokens per second of Best-of-N on this engine and of `generate(do_sample=True)`, same model, batch and length, no
   end token on either side, no scorer. Repetitions alternate between the two, the median counts. Target: 1.2.
2. Mean best reward and seconds of Best-of-N at several N, and of Speculative Rejection at several α, by the same
   engine. The reward is the mean of fixed values of tokens, so partial scores are informative in proportion to
   length; v(t) = t/T. Speed-up: seconds of Best-of-N at equal reward, read off its measured curve, to seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without the package installed, too

from llm_validation.generation.decode import Outcome, best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch, no_score
from llm_validation.model.model import build
from theory.best_of_n.metrics import measured_speedup

VOCABULARY, PROMPT = 512, tuple(range(5, 13))


class TokenValues:
    """Mean of fixed values of the tokens written."""

    def __init__(self, seed: int = 0) -> None:
        self.values = np.random.default_rng(seed).standard_normal(VOCABULARY)

    def __call__(self, batch: Batch) -> np.ndarray:
        return self.values[np.array(batch.responses)].mean(axis=1)


def throughput(model: torch.nn.Module, batch: int, length: int, repeats: int) -> tuple[float, float]:
    """Tokens per second of this engine and of `generate`, medians of alternating repetitions."""
    prompt = torch.tensor([PROMPT] * batch)
    ours, theirs = [], []
    for seed in range(repeats + 1):
        start = time.perf_counter()
        outcome = best_of_n(model, [PROMPT], batch, no_score, Sampling(length, ()), seed=seed)
        ours.append(outcome.spent.generated / (time.perf_counter() - start))
        start = time.perf_counter()
        written = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=length,
            do_sample=True,
            top_k=0,
            pad_token_id=0,
        )
        theirs.append(batch * (written.shape[1] - prompt.shape[1]) / (time.perf_counter() - start))
    return statistics.median(ours[1:]), statistics.median(theirs[1:])  # the first repetition warms up


def reward_and_seconds(runs: list[Outcome]) -> tuple[float, float]:
    """Means over runs."""
    rewards = [run.returned[0].reward for run in runs if run.returned[0] is not None]
    return statistics.fmean(rewards), statistics.fmean(run.spent.seconds for run in runs)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build(options.size, VOCABULARY, 256, seed=0).eval()
    ours, theirs = throughput(model, options.batch, options.length, options.repeats)
    print(f"{options.size}, batch {options.batch} x {options.length} tokens, {torch.get_num_threads()} thread")
    print(
        f"  this engine {ours:8.0f} tokens/s\n  generate    {theirs:8.0f} tokens/s\n  ratio       {ours / theirs:8.2f}"
    )

    scorer, sampling, T = TokenValues(), Sampling(options.length, ()), options.length
    sizes = (4, 8, 16, 32, 64, 128, 256)
    curve, seconds = [], []
    for n in sizes:
        runs = [best_of_n(model, [PROMPT], n, scorer, sampling, seed=s) for s in range(3 * options.repeats)]
        reward, cost = reward_and_seconds(runs)
        curve.append(reward)
        seconds.append(cost)
        print(f"  Best-of-{n:<4d}                    reward {reward:.4f}   {cost:6.3f} s")
    for alpha, times in ((0.5, (T // 4, T // 2, 3 * T // 4)), (0.75, (T // 4, T // 2)), (0.9, (T // 3,))):
        runs = [
            speculative_rejection(model, [PROMPT], 256, alpha, scorer, sampling, seed=100 + s, times=times)
            for s in range(3 * options.repeats)
        ]
        reward, cost = reward_and_seconds(runs)
        gain = measured_speedup(reward, cost, sizes, curve, seconds)
        print(f"  rejecting {alpha} at {times!s:14s} reward {reward:.4f}   {cost:6.3f} s", end="   ")
        print(f"speed-up {gain.value:.2f} ({gain.status})")


if __name__ == "__main__":
    main()
