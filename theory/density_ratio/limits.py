"""Where methods end with infinite data: comparisons without a preference model (R3), consistent references (R9).

Comparisons draw two responses from μ; x wins against y with probability P(x≻y), from whatever preferences, cyclic
ones included. With the score s(x) = Σ_y μ(y)(P(x≻y) − ½) the laws of winners and losers are

    p⁺ = 2μ(½ + s),    p⁻ = 2μ(½ − s),    ½p⁺ + ½p⁻ = μ,

so DDRO reaches p⁺ from p⁻ and RDRO with α = ½ from μ; plain SFT on winners reaches it too. DPO and RLHF fit
Bradley–Terry rewards and go elsewhere, under Bradley–Terry preferences as well.

Sources: Higuchi, Suzuki (arXiv 2505.07558) and Takahashi et al. (arXiv 2604.04410) for consistency; examples ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from theory.bradley_terry import product_pairs
from theory.density_ratio.policies import constrained_optimum
from theory.density_ratio.ratios import density_ratio, mixture
from theory.policy import nash
from theory.policy import rewards as policy
from theory.policy.kl_ball import kl, tilt
from theory.validate import (
    Array,
    check_between,
    check_distribution,
    check_positive,
    check_support,
    check_whole,
    check_win_rates,
)


def comparison_laws(win_rates: ArrayLike, mu: ArrayLike) -> tuple[Array, Array]:
    """Laws (A,), (A,) of winners and losers of comparisons of two independent draws from μ.

    Both draws may be the same response; it then wins and loses. ½p⁺ + ½p⁻ = μ.
    """
    P = check_win_rates(win_rates)
    mu = check_distribution("mu", mu, P.shape[0])
    return 2.0 * mu * (P @ mu), 2.0 * mu * (P.T @ mu)


def bradley_terry_rates(rewards: ArrayLike) -> Array:
    """P(x≻y) = σ(r_x − r_y) (A, A) of one Bradley–Terry reward."""
    r = np.asarray(rewards, dtype=np.float64)
    return expit(r[:, None] - r[None, :])


def cyclic_rates(n: int, win_rate: float) -> Array:
    """n responses on a circle, n odd: each beats the (n−1)/2 after it with probability `win_rate`; (n, n)."""
    n = check_whole("n", n, 3)
    if n % 2 == 0:
        raise ValueError(f"n = {n} must be odd")
    check_between("win_rate", win_rate)
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    return np.where(ahead == 0, 0.5, np.where(ahead <= n // 2, win_rate, 1.0 - win_rate))


#: preferences → (P, μ) of R3. "bradley_terry" has rewards (1, 0, −1): p⁺ = (.645, .258, .096), DPO (.784, .173, .042).
PREFERENCES: dict[str, tuple[Array, Array]] = {
    "bradley_terry": (bradley_terry_rates((1.0, 0.0, -1.0)), np.array([0.5, 0.3, 0.2])),
    "cycle": (cyclic_rates(3, 0.9), np.array([0.5, 0.3, 0.2])),
    "long_cycle": (cyclic_rates(5, 0.8), np.array([0.4, 0.1, 0.25, 0.05, 0.2])),
}

#: Methods of R3, in the order in which they are listed.
LIMITS = ("sft", "ddro", "rdro", "dpo", "rlhf", "nlhf")


def population_limit(method: str, win_rates: ArrayLike, mu: ArrayLike, kl_beta: float = 1.0) -> Array:
    """The policy (A,) a method of `LIMITS` converges to on comparisons of two draws from μ.

    sft   the winners' law, p⁺
    ddro  from π_ref = p⁻;  rdro  α = ½, from π_ref = μ
    dpo   from π_ref = μ, weight kl_beta: μ·exp(r/kl_beta)/Z with the Bradley–Terry fit r (also penalty-form RLHF)
    rlhf  from μ, the best policy for r in the KL ball that p⁺ is on the boundary of
    nlhf  the equilibrium of the game of win rates in that ball
    """
    P = check_win_rates(win_rates)
    winners, losers = comparison_laws(P, mu)
    if method == "sft":
        return winners
    if method == "ddro":
        return constrained_optimum(winners, losers, losers).policy
    if method == "rdro":
        return constrained_optimum(winners, losers, mu, alpha=0.5).policy
    if method == "dpo":
        return policy.dpo(P, product_pairs(mu), mu, kl_beta)
    if method == "rlhf":
        return policy.rlhf(P, product_pairs(mu), mu, kl(winners, mu))
    if method == "nlhf":
        return nash.nlhf(P, mu, kl(winners, mu)).policy
    raise ValueError(f"no method {method!r}; there are {', '.join(LIMITS)}")


@dataclass(frozen=True)
class UnpairedMethod:
    """One line of R9: the ratio a method's loss estimates and the reference that makes its policy p⁺.

    ratio        e^{r} at the loss's minimum, R = p⁺/p⁻, r = kl_beta·log(π/π_ref)
    reference    the reference from which the policy is p⁺, "none" if there is none
    constant     what fixes the free constant in r
    """

    label: str
    ratio: str
    reference: str
    constant: str


#: KTO, BCO, DDRO, RDRO, KLDO on one page (R9). `consistent_reference` computes the third column.
UNPAIRED: dict[str, UnpairedMethod] = {
    "kto": UnpairedMethod("KTO", "0 or ∞ by the sign of R − 1", "none", "z₀ shifts nothing: the signs stay"),
    "bco": UnpairedMethod("BCO", "R e^δ", "∝ p⁺ R^{−1/kl_beta}", "δ = −kl_beta log Σ π_ref R^{1/kl_beta}"),
    "ddro": UnpairedMethod("DDRO", "R", "p⁻", "none: the ratio is pinned"),
    "rdro": UnpairedMethod("RDRO", "p⁺/p_α", "p_α", "none: the ratio is pinned"),
    "kldo": UnpairedMethod("KLDO", "R × any constant", "∝ p⁺ R^{−1/kl_beta}", "free: normalisation fixes it"),
}


def consistent_reference(
    method: str, p: ArrayLike, q: ArrayLike, *, kl_beta: float = 1.0, alpha: float = 0.5
) -> tuple[Array, float]:
    """(π_ref (A,), δ): the reference from which a method of `UNPAIRED` has the policy p⁺, and BCO's constant δ.

    Where r = δ + log R, π = π_ref e^{δ/kl_beta} R^{1/kl_beta}, so π_ref ∝ p⁺R^{−1/kl_beta}; at kl_beta = 1 that is p⁻
    with δ = 0, which is DDRO. δ is 0 for the other methods. KTO: ValueError, because its optimum has no mass where
    R ≤ 1, whatever the reference, and p⁺ does. p and q need full support.
    """
    log_ratio = np.log(density_ratio(p, q))
    beta = check_positive("kl_beta", kl_beta)
    p = check_distribution("p", p)
    if method in ("bco", "kldo"):
        check_support("p", p, "the reference needs full support")
        reference = tilt(np.log(p), -log_ratio / beta)
        shift = beta * float(np.logaddexp.reduce(np.log(p) - log_ratio / beta))  # the log of what π_ref is divided by
        return reference, shift if method == "bco" else 0.0
    if method == "ddro":
        return check_distribution("q", q), 0.0
    if method == "rdro":
        return mixture(p, q, alpha), 0.0
    if method == "kto":
        raise ValueError("no reference makes KTO consistent: its optimum has no mass where p <= q, and p has")
    raise ValueError(f"no method {method!r}; there are {', '.join(UNPAIRED)}")


def reached_policy(method: str, p: ArrayLike, q: ArrayLike, reference: ArrayLike, *, alpha: float = 0.5) -> Array:
    """The policy (A,) of least loss of a method of `UNPAIRED` from any reference, kl_beta = 1, δ = z₀ = 0.

    DDRO and BCO (the same loss), RDRO: `constrained_optimum`. KLDO: π_ref R/Z. KTO: the loss is
    1 + Σ (q − p) σ(lr), so π = 0 where p ≤ q, and elsewhere (p − q)/(1+ρ)² = λw or ρ = 0: the normalised optimum
    has a definite split where the unconstrained one has none. p, q need full support except for DDRO, BCO, RDRO.
    """
    if method in ("ddro", "bco"):
        return constrained_optimum(p, q, reference).policy
    if method == "rdro":
        return constrained_optimum(p, q, reference, alpha=alpha).policy
    w = check_distribution("reference", reference, np.size(p))
    if method == "kldo":
        return tilt(np.log(w), np.log(density_ratio(p, q)))
    if method == "kto":
        return _kto(check_distribution("p", p), check_distribution("q", q), w)
    raise ValueError(f"no method {method!r}; there are {', '.join(UNPAIRED)}")


def _kto(p: Array, q: Array, w: Array) -> Array:
    """wρ with ρ = (√(gain/λ) − 1)₊, gain = (p − q)₊/w: outcomes are filled in the order of their gains."""
    gain = np.maximum(p - q, 0.0) / w
    if not gain.any():
        raise ValueError("p = q: KTO's loss is constant, every policy is optimal")
    order = np.argsort(-gain, kind="stable")
    root, mass = np.cumsum((w * np.sqrt(gain))[order]), np.cumsum(w[order])
    # with the first k outcomes filled, Σ w(√(gain/λ) − 1) = 1 gives √λ = root/(1 + mass)
    level = root / (1.0 + mass)
    filled = int(np.flatnonzero(np.sqrt(gain[order]) >= level)[-1])
    return w * np.maximum(np.sqrt(gain) / level[filled] - 1.0, 0.0)


#: Named pairs (p⁺, p⁻) that checks and figures share.
TABLES: dict[str, tuple[Array, Array]] = {
    "three": (np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])),
    "six": (np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05]), np.array([0.05, 0.08, 0.12, 0.2, 0.25, 0.3])),
    "rare": (np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.01, 0.19, 0.3, 0.5])),
    "opposite": (np.array([1.0, 0.0]), np.array([0.0, 1.0])),
    "apart": (np.array([0.6, 0.4, 0.0, 0.0]), np.array([0.0, 0.0, 0.3, 0.7])),
    "trap": (np.array([0.96, 0.04]), np.array([0.3, 0.7])),  # from π_ref = (.05, .95) DDRO has two local minima
    "partly_apart": (np.array([0.5, 0.4, 0.1, 0.0]), np.array([0.0, 0.2, 0.3, 0.5])),
}
