"""Voting rules on Plackett–Luce rankings, in the limit of infinitely many users: first and last places, the
plurality and veto rules built on them, and families of populations on which they do badly (claim D7).

The law of rankings is in `theory.social_choice.places`. Every rule returns a policy (A,), ties split evenly. Clones
must be listed one by one (`multiplicity` ≠ 1 is an error): they share first places but compete for last ones.

Source: Alipour, Goyal, "Utilitarian Distortion Under Probabilistic Voting" (arXiv 2602.11152), of which only
the abstract was available: the growth claims are theirs, the families and their proofs below were derived
here. V user types, A alternatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.bradley_terry import Population, check_population
from theory.social_choice import electorates
from theory.social_choice.places import bottom_choice, top_choice
from theory.social_choice.ties import TIE_TOLERANCE
from theory.validate import Array, check_bt_beta, check_multiplicity, check_positive, check_share, check_whole


def plurality(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """The alternative with most first places.

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Bad arguments, or a collapsed instance.

    References
    ----------
    Alipour, Goyal (arXiv 2602.11152).

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> from theory.social_choice import plurality
    >>> plurality(users, bt_beta=5.0)
    array([0., 0., 1.])
    """
    check_multiplicity(multiplicity, check_population(population).utilities.shape[1], "plurality")
    return electorates.plurality(*_one(population), check_bt_beta(bt_beta), tie_tolerance)[0]


def random_dictator(population: Population, bt_beta: float, *, multiplicity: ArrayLike | None = None) -> Array:
    """The first choice of a random user: policy = `top_choice`, Σ_v w_v e^{βU[v,x]} / Σ_y e^{βU[v,y]}, β = bt_beta.

    Its distortion is Θ(A) at fixed β: `random_dictator_family` tends to A, and 1 + (A−1)e^β is never exceeded, since
    every type ranks x first with probability at least 1/(1 + (A−1)e^β). It is not O(A) uniformly in β: at A = 2 let a
    share √δ of the users have utilities (1, 0), the rest (0, δ), δ = ln(β)/β; the distortion is at least 1/(2√δ + 1/β).

    Another upper bound is max(2eA, 4βA²). Either half of the users have no utility above 1/β, so that each alternative
    gets probability at least 1/(2eA); or more than half do, and counted by their best alternative y in shares W_y,
    Σ π(y) u(y) ≥ Σ (W_y/A)(W_y/β) ≥ 1/(4βA²).

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Bad arguments, or a collapsed instance.

    References
    ----------
    Alipour, Goyal (arXiv 2602.11152); the bounds are ours.

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> from theory.social_choice import random_dictator
    >>> random_dictator(users, bt_beta=5.0).round(4)
    array([0.378 , 0.2374, 0.3846])
    """
    check_multiplicity(multiplicity, check_population(population).utilities.shape[1], "random_dictator")
    return top_choice(population, bt_beta)


def veto(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Anti-plurality: the alternative with fewest last places.

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Bad arguments, or a collapsed instance.

    References
    ----------
    Alipour, Goyal (arXiv 2602.11152).

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> from theory.social_choice import veto
    >>> veto(users, bt_beta=5.0)
    array([0., 1., 0.])
    """
    check_multiplicity(multiplicity, check_population(population).utilities.shape[1], "veto")
    return electorates.veto(*_one(population), check_bt_beta(bt_beta), tie_tolerance)[0]


