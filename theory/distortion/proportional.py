"""What population-proportional policies cost Bradley–Terry users, and what a group of them can count on (D26). Ours.

s(x) = min_{y≠x} P(x≻y), π(x) ∝ s(x)·e^{κ s(x)}, κ the sharpness (`theory.social_choice.shares`);
φ(z) = σ(βz) − ½, B = φ(1). Proofs: `paper/sections/distortion_proportional_proofs.tex`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from theory.bradley_terry import Population
from theory.distortion.few import largest_at
from theory.numerics import centred_sigmoid
from theory.social_choice.shares import check_sharpness
from theory.validate import (
    Array,
    check_between,
    check_bt_beta,
    check_distribution,
    check_reciprocal,
    check_whole,
    check_word,
)

#: Electorates in which everybody has one favourite, worth 1 to them: all else is worth 0, or follows in a cycle.
ELECTORATES = ("single", "cycle")
#: β times a utility beyond which σ(−βe) leaves float64; no maximum lies there, log β is less.
SATURATED = 700.0


def unanimous_distortion(n_alternatives: int, bt_beta: float, utility: float, sharpness: float = 0.0) -> float:
    """1 + (A − 1)·exp(−βε − κ tanh(βε/2)): all users value one alternative at ε and the others at nothing.

    It tends to A as ε → 0, whatever β and κ: what the uniform policy loses.

    Parameters
    ----------
    n_alternatives : int
        A ≥ 1.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    utility : float
        ε in (0, 1].
    sharpness : float
        κ ≥ 0, finite.

    Returns
    -------
    float
        In [1, A).

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import unanimous_distortion
    >>> [round(unanimous_distortion(100, 5.0, utility), 2) for utility in (1.0, 0.1, 0.001)]
    [1.67, 61.05, 99.51]
    """
    size = check_whole("n_alternatives", n_alternatives)
    exponent = check_bt_beta(bt_beta) * check_between("utility", utility, ends="(]")
    return 1.0 + (size - 1) * math.exp(-exponent - check_sharpness(sharpness) * math.tanh(0.5 * exponent))


def _two_tastes(bt_beta: float, sharpness: float, z: ArrayLike) -> tuple[Array, Array]:
    """Of two types (1, 0) and (0, z/β): the first alternative's probability, and u(second)/u(first).

    Among all populations with that s this ratio is least: e = z/β is where (φ(e) − m)/e is largest, m = ½ − s.
    """
    z = np.asarray(z, dtype=np.float64)
    loses, top = expit(-z), float(centred_sigmoid(bt_beta))
    score = loses * (1.0 + z * (1.0 - loses))  # ½ − φ(e) + eφ′(e)
    other = 1.0 - score
    ratio = (top + 0.5 - score) / (bt_beta * loses * (1.0 - loses))
    # of scores p and 1 − p, softened: p/(p + (1 − p)e^{κ(1 − 2p)})
    return expit(np.log(score / other) - sharpness * (1.0 - 2.0 * score)), ratio


def _argmax(function: Callable[[Array], Array], bt_beta: float) -> float:
    """Where a function of z = βe is largest, e in [0, 1]."""
    return largest_at(function, 0.0, min(bt_beta, SATURATED))[0]


def _loss_of_tastes(bt_beta: float, sharpness: float, z: ArrayLike) -> Array:
    probability, ratio = _two_tastes(bt_beta, sharpness, z)
    return np.asarray(1.0 / (probability + (1.0 - probability) * ratio))


def pair_proportional_factor(bt_beta: float, sharpness: float = 0.0) -> float:
    """The exact worst distortion with two alternatives: max(2, sup_e 1/(h + (1 − h)/R)), e in (0, 1].

    R = φ′(e)/(B + m) is the largest u(a)/u(o) where a wins p = ½ − m of its comparisons with o, m = φ(e) − eφ′(e), and
    h = pe^{κp}/(pe^{κp} + (1 − p)e^{κ(1 − p)}) its probability. Of order √(β/(2 log β)) at κ = 0, and max(2, L(β)) as
    κ → ∞.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    sharpness : float
        κ ≥ 0, finite.

    Returns
    -------
    float
        ≥ 2.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import pair_proportional_factor
    >>> [round(pair_proportional_factor(beta), 3) for beta in (5.0, 50.0, 1000.0)]
    [2.0, 2.462, 7.438]
    >>> [round(pair_proportional_factor(10.0, sharpness), 3) for sharpness in (0.0, 10.0, 1000.0)]
    [2.0, 2.244, 4.717]
    """
    beta, kappa = check_reciprocal("bt_beta", bt_beta), check_sharpness(sharpness)
    return max(2.0, float(_loss_of_tastes(beta, kappa, _argmax(partial(_loss_of_tastes, beta, kappa), beta))))


def worst_pair(bt_beta: float, sharpness: float = 0.0) -> Population:
    """Two types of users, (1, 0) and (0, e), to whom the policy is worst among populations in which it prefers o.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    sharpness : float
        κ ≥ 0, finite.

    Returns
    -------
    Population
        Its distortion is `pair_proportional_factor` where that exceeds 2.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import distortion, worst_pair
    >>> from theory.social_choice import proportional
    >>> users = worst_pair(50.0)
    >>> round(distortion(users, proportional(users.win_rates(50.0))), 3)
    2.462
    """
    beta, kappa = check_reciprocal("bt_beta", bt_beta), check_sharpness(sharpness)
    z = _argmax(partial(_loss_of_tastes, beta, kappa), beta)
    e, ratio = z / beta, float(_two_tastes(beta, kappa, z)[1])
    weight = e / (e + ratio)  # (1 − w)e = ratio·w
    return Population(np.diag([1.0, e]), np.array([weight, 1.0 - weight]))


def least_win_rate(bt_beta: float) -> float:
    """½ − max_e (φ(e) − eB)/(1 + e): how seldom the best alternative can win against another.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        In (0, ½); of order log β/β for large β.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import least_win_rate
    >>> [round(least_win_rate(beta), 4) for beta in (1.0, 5.0, 50.0)]
    [0.4954, 0.3672, 0.0907]
    """
    beta = check_bt_beta(bt_beta)
    # shares e/(1 + e) with (1, 0) and the rest with (0, e): no difference of ½ and what is nearly ½
    wins = lambda z: (z / beta * expit(beta) + expit(-z)) / (1.0 + z / beta)
    return float(wins(_argmax(lambda z: -wins(z), beta)))


def proportional_upper_factor(n_alternatives: int, bt_beta: float) -> float:
    """A/(2g): no population loses more under the proportional policy (κ = 0), g of `least_win_rate`.

    Populations that lose A are close by (`unanimous_distortion`), so that the order in A is exact.

    Parameters
    ----------
    n_alternatives : int
        A ≥ 1.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ A; tends to A as bt_beta → 0.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import proportional_upper_factor
    >>> round(proportional_upper_factor(3, 5.0), 3)
    4.085
    """
    return check_whole("n_alternatives", n_alternatives) / (2.0 * least_win_rate(bt_beta))


def coalition_limit(share: float, n_alternatives: int, bt_beta: float) -> float:
    """The most that an alternative gets (κ = 0) if this share of the users has it as favourite or votes as it likes.

    S/(S + (1 − w)(½ + (A − 2)σ(−β))) with S = w + (1 − w)(σ(β) − B/(A − 1)). At A = 2 it is (1 + w)/2, the bound of
    users without noise for every A, which Bradley–Terry users break at A ≥ 3 and large β, up to 2/(3 − w).

    Parameters
    ----------
    share : float
        w in [0, 1].
    n_alternatives : int
        A ≥ 2.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        A probability, attained in the limit of faint favourites.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Kim, Zhang, Ozdaglar, Parrilo (arXiv 2506.05619), population-bounded manipulability, for users without noise;
    Bradley–Terry users ours, proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import coalition_limit
    >>> [round(coalition_limit(0.1, A, 10.0), 4) for A in (2, 3, 20)]
    [0.55, 0.6326, 0.6841]
    """
    size, beta = check_whole("n_alternatives", n_alternatives, least=2), check_bt_beta(bt_beta)
    share = check_between("share", share)
    top, others = float(centred_sigmoid(beta)), 1.0 - share
    score = share + others * (0.5 + top - top / (size - 1))
    return score / (score + others * (0.5 + (size - 2) * float(expit(-beta))))


def electorate(kind: str, shares: ArrayLike) -> Population:
    """Users with one favourite each: "single" value nothing else, "cycle" value what follows by equal steps to 0.

    In the cycle a user whose favourite is x ranks x, x − 1, x − 2, … (mod A): everybody else puts x + 1 before x.

    Parameters
    ----------
    kind : str
        "single" or "cycle".
    shares : array_like, (A,)
        Share of the users who have each alternative as favourite; A ≥ 2.

    Returns
    -------
    Population

    Raises
    ------
    ValueError
        Another kind, or shares that are no distribution over at least two alternatives.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.distortion import electorate
    >>> electorate("cycle", [0.5, 0.3, 0.2]).utilities
    array([[1. , 0. , 0.5],
           [0.5, 1. , 0. ],
           [0. , 0.5, 1. ]])
    """
    kind, w = check_word("kind", kind, ELECTORATES), check_distribution("shares", shares)
    check_whole("the number of shares", w.size, least=2)
    place = (np.arange(w.size)[:, None] - np.arange(w.size)) % w.size
    return Population(np.eye(w.size) if kind == "single" else 1.0 - place / (w.size - 1.0), w)


def recovery_error(kind: str, shares: ArrayLike, bt_beta: float) -> float:
    """Total variation between the true shares and the proportional policy (κ = 0) on an `electorate`.

    Single: s(x) = ½ + B(w(x) − max_{y≠x} w(y)), which is no share even without noise. Cycle: s(x) → w(x) as β → ∞.

    Parameters
    ----------
    kind : str
        "single" or "cycle".
    shares : array_like, (A,)
        Share of the users who have each alternative as favourite; A ≥ 2.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        In [0, 1 − 1/A], which bounds it on every population.

    Raises
    ------
    ValueError
        Malformed input.

    References
    ----------
    Ours; proof in paper/sections/distortion_proportional_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import recovery_error
    >>> shares = [0.6, 0.3, 0.1]
    >>> [round(recovery_error(kind, shares, 200.0), 4) for kind in ("single", "cycle")]
    [0.1, 0.0]
    """
    electorate(kind, shares)
    w, beta = np.asarray(shares, dtype=np.float64), check_bt_beta(bt_beta)
    if kind == "single":
        second, first = np.sort(w)[-2:]
        scores = 0.5 + centred_sigmoid(beta) * (w - np.where(np.arange(w.size) == w.argmax(), second, first))
    else:
        scores = _cycle_scores(w, beta)
    return float(0.5 * np.abs(scores / scores.sum() - w).sum())


def _cycle_scores(w: Array, beta: float) -> Array:
    """min_k W_k σ(β(A − k)d) + (1 − W_k)σ(−βkd): W_k of the users have a favourite among x, …, x + k − 1."""
    size = w.size
    scores, before = np.ones(size), np.zeros(size)
    for k in range(1, size):
        before = before + np.roll(w, 1 - k)
        wins = before * expit(beta * (size - k) / (size - 1)) + (1.0 - before) * expit(-beta * k / (size - 1))
        scores = np.minimum(scores, wins)
    return scores
