"""What alignment methods do to the people behind the comparisons: closed forms, certified solvers, and the claims.

Everything is deterministic float64 numpy; nothing here draws a random number. The names below are the way in, and are
imported when they are first used; each topic is a package with a page of its own (`help(theory.policy)`).

>>> from theory import Population, borda, distortion, nlhf
>>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])  # two types of user, three responses
>>> P = users.win_rates(bt_beta=5.0)  # how often each response beats each
>>> borda(P)  # the majority's favourite
array([0., 0., 1.])
>>> round(distortion(users, borda(P)), 3)  # its users are worth that much less than at the best response, the first
1.429
>>> reference = [0.2, 0.5, 0.3]
>>> policy = nlhf(P, reference, tau=0.1).policy  # Nash learning within 0.1 nats of a reference
>>> round(distortion(users, policy, reference, tau=0.1), 3)
1.143
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy

if TYPE_CHECKING:
    from theory.bradley_terry import Population, fit_rewards
    from theory.claims import CLAIMS
    from theory.distortion import audit, distortion
    from theory.policy import dpo, kl, nlhf, rlhf
    from theory.social_choice import borda, copeland, maximal_lottery

__all__ = [
    "CLAIMS",
    "Population",
    "audit",
    "borda",
    "copeland",
    "distortion",
    "dpo",
    "fit_rewards",
    "kl",
    "maximal_lottery",
    "nlhf",
    "rlhf",
]

__getattr__, __dir__ = lazy(__name__, {
    "theory.bradley_terry": "Population, fit_rewards",
    "theory.claims": "CLAIMS",
    "theory.distortion": "audit, distortion",
    "theory.policy": "dpo, kl, nlhf, rlhf",
    "theory.social_choice": "borda, copeland, maximal_lottery",
})  # fmt: skip
