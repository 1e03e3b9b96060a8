"""When the losses have an optimum: the exact threshold of PRO (P7), the paper's bounds, and where DPO has none (P5).

With the signal w = μ̂ŝ (Σ w = 0), weights μ > 0 and r(y) = kl_beta·log(π(y)/π_ref(y)), the loss is

    F(r) = −Σ_y w(y) r(y) + (α/2) Σ_{y,y'} μ(y)μ(y') klB(r(y) − r(y')),        klB(δ) = log cosh(δ/2).

It is convex and invariant to shifts of r, so it has a minimiser iff it grows in every direction d that is no shift.
Since klB(δ)/|δ| → ½, its growth (recession function), and that function cut into level sets of d, are

    F∞(d) = −Σ w d + (α/4) Σ μμ'|d(y) − d(y')| = ∫ [ (α/2) μ(S_t)(1 − μ(S_t)) − w(S_t) ] dt,   S_t = {d > t}.

So an optimum exists iff the bracket is positive for every proper nonempty S, that is iff

    α > α* = max_S 2·|w(S)| / (μ(S)(1 − μ(S))).

Along the order of decreasing w/μ, W(m) = (largest w(S) at μ(S) = m, fractions of a response allowed) is concave and
piecewise linear, so (α/2)m(1 − m) − W(m) is concave between two prefixes and least at one of them: the maximum is
attained at a prefix, found in O(A log A). Proof in `paper/sections/proximal_proofs.tex`.

Sources: Guo, Li, Chen (arXiv 2505.23316), Theorems 4.2, 4.3 and Corollary B.2; the exact threshold is ours.
Shapes: A responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from theory.proximal.feedback import Index, check_pairs, check_signal, signal_of
from theory.validate import Array, as_number, check_between, check_distribution, check_positive, check_support


@dataclass(frozen=True, eq=False)
class Separation:
    """The exact threshold and its witness.

    threshold  α* ≥ 0: the loss has an optimum iff α > α*
    members    (A,) boolean, the set S that attains it, w(S) ≥ 0: at α ≤ α* raising r on S never costs more than it
               gains. Empty where w = 0 (α* = 0)
    """

    threshold: float
    members: NDArray[np.bool_]


def existence_threshold(scores: ArrayLike, empirical: ArrayLike, weights: ArrayLike) -> float:
    """α* = max over proper nonempty S of 2·|Σ_S μ̂ŝ|/(μ(S)(1 − μ(S))): PRO has an optimum iff α > α* (P7). O(A log A).

    Parameters
    ----------
    scores : array_like, (A,)
        ŝ, with μ̂-mean 0.
    empirical : array_like, (A,)
        μ̂, the law of the labelled responses.
    weights : array_like, (A,)
        μ of the regulariser, a law with full support.

    Returns
    -------
    float
        α* ≥ 0; 0 where ŝ is 0, inf beyond float64.

    Raises
    ------
    ValueError
        What is not a law, scores whose mean is not 0, or a weight of 0.

    References
    ----------
    Ours, exact where Theorems 4.2 and 4.3 of Guo, Li, Chen (arXiv 2505.23316) are sufficient.

    Examples
    --------
    >>> from theory.proximal import empirical_scores, existence_threshold
    >>> scores, empirical = empirical_scores(3, [(0, 1)])  # 0 was preferred to 1; 2 is unlabelled
    >>> round(existence_threshold(scores, empirical, [1 / 3] * 3), 12)  # 9/8
    1.125
    """
    return separation(signal_of(scores, empirical), weights).threshold


def separation(signal: ArrayLike, weights: ArrayLike) -> Separation:
    """α* and a set that attains it, for a signal w (A,) with Σ w = 0 and weights μ (A,); see `existence_threshold`."""
    w = check_signal("signal", signal)
    mu = check_weights(weights, w.size)
    with np.errstate(over="ignore"):  # a threshold beyond float64 is infinite
        return _separation(w, mu)


def _separation(w: Array, mu: Array) -> Separation:
    order = np.argsort(-w / mu, kind="stable")
    w, mu = w[order], mu[order]
    # Sums from whichever end has one sign only, so that nothing cancels: gains while w > 0, the rest as −losses.
    gains = np.cumsum(w)[:-1]
    losses = -np.cumsum(w[::-1])[::-1][1:]
    inside, outside = np.cumsum(mu)[:-1], np.cumsum(mu[::-1])[::-1][1:]
    ratios = 2.0 * np.where(w[:-1] > 0, gains, losses) / (inside * outside)
    members = np.zeros(w.size, dtype=bool)
    if ratios.size == 0 or ratios.max() <= 0.0:
        return Separation(0.0, members)
    best = int(ratios.argmax())
    members[order[: best + 1]] = True
    return Separation(float(ratios[best]), members)


def paper_threshold(scores: ArrayLike, empirical: ArrayLike, weights: ArrayLike) -> float:
    """α₀ = max over ŝ(y) < 0 of 2·μ̂(y)|ŝ(y)|/(μ(y)·min μ), sufficient for an optimum (Corollary B.2), (0 if w = 0).

    Over all responses min μ is small; over Y_H, H merged into one response (Theorem 4.2), it is not. Never below α*: of
    a set S that attains α*, the complement has |w(S)|/μ(Sᶜ) ≤ max |w|/μ over ŝ < 0, and μ(S) ≥ min μ.
    """
    w = signal_of(scores, empirical)
    mu = check_weights(weights, w.size)
    return float(2.0 * np.max(np.maximum(-w, 0.0) / mu) / mu.min())


def mixture_threshold(share: float) -> float:
    """1/η², sufficient for pairwise scores where μ = η·μ̂ + (1 − η)·ρ (Theorem 4.3).

    Pairwise scores have w(S) = Σ_{S×Sᶜ} μ̂μ̂'(p̂ − ½) ≤ ½μ̂(S)μ̂(Sᶜ), hence α* ≤ 1/η², below it if η < 1. Binary
    feedback reaches w(S) = μ̂(S)μ̂(Sᶜ) on feedback in [0, 1], hence twice that: one good and one bad response and H,
    η = ⅔, have α* = 9/4 = 1/η² itself.
    """
    return 1.0 / check_between("share", share, ends="(]") ** 2


def binary_threshold(score: float) -> float:
    """2|s|: the threshold of PRO-B (P10) on α, for a response of score s against H.

    ±½ for balanced labels. Centred labels, one positive to n negatives, are n/(n+1) and −1/(n+1): 2n/(n+1) (P13).
    """
    return 2.0 * abs(float(score))


def imbalance_scores(negatives_per_positive: float) -> tuple[float, float]:
    """Centred binary labels at 1 : n, (positive, negative) = (n/(n+1), −1/(n+1)) (P13). n > 0."""
    n = check_positive("negatives_per_positive", negatives_per_positive)
    return n / (n + 1.0), -1.0 / (n + 1.0)


def check_alpha(alpha: float, threshold: float) -> float:
    """α if an optimum exists at it; ValueError states α* otherwise."""
    value = as_number("alpha", alpha)
    if not (np.isfinite(value) and value > threshold):
        raise ValueError(
            f"alpha = {alpha} must be a finite number above the existence threshold alpha* = {threshold!r}: "
            "the loss has no optimum otherwise, its iterates diverge"
        )
    return value


def check_weights(weights: ArrayLike, size: int) -> Array:
    """A law (A,) with full support: a response of weight 0 is one whose likelihood nothing determines (as in DPO)."""
    mu = check_distribution("weights", weights, size)
    return check_support("weights", mu, "the regulariser must see every response")


# DPO on compared pairs alone: what it leaves open (P5).


def flat_directions(n_responses: int, pairs: ArrayLike) -> Index:
    """The directions of r that the DPO loss of these pairs cannot see, as labels (A,): adding any constant to r on
    all responses of one label leaves the loss unchanged.

    pairs (N, 2), rows (winner, loser). Labels number the connected components of the comparison graph; every response
    that was never compared is one of its own. One of the directions is the common shift, which normalisation takes
    up; the others (labels − 1) move likelihood freely between compared and other responses.
    """
    return _components(n_responses, pairs, "weak")


def dpo_attained(n_responses: int, pairs: ArrayLike) -> bool:
    """Whether DPO's loss of these pairs attains its infimum over r: iff no set wins all comparisons that cross it (P5).

    That is, iff every connected component of the comparison graph is strongly connected along winner → loser. One pair
    labelled once never is: the margin grows without end.

    Parameters
    ----------
    n_responses : int
        A.
    pairs : array_like, (N, 2)
        Rows (winner, loser) of indices, N ≥ 1.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        An index outside 0 … A − 1, a response compared with itself, no pair.

    References
    ----------
    Ford (1957), for Bradley–Terry likelihoods.

    Examples
    --------
    >>> from theory.proximal import dpo_attained
    >>> dpo_attained(3, [(0, 1)]), dpo_attained(3, [(0, 1), (1, 0)])
    (False, True)
    """
    weak, strong = (_components(n_responses, pairs, kind) for kind in ("weak", "strong"))
    return int(weak.max()) == int(strong.max())


def _components(n_responses: int, pairs: ArrayLike, connection: str) -> Index:
    table, n_responses = check_pairs(n_responses, pairs), int(n_responses)
    graph = coo_array((np.ones(len(table)), (table[:, 0], table[:, 1])), shape=(n_responses, n_responses))
    labels = connected_components(graph.tocsr(), directed=True, connection=connection, return_labels=True)[1]
    return np.asarray(labels, dtype=np.int64)
