"""Best-of-N as the alternative to training, where a reward of texts is given: at which N is it as good, at what cost?

A few answers of the reference to each held-out prompt, with rewards of their beginnings and of the wholes, give v(t),
the share of the reward that is known after t tokens, and the expected best of N. The policy's own answers, which the
pilot wrote, say what training reached.

Shapes: P prompts, n answers of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from llm_validation.advise.findings import Finding
from llm_validation.advise.pilot import Pilot, PilotRun
from llm_validation.generation.engine import Sampling
from llm_validation.generation.pilot import Sampled, scored_rows
from llm_validation.generation.scorers import Batch, Scorer, checked_scores
from llm_validation.model.model import autocast
from llm_validation.preferences.report import told
from llm_validation.preferences.shown import shown
from llm_validation.preferences.trace import Mean
from llm_validation.rewards.model import Explained
from simulate.montecarlo import generator
from theory.best_of_n.cost import speedup
from theory.validate import Array

#: Answers of each prompt; shares of their longest length at which beginnings are scored; what a decision keeps.
ANSWERS, SHARES, KEEP = 8, (0.25, 0.5), 0.5


def selection(
    model: Any, pilot: Pilot, run: PilotRun, fresh: Callable[[], Scorer], end: Sequence[int]
) -> list[Finding]:  # fmt: skip
    """Lines on the method recommended and Best-of-N by a reward, a scorer for every time it is asked."""

    def times(longest: int) -> list[int]:
        return sorted({max(1, round(share * longest)) for share in SHARES})

    prompts = [example.prompt for example in run.written]
    sampling = Sampling(pilot.plan.tokens, tuple(end))
    with autocast(next(model.parameters()).device):
        drawn = scored_rows(model, prompts, ANSWERS, fresh, sampling, times, pilot.plan.seed)
    places = tuple((p, 0) for p in range(len(prompts)))
    texts = tuple(example.completion for example in run.written)
    reached = checked_scores(fresh(), Batch(np.arange(len(prompts)), places, tuple(prompts), texts, True))
    v = drawn.explained(generator(pilot.plan.seed, "v"))
    return [_known(v, drawn.times), *_gain(run, drawn.final, reached), *_priced(run, drawn, reached, v)]


def _known(v: Explained, times: Sequence[int]) -> Finding:
    said = ", ".join(f"{x:.2f} [{a:.2f}, {b:.2f}] after {t} tokens" for x, a, b, t in zip(v.value, v.low, v.high, times,
                                                                                         strict=True))  # fmt: skip
    return Finding("explained", f"v(t), the share of the reward that is known: {said}", None, claim="B6")


def _gain(run: PilotRun, final: Array, reached: Array) -> list[Finding]:
    gain = Mean.of(reached - final.mean(axis=1))
    return [Finding("gain", f"reward of {run.method}'s answers less that of the reference's, {gain.n} prompts",
                    gain.value, gain.stderr)]  # fmt: skip


def _priced(run: PilotRun, drawn: Sampled, reached: Array, explained: Explained) -> list[Finding]:
    """The least N whose expected best is the policy's reward, and its tokens."""
    final, lengths = drawn.final, drawn.lengths
    gain = Mean.of(reached - final.mean(axis=1))
    if not (gain.value > 0 and told(gain)):
        return [Finding("best_of_n", "the gain of training cannot be told from none, so any N of Best-of-N is as good: "
                        "nothing is priced", None, claim="B3")]  # fmt: skip
    bests = [Mean.of(expected_best(final, n) - reached) for n in range(1, ANSWERS + 1)]
    n = next((k for k, mean in enumerate(bests, start=1) if mean.value >= 0), None)
    if n is None:
        return [Finding("best_of_n", f"Best-of-{ANSWERS} falls short of {run.method} by", -bests[-1].value,
                        bests[-1].stderr, "B3")]  # fmt: skip
    each = Mean.of(lengths.mean(axis=1))  # a prompt's answers are of like length
    found = [
        Finding("best_of_n", f"Best-of-N reaches the reward of {run.method} at this N (it is then ahead by "
                f"{shown(bests[n - 1])})", n, claim="B3"),
        Finding("tokens", "tokens that it writes for a prompt", n * each.value, n * each.stderr),
    ]  # fmt: skip
    rounds = [(t, v) for t, v in zip(drawn.times, explained.value, strict=True) if t < lengths.max()]
    if n > 1 and rounds:
        at, v = zip(*rounds, strict=True)
        faster = speedup(max(n, 4), v, at, KEEP, float(lengths.max()))
        found.append(Finding("speculative", "speed-up in tokens that v(t) allows Speculative Rejection from "
                             f"{max(n, 4)} rows, half of them kept at each time", faster, claim="B6"))  # fmt: skip
    return found


def expected_best(final: Array, n: int) -> Array:
    """E of the best of n of a prompt's answers (P,), without bias: Σ C(k − 1, n − 1)/C(K, n) of the k-th smallest."""
    K = final.shape[1]
    k = np.arange(n, K + 1)
    log = gammaln(k) - gammaln(n) - gammaln(k - n + 1) - (gammaln(K + 1) - gammaln(n + 1) - gammaln(K - n + 1))
    return np.asarray(np.sort(final, axis=1)[:, n - 1 :] @ np.exp(log))
