"""Pessimism at inference: the policy that maximises a proxy reward less a χ² penalty, and a sampler of it.

With h = q/π the density of a policy q against the reference π, C(q) = E_π h² and χ²(q‖π) = C(q) − 1,

    policy     argmax_q E_q r̂ − (β/2) C(q):   h = relu((r̂ − λ)/β),  λ such that E_π h = 1;  piecewise linear, exact
    sampler    N draws set λ, N fresh ones are accepted with probability relu(r̂ − λ)/(max r̂ − λ), a last one if none is
    regret     u(q) − u(π_β) ≤ β χ²(q‖π)/2 + ε²/(2β),  ε the standard deviation of r̂ − u under π;  ε √χ² at the best β

Source of policy and sampler: Huang et al. (arXiv 2503.21878), InferenceTimePessimism; the bound with these constants,
that no rule has a better one, and the law of the sampler at finite N are ours (paper/sections/best_of_n_proofs.tex).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, xlogy

from theory.validate import (
    Array,
    as_vector,
    check_distribution,
    check_nonnegative,
    check_reciprocal,
    check_squares,
    check_whole,
)

#: Most samples of N responses, up to order, over which the sampler's law is summed.
LARGEST_ENUMERATION = 500_000


@dataclass(frozen=True, eq=False)
class Pessimism:
    """The χ²-regularised policy: `policy` (A,), its `normaliser` λ in the unit of the rewards, and its `kl` (nats) and
    `chi_square` from the reference."""

    policy: Array
    normaliser: float
    kl: float
    chi_square: float


def pessimistic_policy(policy: ArrayLike, rewards: ArrayLike, chi_beta: float) -> Pessimism:
    """The policy that maximises E_q r̂ − (β/2) E_π (q/π)²: π(y) relu((r̂(y) − λ)/β).

    Parameters
    ----------
    policy : array_like, (A,)
        The reference π: probabilities, zeros allowed.
    rewards : array_like, (A,)
        The proxy r̂; finite.
    chi_beta : float
        β > 0, in the unit of the rewards; 0 would be the best response of the proxy, inf the reference.

    Returns
    -------
    Pessimism
        Exact to rounding: the responses are sorted, none is searched for.

    Raises
    ------
    ValueError
        Malformed input; the message names it.

    References
    ----------
    Huang et al. (arXiv 2503.21878).

    Examples
    --------
    >>> from theory.best_of_n import pessimistic_policy
    >>> found = pessimistic_policy([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], chi_beta=0.5)
    >>> found.policy.round(4), round(found.normaliser, 4)
    (array([0.  , 0.36, 0.64]), 0.4)
    """
    pi, r, beta = _table(policy, rewards, chi_beta)
    mass, excess = _support(pi[None], r, beta)
    density = np.maximum(1.0 / mass[0] + excess[0] / beta, 0.0)
    found = pi * density
    top = int(found.argmax())
    kl = float(pi @ xlogy(density, density))
    return Pessimism(found, float(r[top] - excess[0, top] - beta / mass[0]), kl, float(pi @ (density - 1.0) ** 2))


def pessimism_law(policy: ArrayLike, rewards: ArrayLike, n: int, chi_beta: float) -> Array:
    """Law of what the sampler returns: λ from n draws, then up to n fresh draws, each accepted or not, then a last one.

    Given λ every accepted draw has the law of `pessimistic_policy` at another weight, E_π relu(r̂ − λ); the samples of
    n are summed over, up to order.

    Parameters
    ----------
    policy, rewards, chi_beta
        As in `pessimistic_policy`; the largest reward of a response with positive probability is known to the sampler.
    n : int
        ≥ 1, with at most 500 000 samples up to order: 42 for five responses.

    Returns
    -------
    ndarray, (A,)

    Raises
    ------
    ValueError
        Malformed input; too many samples.

    References
    ----------
    The algorithm: Huang et al. (arXiv 2503.21878). Its law: ours.

    Examples
    --------
    >>> from theory.best_of_n import pessimism_law
    >>> pessimism_law([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], n=16, chi_beta=0.5).round(4)
    array([0.0099, 0.3451, 0.645 ])
    """
    pi, r, beta = _table(policy, rewards, chi_beta)
    n, held = check_whole("n", n), pi > 0
    if held.sum() == 1:
        return held.astype(np.float64)
    counts = _samples(n, int(held.sum()))
    log_chance = gammaln(n + 1) - gammaln(counts + 1).sum(axis=1) + counts @ np.log(pi[held])
    mass, excess = _support(counts / n, r[held], beta)
    # r̂ − λ, never below 0 by rounding where λ is just below the largest reward of the sample
    above = np.maximum(excess + (beta / mass)[:, None], 0.0)
    accepted = pi[held] * above / above.max(axis=1, keepdims=True)
    share = accepted.sum(axis=1)
    none = (1.0 - share) ** n
    given = accepted * ((1.0 - none) / share)[:, None] + none[:, None] * pi[held]
    law = np.zeros_like(pi)
    law[held] = np.exp(log_chance) @ given
    return law


def pessimism_regret(chi_beta: float, error: float, chi_square: float) -> float:
    """Most that a policy q can be truly better than `pessimistic_policy`: β χ²/2 + ε²/(2β), at least ε √χ².

    Parameters
    ----------
    chi_beta : float
        β > 0.
    error : float
        ε ≥ 0: standard deviation, under the reference, of proxy minus truth.
    chi_square : float
        χ²(q‖π) ≥ 0.

    Returns
    -------
    float
        In the unit of the rewards; attained at β = ε/√χ² by a proxy that is constant.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours, after Huang et al. (arXiv 2503.21878); proof in paper/sections/best_of_n_proofs.tex.

    Examples
    --------
    >>> from theory.best_of_n import pessimism_regret
    >>> pessimism_regret(0.1, error=0.2, chi_square=4.0)
    0.4
    """
    beta, eps = check_reciprocal("chi_beta", chi_beta), check_nonnegative("error", error)
    return 0.5 * (beta * check_nonnegative("chi_square", chi_square) + eps * (eps / beta))


def _table(policy: ArrayLike, rewards: ArrayLike, chi_beta: float) -> tuple[Array, Array, float]:
    pi = check_distribution("policy", policy)
    return pi, check_squares("rewards", as_vector("rewards", rewards, pi.size)), check_reciprocal("chi_beta", chi_beta)


def _support(laws: Array, rewards: Array, beta: float) -> tuple[Array, Array]:
    """Mass (K,) of the support {r > λ} under every law (K, A), and rewards (K, A) over its mean: λ = mean − β/mass.

    A response of reward r is in the support iff E relu(r̂ − r) < β; from the best one down these are sums of positive
    terms, so that no difference of large numbers decides. Nor do rewards far above those that a law holds.
    """
    order = np.argsort(-rewards, kind="stable")
    r, p = rewards[order], laws[:, order]
    mass = p.cumsum(axis=1)
    above = np.concatenate([np.zeros((len(p), 1)), (mass[:, :-1] * -np.diff(r)).cumsum(axis=1)], axis=1)
    inside = np.where(above < beta, p, 0.0)
    mass = inside.sum(axis=1)
    best = r[(p > 0).argmax(axis=1)][:, None]
    short = (inside * (best - r)).sum(axis=1) / mass
    return mass, rewards - best + short[:, None]


def _samples(n: int, size: int) -> Array:
    """Every way to put n draws into `size` ≥ 2 responses, (K, size), by the places of size − 1 bars among n stars."""
    many = math.comb(n + size - 1, size - 1)
    if many > LARGEST_ENUMERATION:
        raise ValueError(
            f"n = {n} draws of {size} responses make {many} samples, more than {LARGEST_ENUMERATION}; "
            "for large n take `pessimistic_policy`, the limit"
        )
    bars = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(n + size - 1), size - 1)), int)
    edges = np.column_stack([np.full(many, -1), bars.reshape(many, size - 1), np.full(many, n + size - 1)])
    return (np.diff(edges, axis=1) - 1).astype(np.float64)
