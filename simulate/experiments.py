"""Which function measures which check: the table that a run walks. A test walks it too, against the claims."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from simulate.best_of_n.laws import BEST_OF_N
from simulate.correction.channels import CORRECTION
from simulate.density_ratio.ratios import DENSITY_RATIO
from simulate.distortion import audit, methods, rankings, samples, win_rates
from simulate.divergences.table import DIVERGENCES
from simulate.montecarlo import Estimate
from simulate.proximal.optima import PROXIMAL
from theory.claim import Setting
from theory.distortion.methods import METHODS

#: `claim.check` → function(**setting, rng, profile). D17 is in `simulate.people.people`: its grid is the user's.
DISTORTION: dict[str, Callable[..., Estimate]] = {
    "D1.violation": win_rates.linearisation,
    "D2.fair_coins": win_rates.fair_coins,
    "D2.condorcet_loser": win_rates.condorcet_loser,
    "D3.bound": win_rates.lottery_bound,
    "D3.attained": win_rates.lottery_attained,
    "D4.bound": win_rates.borda_bound,
    "D4.certified": win_rates.borda_certified,
    "D4.attained": win_rates.borda_attained,
    "D5.attained": win_rates.borda_on_i5,
    "D5.above_L": win_rates.borda_above_lottery,
    "D6.bound": win_rates.copeland_bound,
    "D6.attained": win_rates.copeland_attained,
    "D7.plurality": rankings.plurality_family,
    "D7.random_dictator": rankings.random_dictator_family,
    "D7.veto": rankings.veto_family,
    "D7.veto_played": rankings.veto_played,
    "D8.limit": win_rates.rlhf_in_ball,
    "D8.sampled": win_rates.rlhf_sampled,
    "D8.exponential": win_rates.rlhf_in_ball,
    "D9.on_I6": win_rates.nlhf_on_i6,
    "D9.bound": win_rates.nlhf_bound,
    "D9.beside_rlhf": win_rates.rlhf_above_nlhf,
    "D10.same_family": win_rates.same_family,
    "D10.bound": win_rates.regularised_bound,
    "D11.chain": win_rates.correlated_chain,
    "D11.growth": win_rates.correlated_growth,
    "D12.same": win_rates.dpo_is_rlhf,
    "D13.discordant": win_rates.order_of_rewards,
    "D13.needs_product": win_rates.order_under_correlation,
    "D14.bound": samples.uniform_error,
    "D14.win_rates": samples.uniform_rate,
    "D14.local_family": samples.local_family,
    "D14.local_constant": samples.local_family,
    "D14.lottery": samples.lottery_rate,
    "D14.fixed": samples.fixed_instance,
    "D15.grows": win_rates.clipped_ordering,
    "D15.exponent": win_rates.clipped_growth,
    "D15.at_reference": win_rates.clipped_at_reference,
    "D16.contains": audit.contains,
    "D16.within_L": audit.within_linear_factor,
    "D16.closes": audit.closes,
    "D16.coverage": audit.coverage,
}

#: Rows that no claim judges: `claim.name` → (function, its settings). Tables and figures show them.
MEASUREMENTS: dict[str, tuple[Callable[..., Estimate], tuple[Setting, ...]]] = {
    f"D14.sampled_{method}": (partial(methods.sampled_method, method), methods.SETTINGS) for method in METHODS
}

#: Every check of every topic.
EXPERIMENTS = {**DISTORTION, **PROXIMAL, **DIVERGENCES, **DENSITY_RATIO, **CORRECTION, **BEST_OF_N}
