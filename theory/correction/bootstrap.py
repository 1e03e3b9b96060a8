"""Bootstrapping: an upstream model trained on its own corrected answers, in the population limit of each method (A6).

The upstream policy π answers, the corrector rewrites, and the pairs (c ≻ o) with law J(o, c) = π(o)K(c|o) train the
next upstream model. The laws of the preferred and of the dispreferred answers are p⁺ = πK and p⁻ = π.

| method | limit | when |
|---|---|---|
| SFT on c | πK | always |
| DDRO, reference π | πK | π gives every answer that corrections lead to |
| RDRO, reference p_α = απK + (1−α)π | πK | always; from another reference the constrained optimum |
| DPO | π_ref·e^{r/kl_beta}/Z, r the Bradley–Terry fit of J | the changes are strongly connected |
| PRO | its convex program | α above its threshold; unchanged and acyclic corrections do no harm |

SFT, DDRO and RDRO move by one round: k times is πKᵏ. DPO does not. It sees only the odds J(o,c)/J(c,o) of a change
and its reverse. For a corrector that is reversible with stationary law ν they are exactly those of a Bradley–Terry
model with rewards log(ν/π), so that from the reference π

    π_DPO ∝ π^{1 − 1/kl_beta} ν^{1/kl_beta},

however often answers come back unchanged: kl_beta = 1 jumps to ν, the end of all rounds; kl_beta < 1 overshoots it.
Repeated with the reference renewed, log(π/ν) is multiplied by 1 − 1/kl_beta each time: it converges iff kl_beta > ½.
If some answers are corrected into others and never back (corrections that are acyclic, say), the margin between them
grows without end and DPO has no optimum.

Shapes: A answers; kernels (A, A), dense or scipy.sparse (made dense here); policies (A,). Sources: pairs and rounds,
Ji et al. (arXiv 2402.02416); DDRO, Higuchi, Suzuki (2505.07558); RDRO, Takahashi et al. (2604.04410); PRO, Guo, Li,
Chen (2505.23316); the limits on corrections are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from theory.correction.kernels import Kernel, check_pair, dense
from theory.density_ratio.policies import constrained_optimum
from theory.density_ratio.ratios import mixture
from theory.policy import rewards as methods
from theory.policy.kl_ball import tilt
from theory.proximal.feedback import mixture_weights, population_scores
from theory.proximal.optimum import proximal_optimum
from theory.validate import Array, check_between, check_distribution, check_positive, check_support, check_whole


def pair_law(policy: ArrayLike, kernel: Kernel) -> Array:
    """J(o, c) = π(o)K(c|o) (A, A), the law of pairs (dispreferred o, preferred c); unchanged ones on the diagonal."""
    pi, K = check_pair(policy, kernel, square=True)
    return pi[:, None] * dense(K)


def preference_laws(policy: ArrayLike, kernel: Kernel, *, keep_unchanged: bool = True) -> tuple[Array, Array]:
    """(p⁺, p⁻), each (A,): laws of the preferred and of the dispreferred answers of the pairs.

    keep_unchanged=False leaves out pairs with c = o, as preference data sets do: the two laws then no longer are πK
    and π, and density-ratio methods from the reference π no longer reach πK. ValueError if no pair is left.
    """
    J = pair_law(policy, kernel)
    if not keep_unchanged:
        J = _changes(J)
    return J.sum(axis=0), J.sum(axis=1)


def _changes(J: Array) -> Array:
    """The pair law given that the answer changed."""
    changed = J - np.diag(np.diag(J))
    if not changed.any():
        raise ValueError("no correction changes an answer: there are no preference pairs")
    return changed / changed.sum()


# Methods that move by one round.


def ddro_limit(
    policy: ArrayLike, kernel: Kernel, reference: ArrayLike | None = None, *, keep_unchanged: bool = True
) -> Array:
    """DDRO's policy (A,) on the pairs: πK from the reference π (the default), if all pairs are kept.

    From another reference with full support, or without the unchanged pairs, it is the policy of least loss
    (`theory.density_ratio.policies.constrained_optimum`). ValueError names an answer that corrections lead to and the
    reference does not give: a ratio to it is infinite, and no training from there finds it.
    """
    pi, K = check_pair(policy, kernel, square=True)
    if reference is None and keep_unchanged:
        composed = np.asarray(pi @ K)
        beyond = np.flatnonzero((pi == 0) & (composed > 0))
        if beyond.size:
            raise ValueError(
                f"policy[{beyond[0]}] = 0 but corrections lead to answer {beyond[0]}: DDRO from the reference π cannot "
                "reach it; RDRO's reference p_α does"
            )
        return composed
    preferred, dispreferred = preference_laws(pi, K, keep_unchanged=keep_unchanged)
    return constrained_optimum(preferred, dispreferred, pi if reference is None else reference).policy


def rdro_limit(
    policy: ArrayLike, kernel: Kernel, alpha: float, reference: ArrayLike | None = None, *, keep_unchanged: bool = True
) -> Array:
    """RDRO's policy (A,) on the pairs: p⁺ from the reference p_α (the default), which is πK if all pairs are kept.

    From another reference with full support it is the policy of least loss. alpha in (0, 1).
    """
    preferred, dispreferred = preference_laws(policy, kernel, keep_unchanged=keep_unchanged)
    if reference is None:
        seen = (preferred > 0) | (dispreferred > 0)
        mixture(preferred[seen], dispreferred[seen], alpha)  # raises for alpha outside (0, 1)
        return preferred
    return constrained_optimum(preferred, dispreferred, reference, alpha=alpha).policy


# DPO.


def pair_win_rates(policy: ArrayLike, kernel: Kernel) -> tuple[Array, Array]:
    """(P, Q), each (A, A): win rates P(x≻y) = J(y,x)/(J(x,y) + J(y,x)) of the changes, ½ where there are none, and
    the law of the compared pair, Q = (J + Jᵀ)/2 given a change."""
    J = _changes(pair_law(policy, kernel))
    both = J + J.T
    win_rates = np.divide(J.T, both, out=np.full(J.shape, 0.5), where=both > 0)
    return win_rates, 0.5 * both


def check_dpo_optimum(policy: ArrayLike, kernel: Kernel) -> None:
    """ValueError unless DPO has one optimum on the corrections: unless every answer can be reached from every other
    one by changes that occur.

    No optimum: some answers are corrected into others and never back, so that their margin grows for ever (all
    corrections that change something are such if they are acyclic). Several: an answer, or a group, is never compared
    with the rest, and the loss does not see its likelihood. The message says which, and names answers.
    """
    J = _changes(pair_law(policy, kernel))
    graph = csr_array(J > 0)
    groups, group = connected_components(graph, directed=True, connection="weak")
    strong, component = connected_components(graph, directed=True, connection="strong")
    if strong == groups == 1:
        return
    if strong > groups:
        edges = np.argwhere((J > 0) & (component[:, None] != component[None, :]))
        o, c = edges[0]
        kind = "the corrections are acyclic" if strong == len(J) else "some corrections are never undone"
        raise ValueError(
            f"{kind}: answer {o} is corrected into {c} and nothing leads back, so DPO's margin between them grows "
            "without end and it has no optimum"
        )
    inside = np.flatnonzero(group == group[0])[:5].tolist()
    raise ValueError(
        f"answers {inside} are never corrected into the rest or from it ({groups} groups): DPO does not determine the "
        "likelihoods of the groups"
    )


def dpo_limit(policy: ArrayLike, kernel: Kernel, kl_beta: float, reference: ArrayLike | None = None) -> Array:
    """DPO's policy (A,) on the pairs, from the reference π by default: π_ref·exp(r/kl_beta)/Z, r fitted to J.

    ValueError where DPO has no optimum or several (`check_dpo_optimum`), or a reference without full support.
    """
    check_dpo_optimum(policy, kernel)
    win_rates, pairs = pair_win_rates(policy, kernel)
    start = check_distribution("policy", policy) if reference is None else reference
    return methods.dpo(win_rates, pairs, start, kl_beta)


def reversible_dpo_limit(policy: ArrayLike, stationary: ArrayLike, kl_beta: float, times: int = 1) -> Array:
    """π_DPO ∝ ν·(π/ν)^{(1 − 1/kl_beta)^times} (A,), for a reversible corrector with stationary law ν, full support.

    times  rounds of DPO, each from the reference that the last one ended in; kl_beta = 1 is at ν after one

    ValueError where kl_beta < 1/2, which drives the policy off, has left float64.
    """
    pi, nu = (
        np.log(check_support(name, check_distribution(name, law, np.size(policy)), "π/ν needs full support"))
        for name, law in (("policy", policy), ("stationary", stationary))
    )
    factor = 1.0 - 1.0 / check_positive("kl_beta", kl_beta)
    try:
        return tilt(nu, factor ** check_whole("times", times, 0) * (pi - nu))
    except OverflowError:
        raise ValueError(f"kl_beta = {kl_beta}, times = {times}: ({factor})^{times} leaves float64") from None


# PRO.


def pro_limit(policy: ArrayLike, kernel: Kernel, alpha: float, kl_beta: float, *, share: float = 1.0) -> Array:
    """PRO's policy (A,) on the pairs that change, from the reference π.

    One table for the prompt: μ̂ the law of the answers in changed pairs, ŝ = (P − ½)μ̂ with the win rates of
    `pair_win_rates`. The regulariser's law is μ = η·μ̂ + (1−η)·ρ, η = `share`, ρ ∝ the reference on answers that no
    changed pair shows; μ = μ̂ where there are none. It has an optimum for α > 1/η² at the latest, acyclic corrections
    included; ValueError states the exact threshold where α is not above it.
    """
    check_between("share", share, ends="(]")
    win_rates, pairs = pair_win_rates(policy, kernel)
    pi = check_distribution("policy", policy)
    empirical = pairs.sum(axis=1)
    unlabelled = np.where(empirical > 0, 0.0, pi)
    weights = empirical
    if unlabelled.any():
        weights = mixture_weights(empirical, share, unlabelled / unlabelled.sum())
    return proximal_optimum(pi, population_scores(win_rates, empirical), empirical, weights, alpha, kl_beta)
