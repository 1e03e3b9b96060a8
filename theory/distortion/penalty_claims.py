"""DPO and IPO as they are trained, with a KL penalty: their numbers on I5, I6 and I9, and claim D23.

>>> round(dpo_on_i6(10.0, kl_beta=0.1), 3), round(dpo_on_chain(5.0, 20, kl_beta=0.1), 3)
(24.85, 2.559)
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from theory.claim import Check, Claim, equal, grid, of_topic
from theory.distortion.factors import borda_lower_factor
from theory.distortion.instances import correlated_instance, rlhf_sizes

DESCENT = "where the descent's line search runs out of digits"


def dpo_on_i6(bt_beta: float, kl_beta: float) -> float:
    """D8: DPO on I6 against the best policy that is no farther from the reference.

    N clones of c with reward 0 fix σ(r_a) + σ(r_b) = P(a≻c) + P(b≻c), and r_b solves its own likelihood equation,
    N(P(b≻c) − σ(r_b)) + P(b≻a) − σ(r_b − r_a) = 0. DPO gives b the share σ((r_b − r_a)/kl_beta) of {a, b}, and what is
    as far from the reference may give it to the better one. The clones are out of reach.
    """
    delta, clones = rlhf_sizes(bt_beta)
    b_c = delta * expit(bt_beta) + (1 - delta) * expit(-bt_beta)
    a_c = delta * 0.5 + (1 - delta) * expit(1.0 - bt_beta)
    b_a = delta * expit(bt_beta) + (1 - delta) * expit(-1.0)

    def score(s: float) -> float:
        return clones * (b_c - s) + b_a - expit(logit(s) - logit(a_c + b_c - s))

    both = a_c + b_c  # above 1 at a small bt_beta, where either share has a floor
    s = brentq(score, max(1e-6 * b_c, both - 1.0 + 1e-12), min(both, 1.0) * (1.0 - 1e-9), xtol=1e-18)
    p = expit((logit(s) - logit(both - s)) / kl_beta)
    a, b = (1.0 - delta) / bt_beta, delta
    return float((max(p, 1 - p) * max(a, b) + min(p, 1 - p) * min(a, b)) / ((1 - p) * a + p * b))


def dpo_on_chain(bt_beta: float, n_alternatives: int, kl_beta: float) -> float:
    """D11: DPO on I9 as if only neighbours were compared: rewards add up the log-odds of the chain's steps."""
    instance = correlated_instance(bt_beta, n_alternatives, n_alternatives**-3.0)
    u, steps = instance.population.average_utility, np.arange(n_alternatives - 1)
    rewards = np.append(0.0, np.cumsum(logit(instance.win_rates[steps + 1, steps])))
    weights = np.exp((rewards - rewards.max()) / kl_beta)
    return float(u.max() * weights.sum() / (u @ weights))


def correlated_ratio(bt_beta: float, n_alternatives: int) -> float:
    """D11: u(y₁)/u(y_A) of I9, what a method loses that goes to the end of the chain."""
    u = correlated_instance(bt_beta, n_alternatives, n_alternatives**-3.0).population.average_utility
    return float(u.max() / u[-1])


def identity_gap(win_rate: float, kl_beta: float) -> float:
    """D23: (P − ½)/kl_beta, the difference of log-ratios of a pair; bounded, where DPO's is logit(P)/kl_beta."""
    return (win_rate - 0.5) / kl_beta


#: Claim id → checks of DPO and IPO beside RLHF.
PENALTY_CHECKS: dict[str, tuple[Check, ...]] = {
    "D5": (
        equal("penalty", "distortion of DPO and IPO on I5 as kl_beta → 0, population limit", borda_lower_factor,
              at=grid(method=("dpo", "ipo"), bt_beta=(2.0, 5.0, 10.0, 20.0)), measured=("method",), relative=1e-3,
              because="ε = 1e-5 and kl_beta = 1e-13 in place of their limits"),
    ),
    "D8": (
        equal("dpo", "distortion of DPO on I6 among policies no farther from the reference, population limit",
              dpo_on_i6, at=grid(bt_beta=(5.0, 8.0, 10.0, 15.0), kl_beta=(0.1, 0.3, 1.0)), relative=1e-4,
              because="likelihood equations of up to 10⁷ clones"),
    ),
    "D11": (
        equal("dpo", "distortion of DPO on I9, population limit", dpo_on_chain, relative=0.01,
              at=grid(bt_beta=(5.0, 10.0), n_alternatives=(20, 100), kl_beta=(0.1, 1.0)),
              because="A⁻³ of the pairs are no neighbours"),
        equal("ipo", "distortion on I9 of IPO's loss as kl_beta → 0, population limit", correlated_ratio, relative=1e-6,
              at=grid(bt_beta=(5.0, 10.0), n_alternatives=(5, 20, 100)), because="the policy is at the chain's end"),
    ),
}  # fmt: skip

PENALTY_CLAIMS: tuple[Claim, ...] = (
    of_topic("distortion")(
        "D23", "IPO's loss is Borda with a penalty", ("IPO", "ΨPO", "Borda", "KL penalty", "bounded log-ratios"),
        "The minimum of IPO's loss under product sampling is π_ref·exp(S_μ/kl_beta)/Z with Borda's scores S_μ, so the "
        "log-ratios of a pair are (P − ½)/kl_beta apart and never diverge.", "@azar2024 section 5.2", "equality",
        equal("same", "largest total variation between IPO trained by descent and Borda's scores with a penalty", 0.0,
              at=grid(kl_beta=(0.05, 0.2, 1.0)), within=1e-6, scale=0.1, because=DESCENT),
        equal("pair", "difference of log-ratios of a pair under IPO trained by descent", identity_gap, relative=1e-6,
              at=grid(win_rate=(0.6, 0.9, 1.0), kl_beta=(0.1, 0.5)), because=DESCENT),
    ),
)  # fmt: skip
