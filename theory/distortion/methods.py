"""Every rule and method of the distortion literature in one flat table, behind one signature.

`METHODS` maps a name to a `Method`: a pure function from a `Situation` to a policy (A,), what it looks at, and the
bound on its distortion where one is proved. Experiments and figures walk the table, and so does a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from theory.bradley_terry import Population
from theory.distortion import factors
from theory.policy import nash
from theory.policy import rewards as policy
from theory.policy.identity import ipo
from theory.social_choice import electorates, pairwise, rankings
from theory.validate import Array

#: KL weight of DPO (and of penalty-form RLHF) in the comparisons of this table, nats of log-ratio per unit reward.
KL_BETA = 0.5
#: (bt_beta, A) → a distortion.
Bound = Callable[[float, int], float]


@dataclass(frozen=True, eq=False)
class Situation:
    """What a method may look at.

    win_rates    (A, A), exact or empirical
    bt_beta      the users' temperature
    pair_weights (A, A) law of the compared pair
    log_reference, tau   the KL ball of the constrained methods
    population   needed by rules on rankings; None where only comparisons exist
    """

    win_rates: Array
    bt_beta: float
    pair_weights: Array
    log_reference: Array
    tau: float
    population: Population | None = None

    @property
    def mu(self) -> Array:
        """(A,) marginal of the pair law."""
        return self.pair_weights.sum(axis=1)

    @property
    def voters(self) -> Population:
        """The population; ValueError where there are only comparisons."""
        if self.population is None:
            raise ValueError("a rule on rankings needs a population, here are only pairwise win rates")
        return self.population


@dataclass(frozen=True)
class Method:
    """A rule or method.

    label     its name in figures and tables
    run       situation → policy (A,)
    looks_at  "comparisons" or "rankings"
    ball      whether its distortion is measured inside the KL ball (else over all policies)
    rule      a rule on rankings for many electorates at once: (utilities, weights, bt_beta) → policies
    bound     (bt_beta, A) → proved upper bound on its distortion, of IPO where pairs come from the reference; None if
              there is none that is finite
    """

    label: str
    run: Callable[[Situation], Array]
    looks_at: Literal["comparisons", "rankings"]
    ball: bool = False
    bound: Bound | None = None
    rule: Callable[[Array, Array, float], Array] | None = None


_linear: Bound = lambda bt_beta, _: factors.linear_factor(bt_beta)
_borda: Bound = lambda bt_beta, _: factors.borda_factor(bt_beta)


def _on_rankings(label: str, rule: Callable[[Array, Array, float], Array], bound: Bound | None = None) -> Method:
    """A rule on rankings: of one population, the only row of its weights."""

    def run(s: Situation) -> Array:
        return rule(s.voters.utilities, s.voters.weights[None], s.bt_beta)[0]

    return Method(label, run, "rankings", bound=bound, rule=rule)


def _uniform(situation: Situation) -> Array:
    A = situation.win_rates.shape[0]
    return np.full(A, 1.0 / A)


def _rlhf(situation: Situation, tau: float) -> Array:
    return policy.rlhf(situation.win_rates, situation.pair_weights, tau=tau, log_reference=situation.log_reference)


def _dpo(situation: Situation) -> Array:
    s = situation
    return policy.dpo(s.win_rates, s.pair_weights, None, KL_BETA, log_reference=s.log_reference)


def _ipo_in_ball(s: Situation) -> Array:
    return ipo(s.win_rates, s.mu, tau=s.tau, log_reference=s.log_reference)


def _nlhf_in_ball(s: Situation) -> Array:
    return nash.nlhf(s.win_rates, tau=s.tau, log_reference=s.log_reference).policy


#: Every rule and method by name, each with its policy, what it looks at, and the bound on its distortion if proved.
METHODS: dict[str, Method] = {
    "maximal_lottery": Method(
        "maximal lottery (NLHF)", lambda s: nash.maximal_lottery(s.win_rates).policy, "comparisons", bound=_linear
    ),
    "borda": Method("Borda", lambda s: pairwise.borda(s.win_rates, s.mu), "comparisons", bound=_borda),
    "rlhf": Method("RLHF", lambda s: _rlhf(s, math.inf), "comparisons"),
    "copeland": Method("Copeland", lambda s: pairwise.copeland(s.win_rates), "comparisons", bound=_borda),
    "nlhf_ball": Method("NLHF in the ball", _nlhf_in_ball, "comparisons", ball=True, bound=_linear),
    "rlhf_ball": Method("RLHF in the ball", lambda s: _rlhf(s, s.tau), "comparisons", ball=True),
    "ipo": Method("IPO in the ball", _ipo_in_ball, "comparisons", ball=True, bound=_borda),
    "dpo": Method("DPO", _dpo, "comparisons"),
    "plurality": _on_rankings("plurality", electorates.plurality),
    "veto": _on_rankings("veto", electorates.veto),
    "plurality_veto": _on_rankings("plurality veto", electorates.plurality_veto),
    "pruned_plurality_veto": _on_rankings("pruned plurality veto", electorates.pruned_plurality_veto),
    "random_dictator": _on_rankings("random dictator", electorates.first_places, rankings.random_dictator_upper_factor),
    "uniform": Method("uniform policy", _uniform, "comparisons", bound=lambda _, n: float(n)),
}
