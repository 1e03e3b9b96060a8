"""How much a corrector copies: identity pairs in training, and what is left of them (A5).

Shapes: A answers; kernels (A, A), dense or scipy.sparse; laws (A,). Identity pairs: Ji et al. (arXiv 2402.02416); the
laws are ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import diags_array, issparse

from theory.correction.kernels import Kernel, check_kernel, check_pair, diagonal
from theory.density_ratio.flow import flow
from theory.validate import Array, check_between, check_distribution, check_nonnegative, check_whole


def unchanged_share(policy: ArrayLike, kernel: Kernel) -> float:
    """Σ_o π(o) K(o|o): the share of answers that come back as they were (A5).

    Parameters
    ----------
    policy : array_like, (A,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (A, A)
        Markov kernel of the corrections.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        A policy or a row that is not a law; a kernel that is not square.

    References
    ----------
    Ours; identity pairs in Ji et al. (arXiv 2402.02416).

    Examples
    --------
    >>> from theory.correction import unchanged_share
    >>> unchanged_share([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]])
    0.75
    """
    pi, K = check_pair(policy, kernel, square=True)
    return float(pi @ diagonal(K))


def identity_weights(share: float, identity_law: ArrayLike, correction_law: ArrayLike) -> Array:
    """Weight (A,) of copying at each answer after joint training with a share q of identity pairs.

    w(o) = q π_id(o)/(q π_id(o) + (1−q) π_qac(o)), the chance that a training pair that starts from o is an identity
    pair. Both laws (A,). ValueError for q outside [0, 1] and for an answer that no training pair starts from.
    """
    q = check_between("share", share)
    copied = q * check_distribution("identity_law", identity_law)
    total = copied + (1.0 - q) * check_distribution("correction_law", correction_law, copied.size)
    empty = np.flatnonzero(total == 0)
    if empty.size:
        raise ValueError(f"no training pair starts from answer {empty[0]}: its row is not determined")
    return copied / total


def identity_mixture(
    kernel: Kernel, share: float, identity_law: ArrayLike | None = None, correction_law: ArrayLike | None = None
) -> Kernel:
    """The corrector (A, A) learnt jointly from corrections and identity pairs: row o is w(o)·δ_o + (1−w(o))·K(·|o).

    share  q, of identity pairs among all; w as in `identity_weights`, so (1−q)K + qI where both kinds of pairs start
    from the same law. Sparse in, sparse out. A warm-up on identity pairs that is followed by corrections alone is
    something else: its optimum is K, and what is left of the copying is `copying_left`.
    """
    K = check_kernel(kernel, square=True)
    if identity_law is None and correction_law is None:
        w = np.full(K.shape[0], check_between("share", share))
    elif identity_law is None or correction_law is None:
        raise ValueError("give identity_law and correction_law, or neither where they are the same")
    else:
        w = identity_weights(share, check_distribution("identity_law", identity_law, K.shape[0]), correction_law)
    if issparse(K):
        return (diags_array(1.0 - w) @ K + diags_array(w)).tocsr()
    return (1.0 - w)[:, None] * K + np.diag(w)


def copying_left(copy: float, n_edits: int, warm_up: float, time: ArrayLike) -> Array:
    """K_φ(o|o) (same shape as `time`) after a warm-up on identity pairs and then corrections alone (A5). Ours.

    One row of a tabular corrector under gradient flow on its logits, from uniform ones: the answer itself and n_edits
    alternatives, which the corrections use alike; `copy` is K(o|o) in [0, 1). Times ≥ 0 are in units of
    1/(learning rate × share of the pairs that start from o). The log-odds s of copying obey

        ds/dt = (1 + 1/n)(k − σ(s)),      k = 1 in the warm-up, K(o|o) after it,

    a plateau of about s(warm-up)/((1 + 1/n)(1 − k)) and then an exponential approach to k; at k = 0 only like 1/t.
    """
    check_between("copy", copy, ends="[)")
    n_edits = check_whole("n_edits", n_edits)
    pace = 1.0 + 1.0 / n_edits
    start = float(flow(pace * check_nonnegative("warm_up", warm_up), 1.0, 0.0, -math.log(n_edits)))
    odds = flow(pace * np.asarray(time, dtype=np.float64), copy, 1.0 - copy, start)
    return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))
