"""What pairing costs: DPO's log R from n pairs against that of n winners and n losers unpaired. Claim V14, ours.

Winners are drawn from D⁺ = p and losers from D⁻ = q, independently, and paired. Every loss of V1–V6 that is minimised
class by class reads off log R = log p/q from the two empirical laws, with covariance diag(1/p + 1/q)/n on contrasts,
the least that these data allow. DPO sees only which of a pair won, and its estimate is worse unless p = q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.validate import Array, check_laws, check_support

#: Products of two masses below it underflow.
SMALLEST_MASS = 1e-100


def pair_covariance(p: ArrayLike, q: ArrayLike) -> Array:
    """n·Cov of DPO's log R on contrasts (A, A), from n pairs of a winner ~ p and a loser ~ q: the inverse of

        I = Σ_{i<j} h_ij (e_i − e_j)(e_i − e_j)ᵀ,   h_ij = p_i q_j p_j q_i/(p_i q_j + p_j q_i).

    Parameters
    ----------
    p, q : array_like, (A,)
        Probabilities with full support.

    Returns
    -------
    ndarray, (A, A)
        Rows and columns sum to zero.

    Raises
    ------
    ValueError
        Not a probability vector, or an outcome without mass.

    References
    ----------
    Ours; proof in paper/sections/divergences_proofs.tex.

    Examples
    --------
    >>> from theory.divergences import pair_covariance, unpaired_covariance
    >>> pair_covariance([0.5, 0.5], [0.5, 0.5])
    array([[ 2., -2.],
           [-2.,  2.]])
    >>> p, q = [0.9, 0.1], [0.1, 0.9]
    >>> round(float(pair_covariance(p, q)[0, 0]), 3), round(float(unpaired_covariance(p, q)[0, 0]), 3)
    (25.309, 5.556)
    """
    p, q = _full(p, q)
    won = np.outer(p, q)
    h = won * won.T / (won + won.T)
    np.fill_diagonal(h, 0.0)
    centre = np.eye(p.size) - 1.0 / p.size
    return centre @ _grounded_inverse(h) @ centre


def _grounded_inverse(h: Array) -> Array:
    """An inverse (A, A) on contrasts of the Laplacian of weights h > 0, its row and column of outcome 0 zero.

    Outcomes are eliminated one by one, with sums, products and quotients of nonnegative numbers only, so that every
    entry keeps its digits however unlike the weights are.
    """
    edges, sources = h.copy(), np.eye(len(h))
    for k in range(len(h) - 1, 0, -1):
        share = edges[:k, k] / edges[:k, k].sum()
        edges[:k, :k] += np.outer(share, edges[k, :k])
        sources[:k] += np.outer(share, sources[k])
    solved = np.zeros_like(h)
    for k in range(1, len(h)):
        solved[k] = (sources[k] + edges[:k, k] @ solved[:k]) / edges[:k, k].sum()
    return solved


def unpaired_covariance(p: ArrayLike, q: ArrayLike) -> Array:
    """n·Cov of log p̂/q̂ on contrasts (A, A), from n winners ~ p and n losers ~ q: diag(1/p + 1/q), centred.

    Parameters
    ----------
    p, q : array_like, (A,)
        Probabilities with full support.

    Returns
    -------
    ndarray, (A, A)
        Rows and columns sum to zero.

    Raises
    ------
    ValueError
        Not a probability vector, or an outcome without mass.

    References
    ----------
    Ours; proof in paper/sections/divergences_proofs.tex.

    Examples
    --------
    >>> from theory.divergences import unpaired_covariance
    >>> unpaired_covariance([0.5, 0.5], [0.5, 0.5])
    array([[ 2., -2.],
           [-2.,  2.]])
    """
    p, q = _full(p, q)
    centre = np.eye(p.size) - 1.0 / p.size
    return centre @ np.diag(1.0 / p + 1.0 / q) @ centre


def pairing_cost(p: ArrayLike, q: ArrayLike) -> Array:
    """Variance of DPO's log R over the unpaired one (A − 1,), ascending: along the directions that diagonalise both.

    Parameters
    ----------
    p, q : array_like, (A,)
        Probabilities with full support.

    Returns
    -------
    ndarray, (A − 1,)
        All ≥ 1; all 1 where p = q.

    Raises
    ------
    ValueError
        Not a probability vector, or an outcome without mass.

    References
    ----------
    Ours; proof in paper/sections/divergences_proofs.tex.

    Examples
    --------
    >>> from theory.divergences.pairing import pairing_cost
    >>> pairing_cost([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]).round(9), pairing_cost([0.9, 0.1], [0.1, 0.9]).round(3)
    (array([1., 1.]), array([4.556]))
    """
    unpaired = unpaired_covariance(p, q)
    values, vectors = np.linalg.eigh(unpaired)
    white = vectors[:, 1:] / np.sqrt(values[1:])  # the first is the constant, of variance 0
    return np.linalg.eigvalsh(white.T @ pair_covariance(p, q) @ white)


def _full(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    laws = check_laws(p, q)
    for name, law in zip("pq", laws, strict=True):
        check_support(name, law, "log R needs every outcome in both classes")
        if law.min() < SMALLEST_MASS:
            raise ValueError(f"{name}[{int(law.argmin())}] = {law.min():.3g} must be at least {SMALLEST_MASS:g}")
    return laws
