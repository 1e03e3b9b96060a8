"""Divergences: which function measures which check of V1–V12.

Losses on tables and Gaussians are in `simulate.divergences.losses`, trained policies in
`simulate.divergences.policies`, finite samples in `simulate.divergences.samples`, kinds of data, separation metrics and
the public normaliser in `simulate.divergences.data`.
"""

from __future__ import annotations

from collections.abc import Callable

from simulate.divergences import data, losses, policies, samples
from simulate.montecarlo import Estimate

#: `claim.check` → function(**setting, rng, profile).
DIVERGENCES: dict[str, Callable[..., Estimate]] = {
    "V1.minimum": losses.least_loss,
    "V1.minimiser": losses.reward_range,
    "V1.gaussian": losses.gaussian_loss,
    "V2.minimum": losses.least_loss,
    "V2.rising": losses.rising_set,
    "V2.gaussian": losses.gaussian_loss,
    "V3.minimum": losses.least_loss,
    "V3.minimiser": losses.largest_reward,
    "V3.gaussian": losses.gaussian_loss,
    "V4.minimum": losses.least_loss,
    "V4.minimiser": losses.reward_range,
    "V4.gaussian": losses.gaussian_pairs,
    "V4.above_js": losses.pairs_above_singles,
    "V5.minimum": losses.least_loss,
    "V5.minimiser": losses.largest_reward,
    "V5.gaussian": losses.gaussian_loss,
    "V6.minimum": losses.least_loss,
    "V6.minimiser": losses.largest_reward,
    "V6.gaussian": losses.gaussian_loss,
    "V7.aligned": policies.aligned,
    "V7.fixed": policies.fixed,
    "V7.branches": policies.fixed,
    "V7.not_monotone": policies.not_monotone,
    "V7.kto_support": policies.kto_support,
    "V7.kto_split": policies.kto_split,
    "V8.gap": policies.gap,
    "V8.bound": policies.gap,
    "V8.tilted": policies.tilted,
    "V8.per_prompt": policies.per_prompt,
    "V8.bco_shift": policies.bco_shift,
    "V9.estimate": samples.divergence_estimate,
    "V9.bias": samples.bias,
    "V9.held_out": samples.held_out,
    "V9.stderr": samples.spread,
    "V9.coverage": samples.coverage,
    "V9.rate": samples.rate,
    "V9.log_mean_exp": samples.log_mean_exp_bias,
    "V9.small_batches": samples.small_batch_bias,
    "V9.leave_one_out": samples.leave_one_out_bias,
    "V9.moving_average": samples.weight_bias,
    "V9.threshold": samples.smallest_batch,
    "V9.minibatch_optimum": samples.minibatch_optimum,
    "V9.average_helps": samples.average_helps,
    "V10.gap": data.minimised_gap,
    "V10.sampled": data.sampled_gap,
    "V10.disjoint": data.sampled_gap,
    "V10.cr_above": data.sampled_gap,
    "V11.bhattacharyya": data.plug_in_excess,
    "V11.distance": data.plug_in_distance,
    "V11.after_pca": data.after_pca,
    "V11.silhouette": data.mean_silhouette,
    "V11.shrinkage": data.shrinkage_helps,
    "V11.rank_interval": data.rank_interval,
    "V12.coefficient": data.coefficient,
    "V12.drift": data.drift,
    "V12.pushed_up": data.pushed_up,
    "V12.kldo_down": data.kldo_down,
}
