"""Claim D26: what population-proportional policies cost Bradley–Terry users, and what a group can count on.

>>> from theory.claims import find_claim
>>> round(find_claim("D26").check("pair").predict({"bt_beta": 50.0, "sharpness": 0.0}), 4)
2.4616
"""

from __future__ import annotations

from theory.claim import Claim, at_least, at_most, equal, grid, of_topic
from theory.distortion.proportional import (
    coalition_limit,
    least_win_rate,
    pair_proportional_factor,
    recovery_error,
    unanimous_distortion,
)

#: Shares of favourites in the electorates of the check `recovered`.
SHARES = (0.6, 0.3, 0.1)
SAMPLE = "votes are sampled, and the least of several is a little low"

PROPORTIONAL_CLAIMS: tuple[Claim, ...] = (
    of_topic("distortion")(
        "D26", "Population-proportional policies", ("NLHF", "proportional", "minorities", "manipulation", "unanimity"),
        "Probability in proportion to min_y P(x≻y), softened or not, loses up to A where all users agree, as uniform "
        "policies do; unsoftened at most A/2 over the least win rate of what is worth no less, with two alternatives "
        "exactly max(2, ≈ √(β/(2 log β))). A favourite of a share w gets at least w/A, a coalition of w up to "
        "2/(3 − w), not (1 + w)/2.",
        "@kim2025 (policy, axioms); losses and Bradley–Terry users ours", "equality",
        equal("unanimous", "distortion where all users value one alternative at ε and the others at 0",
              unanimous_distortion, relative=5e-3, because=SAMPLE,
              at=grid(n_alternatives=(3, 30), bt_beta=5.0, utility=(0.01, 0.3), sharpness=(0.0, 10.0))),
        equal("pair", "worst distortion with two alternatives, linear programs over populations",
              pair_proportional_factor, relative=4e-3, because="utilities on a grid in place of [0, 1]",
              at=grid(bt_beta=(10.0, 50.0, 200.0), sharpness=(0.0, 10.0))),
        equal("worst_pair", "distortion on the two types of users that attain it, votes sampled",
              pair_proportional_factor, relative=5e-3, because=SAMPLE,
              at=grid(bt_beta=(50.0, 200.0), sharpness=(0.0, 10.0))),
        at_most("per_alternative", "largest distortion over the number of alternatives, climbing among populations",
                lambda bt_beta: 0.5 / least_win_rate(bt_beta), at=grid(bt_beta=(2.0, 5.0, 20.0)), because="a bound"),
        at_least("level", "least A·π(x)/w(x), w(x) the share with x as favourite, climbing among populations", 1.0,
                 at=grid(bt_beta=(2.0, 5.0, 20.0)), within=1e-9, because="a bound, rounding"),
        equal("recovered", "total variation of policy and true shares, electorates of single favourites and cycles",
              lambda kind, bt_beta: recovery_error(kind, SHARES, bt_beta), within=2e-3, because=SAMPLE,
              at=grid(kind=("single", "cycle"), bt_beta=(2.0, 5.0, 50.0))),
        equal("share_bound", "bound on a favourite's share, sampled votes of users whose fans of it are faint",
              lambda share: share, measured=("bt_beta",), within=2e-3, because=SAMPLE,
              at=grid(share=(0.2, 0.7), bt_beta=(2.0, 10.0))),
        equal("coalition", "what a coalition gets for its favourite, the second best of all others, votes sampled",
              coalition_limit, relative=5e-3, because=SAMPLE,
              at=grid(share=(0.05, 0.3), n_alternatives=(2, 3, 10), bt_beta=(2.0, 10.0))),
        at_most("coalition_search", "the same, climbing among populations of others", coalition_limit,
                at=grid(share=(0.05, 0.3), n_alternatives=(2, 3), bt_beta=(2.0, 10.0)), because="a bound"),
        at_least("axioms", "least gain of what users come to like more; least lead over what nobody likes more", 0.0,
                 at=grid(axiom=("monotonicity", "Pareto"), sharpness=(0.0, 10.0)), within=1e-12, scale=1.0,
                 because="rounding"),
    ),
)  # fmt: skip
