"""A linear softmax trained on some prompts and read on others: claim P15. Here the features' weights are trained."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from simulate.montecarlo import Estimate, Experiments, Rng, slope
from simulate.profiles import Profile
from theory.proximal.feedback import empirical_scores
from theory.proximal.held_out import (
    ALPHA,
    FEATURES,
    HELD_OUT,
    KL_BETA,
    RESPONSES,
    TRAINED,
    WIN_SHARE,
    features,
    held_out_ratio,
    log_reference,
    pairs,
)
from theory.proximal.losses import edpo_loss
from theory.validate import Array


def loss_of(method: str, log_policy: Array) -> float:
    """Mean loss over the trained prompts of log-policies (P, A), by the losses' definitions."""
    total, logs = 0.0, log_reference()
    for prompt in range(TRAINED):
        if method == "dpo":
            first, second = pairs(prompt)[0]
            lr = KL_BETA * (log_policy[prompt] - logs[prompt])
            gap = lr[first] - lr[second]
            total += WIN_SHARE * np.logaddexp(0.0, -gap) + (1.0 - WIN_SHARE) * np.logaddexp(0.0, gap)
        else:
            scores, empirical = empirical_scores(RESPONSES, pairs(prompt))
            uniform = np.full(RESPONSES, 1.0 / RESPONSES)
            total += edpo_loss(np.exp(log_policy[prompt]), None, scores, empirical, uniform, ALPHA, KL_BETA,
                               log_reference=logs[prompt])  # fmt: skip
    return float(total / TRAINED)


def trained_policy(method: str) -> Array:
    """Log-policies (P, A) of all prompts after descent on θ (d,) from 0, gradients by differences."""
    phi, logs = features(), log_reference()

    def policy(theta: Array) -> Array:
        return np.asarray(log_softmax(logs + phi @ theta, axis=1))

    found = minimize(
        lambda theta: loss_of(method, policy(theta)), np.zeros(FEATURES), method="BFGS", jac="3-point",
        options={"gtol": 1e-9},
    )  # fmt: skip
    return policy(found.x)


def ratio(method: str, prompt: int, response: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P15: log π/π_ref of one response to a held-out prompt."""
    moved = trained_policy(method) - log_reference()
    return Estimate(float(moved[TRAINED + int(prompt), int(response)]))


def ratio_slope(method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P15: measured on predicted log-ratios of all held-out responses."""
    moved = (trained_policy(method) - log_reference())[TRAINED:]
    predicted = [[held_out_ratio(method, p, y) for y in range(RESPONSES)] for p in range(HELD_OUT)]
    return slope(np.ravel(predicted), moved.ravel())


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {"P15.ratio": ratio, "P15.slope": ratio_slope}
