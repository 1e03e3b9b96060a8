"""Which function measures which check: the table that a run walks. A test walks it too, against the claims."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simulate import distortion, distortion_audit, distortion_methods, distortion_rankings, distortion_samples
from simulate.best_of_n import BEST_OF_N
from simulate.correction import CORRECTION
from simulate.density_ratio import DENSITY_RATIO
from simulate.divergences import DIVERGENCES
from simulate.montecarlo import Estimate
from simulate.proximal import PROXIMAL
from theory.judgement import Setting
from theory.methods import METHODS

#: `claim.check` → function(**setting, rng, effort). D17 is in `simulate.distortion_people`: its grid is the user's.
DISTORTION: dict[str, Callable[..., Estimate]] = {
    "D1.violation": distortion.linearisation,
    "D2.fair_coins": distortion.fair_coins,
    "D2.condorcet_loser": distortion.condorcet_loser,
    "D3.bound": distortion.lottery_bound,
    "D3.attained": distortion.lottery_attained,
    "D4.bound": distortion.borda_bound,
    "D4.certified": distortion.borda_certified,
    "D4.attained": distortion.borda_attained,
    "D5.attained": distortion.borda_on_i5,
    "D5.above_L": distortion.borda_above_lottery,
    "D6.bound": distortion.copeland_bound,
    "D6.attained": distortion.copeland_attained,
    "D7.plurality": distortion_rankings.plurality_family,
    "D7.random_dictator": distortion_rankings.random_dictator_family,
    "D7.veto": distortion_rankings.veto_family,
    "D7.veto_played": distortion_rankings.veto_played,
    "D8.limit": distortion.rlhf_in_ball,
    "D8.sampled": distortion.rlhf_sampled,
    "D8.exponential": distortion.rlhf_in_ball,
    "D9.on_I6": distortion.nlhf_on_i6,
    "D9.bound": distortion.nlhf_bound,
    "D9.beside_rlhf": distortion.rlhf_above_nlhf,
    "D10.same_family": distortion.same_family,
    "D10.bound": distortion.regularised_bound,
    "D11.chain": distortion.correlated_chain,
    "D11.growth": distortion.correlated_growth,
    "D12.same": distortion.dpo_is_rlhf,
    "D13.discordant": distortion.order_of_rewards,
    "D13.needs_product": distortion.order_under_correlation,
    "D14.bound": distortion_samples.uniform_error,
    "D14.win_rates": distortion_samples.uniform_rate,
    "D14.local_family": distortion_samples.local_family,
    "D14.local_constant": distortion_samples.local_family,
    "D14.lottery": distortion_samples.lottery_rate,
    "D14.fixed": distortion_samples.fixed_instance,
    "D15.grows": distortion.clipped_ordering,
    "D15.exponent": distortion.clipped_growth,
    "D15.at_reference": distortion.clipped_at_reference,
    "D16.contains": distortion_audit.contains,
    "D16.within_L": distortion_audit.within_linear_factor,
    "D16.closes": distortion_audit.closes,
    "D16.coverage": distortion_audit.coverage,
}

#: Rows that no claim judges: `claim.name` → (function, its settings). Tables and figures show them.
MEASUREMENTS: dict[str, tuple[Callable[..., Estimate], tuple[Setting, ...]]] = {
    f"D14.sampled_{method}": (partial(distortion_methods.sampled_method, method), distortion_methods.SETTINGS)
    for method in METHODS
}

#: Every check of every topic.
EXPERIMENTS = {**DISTORTION, **PROXIMAL, **DIVERGENCES, **DENSITY_RATIO, **CORRECTION, **BEST_OF_N}
