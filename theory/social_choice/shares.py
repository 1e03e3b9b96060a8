"""Population-proportional policies: probability in proportion to the share of users who can have it as favourite.

Whoever has x as favourite prefers it to each other alternative, so that of users without noise at most
s(x) = min_{y ≠ x} P(x≻y) are such, and win rates show no more (Kim, Zhang, Ozdaglar, Parrilo, arXiv 2506.05619, whose
u_i and β are s and `sharpness` here). Their policy is s normalised; softened it is s·exp(sharpness·s) normalised, from
proportional at 0 to the minimax rule, hence a Condorcet winner where there is one, as sharpness → ∞. That
Bradley–Terry users need another bound on the shares, and which, is ours. What it all costs: `theory.distortion`, D26.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theory.numerics import centred_sigmoid
from theory.validate import Array, as_number, as_vector, check_between, check_reciprocal, check_win_rates

#: Scores this far below what users of a temperature can show are taken for rounding.
ROUNDING = 1e-12


def check_sharpness(sharpness: float) -> float:
    """κ ≥ 0 of shares ∝ s(x)·e^{κ s(x)}, finite; ValueError otherwise."""
    return check_between("sharpness", sharpness, high=np.inf, ends="[)")


def proportional_scores(win_rates: ArrayLike, multiplicity: ArrayLike | None = None) -> Array:
    """s(x) = min_{y ≠ x} P(x≻y), the largest share of users without noise who can have x as favourite.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class, ≥ 1: a class of several meets itself, at ½. Ones by default.

    Returns
    -------
    ndarray, (A,)
        In [0, 1]; any two sum to at most 1, and all to at most A/2. 1 for an only alternative.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Kim, Zhang, Ozdaglar, Parrilo (arXiv 2506.05619); classes of identical alternatives ours.

    Examples
    --------
    >>> from theory.social_choice import proportional_scores
    >>> P = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]]
    >>> proportional_scores(P), proportional_scores(P, multiplicity=[3, 1, 1])
    (array([0.6, 0.4, 0.1]), array([0.5, 0.4, 0.1]))
    """
    P = check_win_rates(win_rates).copy()
    copies = _copies(multiplicity, P.shape[0])
    np.fill_diagonal(P, np.where(copies > 1.0, 0.5, 1.0))
    return np.asarray(P.min(axis=1))


def _copies(multiplicity: ArrayLike | None, size: int) -> Array:
    """(A,) identical alternatives per class; ValueError for less than one."""
    copies = np.ones(size) if multiplicity is None else as_vector("multiplicity", multiplicity, size)
    few = np.flatnonzero(copies < 1.0)
    if few.size:
        raise ValueError(f"multiplicity[{few[0]}] = {copies[few[0]]:g} must be at least 1")
    return copies


def proportional(win_rates: ArrayLike, sharpness: float = 0.0, *, multiplicity: ArrayLike | None = None) -> Array:
    """The population-proportional policy π(x) ∝ s(x)·exp(sharpness·s(x)), s of `proportional_scores`.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    sharpness : float
        Finite, ≥ 0 (β in the paper); 0 is proportional, large values near the minimax rule.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class, ≥ 1. The policy then is of classes.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input, or every alternative loses all comparisons with some other: there is nothing to share out.

    References
    ----------
    Kim, Zhang, Ozdaglar, Parrilo (arXiv 2506.05619); classes of identical alternatives ours.

    Examples
    --------
    >>> from theory.social_choice import proportional
    >>> P = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]]
    >>> proportional(P).round(4), proportional(P, sharpness=20.0).round(4)
    (array([0.5455, 0.3636, 0.0909]), array([0.9879, 0.0121, 0.    ]))
    """
    scores = proportional_scores(win_rates, multiplicity)
    sharpness = check_sharpness(sharpness)
    if not scores.max() > 0.0:
        raise ValueError(
            "win_rates: every alternative has one that always beats it, so that all shares are bounded by 0"
        )
    mass = _copies(multiplicity, scores.size) * scores * np.exp(sharpness * (scores - scores.max()))
    return np.asarray(mass / mass.sum())


def share_bounds(win_rates: ArrayLike, bt_beta: float = math.inf) -> Array:
    """The largest share of users who can have x as favourite, from win rates alone.

    Users without noise: s(x). Bradley–Terry users: a user prefers a favourite with probability at least ½ and anything
    with at least σ(−β), so that the share w has s ≥ w/2 + (1 − w)σ(−β), with equality where favourites are faint.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0; inf: users without noise.

    Returns
    -------
    ndarray, (A,)
        min(1, (s − σ(−β))/(½ − σ(−β))), or s where bt_beta is inf.

    Raises
    ------
    ValueError
        Malformed input, or win rates that no population of this temperature shows.

    References
    ----------
    Kim, Zhang, Ozdaglar, Parrilo (arXiv 2506.05619) for users without noise; Bradley–Terry users ours, proof in
    paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.social_choice import share_bounds
    >>> P = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]]
    >>> share_bounds(P), share_bounds(P, bt_beta=5.0).round(3)
    (array([0.6, 0.4, 0.1]), array([1.   , 0.797, 0.189]))
    """
    scores = proportional_scores(win_rates)
    if as_number("bt_beta", bt_beta) == math.inf:
        return scores
    half = float(centred_sigmoid(check_reciprocal("bt_beta", bt_beta)))  # ½ − σ(−β)
    shares = (scores - (0.5 - half)) / half
    low = int(shares.argmin())
    if shares[low] < -ROUNDING:
        raise ValueError(
            f"win_rates: alternative {low} wins {scores[low]:.6g}, less than users of bt_beta = {bt_beta:g} show"
        )
    return np.clip(shares, 0.0, 1.0)