def plurality_veto(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Plurality Veto: the `electorates.veto_flows` that start from the plurality scores.

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Bad arguments, or a collapsed instance.

    References
    ----------
    Kizilkaya, Kempe, "Plurality Veto" (IJCAI 2022), Algorithm 1, with users in random order.

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> from theory.social_choice import plurality_veto
    >>> plurality_veto(users, bt_beta=5.0)
    array([0., 0., 1.])
    """
    check_multiplicity(multiplicity, check_population(population).utilities.shape[1], "plurality_veto")
    return electorates.plurality_veto(*_one(population), check_bt_beta(bt_beta), tie_tolerance)[0]


def pruned_plurality_veto(
    population: Population,
    bt_beta: float,
    threshold: float | None = None,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Plurality Veto among the alternatives whose plurality score is at least `threshold`.

    Plurality scores are counted again among those that stay.

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    threshold : float, optional
        In [0, largest score]; 1/(2A) by default, half the mean score.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Bad arguments, a collapsed instance, or a threshold above every score.

    References
    ----------
    Alipour, Goyal (arXiv 2602.11152), of which only the abstract was available: this is the definition used here.

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> from theory.social_choice import pruned_plurality_veto
    >>> pruned_plurality_veto(users, bt_beta=5.0)
    array([0., 0., 1.])
    """
    check_multiplicity(multiplicity, check_population(population).utilities.shape[1], "pruned_plurality_veto")
    beta = check_bt_beta(bt_beta)
    return electorates.pruned_plurality_veto(*_one(population), beta, threshold, tie_tolerance)[0]


def _one(population: Population) -> tuple[Array, Array]:
    """A population as one of many electorates: its users, and its weights as a row."""
    return population.utilities, population.weights[None]


def plurality_family(bt_beta: float, n_alternatives: int, margin: float = 1e-6) -> Population:
    """Plurality elects alternative 0 at distortion (1 + m e^β)/(e^β + m)/(1 + margin), m = A−1.

    That is at least min(e^β, m)/(2 + 2 margin).

    A share w of the users values 0 at one and all else at nothing, the rest the reverse. Alternative 0 leads
    iff w(e^β−1)/(e^β+m) > (1−w)(e^β−1)/(1+m e^β), that is (1−w)/w < (1+m e^β)/(e^β+m); distortion is (1−w)/w.
    """
    beta, m = check_bt_beta(bt_beta), _count(n_alternatives) - 1
    odds = (np.exp(-beta) + m) / (1 + m * np.exp(-beta)) / (1 + check_positive("margin", margin))
    first = np.eye(1, m + 1)[0]
    return Population(np.array([first, 1 - first]), np.array([1 / (1 + odds), odds / (1 + odds)]))


def random_dictator_family(bt_beta: float, n_alternatives: int, utility: float = 1e-9) -> Population:
    """Random dictator has distortion 1 + (A−1)e^{−β·utility} → A: one type, all utilities 0 but one."""
    check_bt_beta(bt_beta)
    return Population(check_positive("utility", utility) * np.eye(1, _count(n_alternatives)))


def veto_family(bt_beta: float, n_alternatives: int, kappa: float = 1e-2, margin: float = 1e-4) -> Population:
    """Plurality Veto, pruned or not, elects the bad half, at distortion at least (β/4)·H_A > (β/4)·ln A.

    The bound holds in the limit kappa, margin → 0. Computed for β in 0.05–50 and A up to 4001, not proven:
    veto elects the bad half too at even A, and at odd A from some A on (5 for β ≥ 5, 45 at β = 0.05).

    M = ⌈A/2⌉ good alternatives come first, then N = ⌊A/2⌋ bad ones. A share p of the users values good ones
    at one and bad ones at nothing; the rest values good ones at nothing and bad ones at δ = kappa/(β H_A),
    H_A = Σ_{k≤A} 1/k. Let t₁, v₁ and t₂, v₂ be the probabilities that a user of either type ranks a bad one
    first, last. Clones drop out together, so the bad ones outlast the good ones iff they have more points,
    p t₁ + (1−p) t₂, than vetoes, p v₁ + (1−p) v₂, that is iff p/(1−p) < (t₂−v₂)/(v₁−t₁); `margin` is the
    relative distance kept from that. The distortion is p/((1−p)δ). To first order in δ (v₂: a Beta integral)

        t₂ = N/A + βδ·NM/A² + …,    v₂ = N/A − βδ·NM (H_A−1)/(A(A−1)) + …

    and the distortion tends to β NM [1/A² + (H_A−1)/(A(A−1))]/(v₁−t₁), at least `veto_lower_factor`. Where
    ln A comes from: the last of A near-clones arrives at a time of about ln A, so a rate 1 + 1/ln A times as
    high divides the chance to be last by e: a utility of 1/(β ln A) is enough to escape most vetoes.

    All plurality scores tend to 1/A as kappa → 0: no threshold θ/A with θ < 1 prunes anything in the limit
    (one of 1/A can prune the bad half). ValueError if δ > 1 or margin is outside (0, 1).
    """
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    bad = np.arange(A) >= A - A // 2
    delta = check_positive("kappa", kappa) / (beta * _harmonic(A))
    if delta > 1:
        raise ValueError(f"kappa = {kappa} is too large: delta = kappa/(bt_beta·H_A) = {delta} exceeds 1")
    check_share("margin", margin)
    utilities = np.array([~bad, delta * bad], dtype=np.float64)
    types = [Population(row[None]) for row in utilities]
    t1, t2 = (float(top_choice(users, beta)[bad].sum()) for users in types)
    v1, v2 = (float(bottom_choice(users, beta)[bad].sum()) for users in types)
    odds = (1 - margin) * (t2 - v2) / (v1 - t1)
    return Population(utilities, np.array([odds / (1 + odds), 1 / (1 + odds)]))


def random_dictator_upper_factor(bt_beta: float, n_alternatives: int) -> float:
    """min(1 + (A−1)e^β, max(2eA, 4βA²)): random dictator's distortion is never above (proof: `random_dictator`)."""
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    counted = max(2 * np.e * A, 4 * beta * A**2)
    return float(min(1 + (A - 1) * np.exp(min(beta, 700.0)), counted))


def veto_lower_factor(bt_beta: float, n_alternatives: int) -> float:
    """A lower bound on the distortion of Plurality Veto and pruned Plurality Veto (claim D7), shape ():

        β NM [1/A² + (H_A−1)/(A(A−1))] / (1 − N/(N + M e^β)) ≥ (β/4)·H_A,   N = ⌊A/2⌋, M = ⌈A/2⌉.

    The limit of `veto_family` with its v₁ bounded by 1 (at A = 2, where v₁ = σ(β), that family attains L(β)).
    For the last step NM [·] is ¼(1 + A(H_A−1)/(A−1)) for even A and ¼(H_A + (H_A−1−1/A)/A) for odd A.
    """
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    N, M = A // 2, A - A // 2
    slope = N * M * (1 / A**2 + (_harmonic(A) - 1) / (A * (A - 1)))
    return float(beta * slope / (M / (N * np.exp(-beta) + M)))


def _count(n_alternatives: int) -> int:
    """The number of alternatives, an integer ≥ 2."""
    return check_whole("n_alternatives", n_alternatives, 2)


def _harmonic(n: int) -> float:
    """H_n = Σ_{k≤n} 1/k."""
    return float(np.sum(1.0 / np.arange(1, n + 1)))
