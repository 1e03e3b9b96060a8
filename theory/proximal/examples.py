"""Fixed data sets on which PRO's predictions are made, and on which policies are then really trained.

Shapes: A responses, N observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from theory.proximal.feedback import Index, empirical_scores, feedback_scores, mixture_weights
from theory.validate import Array


@dataclass(frozen=True, eq=False)
class Labels:
    """Feedback of one kind on some of the responses to one prompt.

    kind       "pairs", "binary" or "scalar"
    reference  π_ref (A,)
    pairs      (N, 2) rows (winner, loser), for pairs
    responses  (N,), feedback (N,): what was shown and what it got, for binary and scalar feedback
    share      η: μ = η·μ̂ + (1 − η)·ρ, ρ ∝ π_ref on the unlabelled responses
    """

    kind: str
    reference: Array
    share: float
    pairs: Index | None = None
    responses: Index | None = None
    feedback: Array | None = None

    def scores(self) -> tuple[Array, Array]:
        """(ŝ, μ̂), each (A,)."""
        if self.pairs is not None:
            return empirical_scores(self.reference.size, self.pairs)
        assert self.responses is not None
        assert self.feedback is not None
        return feedback_scores(self.reference.size, self.responses, self.feedback)

    @property
    def labelled(self) -> Index:
        """The labelled responses, in increasing order."""
        return np.flatnonzero(self.scores()[1])

    @property
    def unlabelled(self) -> Index:
        """H: all others."""
        return np.setdiff1d(np.arange(self.reference.size), self.labelled)

    def weights(self) -> Array:
        """μ (A,)."""
        rest = np.zeros(self.reference.size)
        rest[self.unlabelled] = self.reference[self.unlabelled]
        return mixture_weights(self.scores()[1], self.share, rest / rest.sum())


_REFERENCE = np.array([0.20, 0.15, 0.12, 0.08, 0.20, 0.15, 0.10])

#: Four labelled responses of seven. Of the pairs, 0 and 1 were compared three times, 0 and 3 never.
LABELS: dict[str, Labels] = {
    "pairs": Labels("pairs", _REFERENCE, 0.8, pairs=np.array([[0, 1], [0, 1], [1, 0], [0, 2], [3, 2], [1, 2]])),
    "binary": Labels(
        "binary", _REFERENCE, 0.8, responses=np.array([0, 0, 0, 1, 1, 2, 3]), feedback=np.array([1.0, 1, 0, 1, 0, 0, 0])
    ),
    "scalar": Labels(
        "scalar", _REFERENCE, 0.8, responses=np.array([0, 1, 2, 3]), feedback=np.array([0.9, 0.6, 0.4, 0.05])
    ),
}


@dataclass(frozen=True, eq=False)
class Coupled:
    """One pair and a third response whose features are alike, the setting in which DPO's likelihoods fall.

    Response 0 is chosen, 1 rejected, 2 unlabelled. The row difference Φ_0 − Φ_1 points towards Φ_2 most of all, so that
    what separates the pair helps the third response most.
    """

    reference: Array
    features: Array
    alpha: float
    kl_beta: float
    rate: float

    @property
    def kernel(self) -> Array:
        """K = ΦΦᵀ (A, A)."""
        return self.features @ self.features.T


COUPLED = Coupled(
    reference=np.array([0.1, 0.1, 0.8]),
    features=np.array([[0.5, 1.0], [0.2, 1.0], [1.5, 0.3]]),
    alpha=9.0 / 4.0,
    kl_beta=0.5,
    rate=8.0,
)


#: Compared pairs (winner, loser) among n responses: what DPO sees of them (P5).
COMPARISONS: dict[str, tuple[int, tuple[tuple[int, int], ...]]] = {
    "one_pair": (3, ((0, 1),)),
    "two_pairs": (6, ((0, 1), (2, 3))),
    "cycle": (5, ((0, 1), (1, 2), (2, 0), (4, 3))),
    "chain": (6, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))),
}


@dataclass(frozen=True)
class Observations:
    """Repeated observations for minibatch training, and PRO-B's and PRO-S's alpha.

    pairs    comparisons of the responses 0 and 1;  labels  of one response, ±½;  ratings  rows (response 0, 1), centred
    """

    pairs: tuple[tuple[int, int], ...] = ((0, 1), (0, 1), (0, 1), (1, 0))
    labels: tuple[float, ...] = (0.5, 0.5, 0.5, -0.5, 0.5)
    ratings: tuple[tuple[float, float], ...] = ((0.6, -0.4), (0.2, -0.5), (0.1, -0.1), (0.5, -0.4))
    alpha: float = 2.5


MINIBATCH = Observations()


def spread_table(n: int) -> tuple[Array, Array]:
    """(w, μ), each (n,): a signal and weights without ties or order, from the golden ratio and √2. n ≥ 2."""
    k = np.arange(1, n + 1)
    mu = 0.2 + np.modf(k * (1.0 + math.sqrt(5.0)) / 2.0)[0]
    w = np.modf(k * math.sqrt(2.0))[0]
    return (w - w.mean()) / n, mu / mu.sum()


def preference_table() -> tuple[Array, Array, Array]:
    """(P, μ, π_ref) of four responses, compared by pairs from μ × μ: for the population losses (P1)."""
    P = np.array([[0.5, 0.7, 0.6, 0.85], [0.3, 0.5, 0.55, 0.4], [0.4, 0.45, 0.5, 0.75], [0.15, 0.6, 0.25, 0.5]])
    return P, np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
