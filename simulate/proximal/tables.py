"""Random tables for the proximal claims, and what is counted or enumerated from them by hand."""

from __future__ import annotations

import itertools

import numpy as np

from simulate.montecarlo import Rng
from theory.proximal.examples import Labels
from theory.validate import Array


def random_table(rng: Rng, n: int, unscored: int) -> tuple[Array, Array]:
    """A signal w (n,), Σ w = 0, that is 0 on the last `unscored` ≤ n − 2 responses only, and weights (n,)."""
    scored = n - unscored
    w = np.zeros(n)
    w[:scored] = rng.choice([-1.0, 1.0], scored) * rng.uniform(0.05, 0.5, scored)
    w[0], w[1] = abs(w[0]), -abs(w[1])
    gains, losses = w[w > 0].sum(), -w[w < 0].sum()
    return np.where(w > 0, w * losses, w * gains), rng.dirichlet(np.full(n, 3.0))


def random_start(size: int, rng: Rng) -> Array:
    """Logits to start from, far enough apart that the start is nowhere near the reference."""
    return rng.normal(scale=1.5, size=size)


def threshold_over_subsets(signal: Array, weights: Array) -> float:
    """α* by its definition: the largest 2|w(S)|/(μ(S)(1 − μ(S))) over all 2ⁿ − 2 proper nonempty subsets."""
    subsets = np.array(list(itertools.product((0.0, 1.0), repeat=signal.size)))[1:-1]
    return float(np.max(2.0 * np.abs(subsets @ signal) / ((subsets @ weights) * ((1.0 - subsets) @ weights))))


def win_shares(wins: Array) -> tuple[Array, Array]:
    """(p̂, μ̂) from wins[x, y], how often x beat y: ½ where never compared; the share of places a response holds."""
    met = wins + wins.T
    return np.divide(wins, met, out=np.full(wins.shape, 0.5), where=met > 0), met.sum(axis=1) / met.sum()


def counted(labels: Labels) -> tuple[Array, Array, Array]:
    """(w, μ̂, p̂) of an example, counted from its observations; p̂ is ½ throughout where nothing was compared."""
    A = labels.reference.size
    if labels.pairs is not None:
        wins = np.zeros((A, A))
        np.add.at(wins, tuple(labels.pairs.T), 1.0)
        P, empirical = win_shares(wins)
        return empirical * ((P - 0.5) @ empirical), empirical, P
    assert labels.responses is not None
    assert labels.feedback is not None
    n = labels.feedback.size
    w = np.zeros(A)
    np.add.at(w, labels.responses, (labels.feedback - labels.feedback.mean()) / n)
    return w, np.bincount(labels.responses, minlength=A) / n, np.full((A, A), 0.5)


def regulariser_law(labels: Labels, empirical: Array) -> Array:
    """μ = η·μ̂ + (1 − η)·ρ (A,), ρ ∝ π_ref on the unlabelled responses."""
    rest = np.where(empirical > 0, 0.0, labels.reference)
    return labels.share * empirical + (1.0 - labels.share) * rest / rest.sum()
