"""What of a trained policy depends on how it was trained (P14).

A softmax policy has logits Φφ, and DPO sees φ through the margins of compared pairs only. Where both outcomes of each
comparison occur, the optima are φ* + {φ : Φφ is constant on each label of `flat_directions`}: runs that differ in
start, rate, optimiser, order of batches or number of steps end apart by a vector Φφ of that kind and by no other.
Gradients lie in the span of the features' differences of compared pairs, so plain descent and momentum, from whatever
φ_0, end at the optimum nearest to φ_0: a start moved by δ moves the end by the projection of δ on those φ. On one
separable pair the margin grows without end, all of it along K(e_w − e_l), K = ΦΦᵀ. PRO has one optimum.

Source: ours, on the losses of Guo, Li, Chen (arXiv 2505.23316). Shapes: A responses, d features.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.linalg import null_space

from theory.proximal.descent import likelihood_path
from theory.proximal.examples import COMPARISONS, COUPLED
from theory.proximal.existence import flat_directions
from theory.proximal.feedback import empirical_scores
from theory.proximal.run_examples import RATES, RUN_STEPS, comparison_features
from theory.validate import Array


def unseen_features(data: str) -> Array:
    """An orthonormal basis (d, k) of the φ along which no compared margin of the data set `data` changes."""
    features = comparison_features(data)
    labels = flat_directions(*COMPARISONS[data])
    members = labels[None, :] == np.arange(labels.max() + 1)[:, None]
    within = features - (members @ features / members.sum(axis=1, keepdims=True))[labels]
    return np.asarray(null_space(within, rcond=1e-9))


def free_movements(data: str) -> Array:
    """The movements (A, k) of the logits along those φ, less their mean: what normalisation leaves."""
    moved = comparison_features(data) @ unseen_features(data)
    return np.asarray(moved - moved.mean(axis=0))


def irreproducible_dimension(method: str, data: str) -> float:
    """Dimension of the log-ratios' differences between converged runs, less the common shift."""
    return 0.0 if method == "pro" else float(np.linalg.matrix_rank(free_movements(data), tol=1e-9))


def start_spread(method: str, data: str) -> float:
    """Root of the summed squares of the log-ratios' movements, less their mean, if each feature's start moves by 1."""
    return 0.0 if method == "pro" else float(np.linalg.norm(free_movements(data)))


def coupled_direction(response: int) -> float:
    """Growth of log π(response)/π(0) per nat of the margin log π(0)/π(1), under DPO on the coupled pair."""
    step = COUPLED.kernel @ np.array([1.0, -1.0, 0.0])
    return float((step[response] - step[0]) / (step[0] - step[1]))


@cache
def _coupled_ends() -> tuple[tuple[float, ...], ...]:
    c, ends = COUPLED, []
    scores, empirical = empirical_scores(3, [(0, 1)])
    for rate in RATES:
        path = likelihood_path(
            np.log(c.reference), scores * empirical, empirical, 1.0, c.kl_beta, c.kernel, rate, max(RUN_STEPS)
        )
        ends += [tuple(map(float, path[steps])) for steps in RUN_STEPS]
    return tuple(ends)


def run_range(response: int) -> float:
    """max − min of log π/π_ref of one response over rates and numbers of steps: DPO by descent on the coupled pair."""
    levels = [end[int(response)] for end in _coupled_ends()]
    return max(levels) - min(levels)
