"""D15: RLHF on clipped rewards, by the law of the compared pairs: uniform, or the reference itself."""

from __future__ import annotations

import math

import numpy as np

from simulate.montecarlo import Estimate, Experiments
from simulate.profiles import Profile
from theory.bradley_terry import product_pairs
from theory.distortion.instance import Instance
from theory.distortion.instances import rlhf_instance
from theory.policy.rewards import rlhf

Rng = np.random.Generator


def clipped_growth(bt_beta: float, clip: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D15: exponent of B = max |log μ/π_ref| in clipped RLHF's distortion on I6, pairs uniform, B = 2/η.

    Between two sizes: nothing is sampled, and the bend of the line through more of them is no noise.
    """
    less, more = (unclipped_leak(bt_beta, bound, clip, rng=rng, profile=profile).value for bound in (1000.0, 2000.0))
    return Estimate(math.log(more / less) / math.log(2.0))


def unclipped_leak(bt_beta: float, bound: float, clip: float = 1000.0, *, rng: Rng, profile: Profile) -> Estimate:
    """D15: clipped RLHF's distortion on I6 with |log μ/π_ref| ≤ `bound`, pairs uniform."""
    return Estimate(_clipped_loss(rlhf_instance(bt_beta, 2.0 / bound), 0.0, clip))


def clipped_ordering(bt_beta: float, clip: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D15: clipped RLHF's distortion on I6 with uniform pairs minus that with pairs from the reference (B = 0)."""
    instance = rlhf_instance(bt_beta, 0.01)
    return Estimate(_clipped_loss(instance, 0.0, clip) - _clipped_loss(instance, 1.0, clip))


def clipped_at_reference(bt_beta: float, clip: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D15: clipped RLHF's distortion on I6 when pairs are drawn from the reference itself."""
    return Estimate(_clipped_loss(rlhf_instance(bt_beta, 0.01), 1.0, clip))


def _clipped_loss(instance: Instance, towards_reference: float, clip: float) -> float:
    """Distortion of clipped RLHF on I6 with pairs from μ ∝ μ₀^{1−t}·π_ref^t, t = towards_reference."""
    logits = (1 - towards_reference) * np.log(instance.mu) + towards_reference * instance.log_reference
    mu = np.exp(logits - np.logaddexp.reduce(logits))
    policy = rlhf(
        instance.win_rates, product_pairs(mu / mu.sum()), tau=instance.tau, log_reference=instance.log_reference,
        clip=clip,
    )  # fmt: skip
    return instance.distortion(policy)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D15.grows": clipped_ordering,
    "D15.exponent": clipped_growth,
    "D15.leak": unclipped_leak,
    "D15.at_reference": clipped_at_reference,
}
