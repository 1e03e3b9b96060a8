"""Population-proportional policies among sampled voters, in linear programs and under climbs: claim D26.

None of these functions calls the closed form that its estimate is judged against.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog, minimize_scalar
from scipy.special import expit

from simulate.montecarlo import Estimate, Experiments, mean
from simulate.populations import random_population, worst_of
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.bradley_terry import Population
from theory.distortion.measure import distortion
from theory.distortion.proportional import electorate, worst_pair
from theory.social_choice.shares import proportional, share_bounds
from theory.validate import Array

Rng = np.random.Generator

#: Comparisons of every pair in a sample of votes.
PER_PAIR = 10**9
#: Shares of favourites in an electorate, and the utility of a favourite that hardly is one.
SHARES, FAINT = (0.6, 0.3, 0.1), 1e-5
#: Win rates below ½ that the programs begin with, and β times the smallest utility of their types.
RATES, SMALLEST = np.linspace(0.02, 0.49, 16), 3e-3


def votes(users: Population, bt_beta: float, rng: Rng) -> Array:
    """Empirical win rates (A, A) of users drawn anew for every comparison, all pairs alike."""
    A = users.utilities.shape[1]
    pairs = (1.0 - np.eye(A)) / (A * (A - 1))
    return sample_comparisons(users, bt_beta, pairs, PER_PAIR * A * (A - 1) // 2, rng=rng).win_rates()


def _on_votes(users: Population, bt_beta: float, sharpness: float, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of the policy of sampled votes, the mean of a few samples."""
    samples = range(max(2, profile.repeats))
    return mean([distortion(users, proportional(votes(users, bt_beta, rng), sharpness)) for _ in samples])


def unanimous(
    n_alternatives: int, bt_beta: float, utility: float, sharpness: float, *, rng: Rng, profile: Profile
) -> Estimate:
    """D26: all users value the first alternative alone."""
    users = Population(utility * np.eye(1, n_alternatives))
    return _on_votes(users, bt_beta, sharpness, rng, profile)


def attained(bt_beta: float, sharpness: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: two types of users, of the worst kind."""
    return _on_votes(worst_pair(bt_beta, sharpness), bt_beta, sharpness, rng, profile)


def _worst_at(rate: float, bt_beta: float, sharpness: float) -> float:
    """sup u(a)/u(π) over populations on a grid of types in which a wins this share of comparisons; 0 without one."""
    levels = np.unique(
        [*np.linspace(0.0, 1.0, 31), *np.linspace(0.0, min(1.0, 12.0 / bt_beta), 41), SMALLEST / bt_beta]
    )
    a, o = (axis.ravel() for axis in np.meshgrid(levels, levels, indexing="ij"))
    chosen, _ = proportional([[0.5, rate], [1.0 - rate, 0.5]], sharpness)
    rows = [expit(bt_beta * (a - o)) - rate, chosen * a + (1.0 - chosen) * o]
    found = linprog(-a, A_eq=rows, b_eq=[0.0, 1.0], method="highs")
    return float(-found.fun) if found.success else 0.0


def pair(bt_beta: float, sharpness: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the worst of all win rates of two alternatives."""
    values = [_worst_at(rate, bt_beta, sharpness) for rate in RATES]
    near = RATES[int(np.argmax(values))]
    step, worst = RATES[1] - RATES[0], lambda rate: -_worst_at(rate, bt_beta, sharpness)
    found = minimize_scalar(
        worst, bounds=(near - step, min(0.5, near + step)), method="bounded", options={"xatol": 1e-4}
    )
    just_won = _worst_at(float(expit(SMALLEST)), bt_beta, sharpness)
    return Estimate(max(*values, -float(found.fun), just_won), n=len(values))


def per_alternative(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the largest distortion over A that a climb reaches."""

    def loss(users: Population) -> float:
        return distortion(users, proportional(users.win_rates(bt_beta))) / users.utilities.shape[1]

    return worst_of(loss, rng, profile)


def level(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the least A·π(x)/w(x) that a climb reaches, w(x) the share of users who like nothing more than x."""

    def least(users: Population) -> float:
        U = users.utilities
        shares = users.weights @ (U.max(axis=1, keepdims=True) == U)
        policy = proportional(users.win_rates(bt_beta))
        liked = shares > 0.0
        return -float((policy[liked] / shares[liked]).min()) * U.shape[1]

    found = worst_of(least, rng, profile)
    return Estimate(-found.value, n=found.n, witness=found.witness)


def recovered(kind: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: total variation of the policy of sampled votes and the true shares."""
    users = electorate(kind, SHARES)
    policies = [proportional(votes(users, bt_beta, rng)) for _ in range(max(2, profile.repeats))]
    return mean([0.5 * np.abs(policy - SHARES).sum() for policy in policies])


def bounded_share(share: float, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the bound on the first alternative's share; its users hardly prefer it, the others despise it."""
    users = Population(np.array([[FAINT, 0.0, 0.0], [0.0, 1.0, 0.5]]), np.array([share, 1.0 - share]))
    return mean([share_bounds(votes(users, bt_beta, rng), bt_beta)[0] for _ in range(max(2, profile.repeats))])


def _joined(honest: Array, share: float, favourite: int) -> Array:
    """Win rates where a share of all votes puts one alternative before all others, and these level."""
    ballots = np.full(honest.shape, 0.5)
    ballots[favourite], ballots[:, favourite] = 1.0, 0.0
    ballots[favourite, favourite] = 0.5
    return (1.0 - share) * honest + share * ballots


def coalition(share: float, n_alternatives: int, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: others are split evenly between the other alternatives; the coalition's is nearly as good to each."""
    U = np.eye(n_alternatives)[1:]
    U[:, 0] = 1.0 - FAINT
    honest = [votes(Population(U), bt_beta, rng) for _ in range(max(2, profile.repeats))]
    return mean([proportional(_joined(rates, share, 0))[0] for rates in honest])


def coalition_search(share: float, n_alternatives: int, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the most that a climb gets for an alternative that is no other user's favourite."""

    def gained(users: Population) -> float:
        U = users.utilities
        if U.shape[1] != n_alternatives:
            return -1.0
        honest = users.win_rates(bt_beta)
        free = np.flatnonzero(~(U.max(axis=1, keepdims=True) == U).any(axis=0))
        return max((float(proportional(_joined(honest, share, x))[x]) for x in free.tolist()), default=0.0)

    return worst_of(gained, rng, profile)


def axioms(axiom: str, sharpness: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D26: the least change or lead of probability over random populations at β = 5."""
    changes = []
    for _ in range(profile.replicates // 4):
        users = random_population(rng)
        U = users.utilities.copy()
        x, y = rng.choice(U.shape[1], 2, replace=False)
        if axiom == "monotonicity":
            v = rng.integers(U.shape[0])
            before = proportional(users.win_rates(5.0), sharpness)[x]
            U[v, x] += rng.random() * (1.0 - U[v, x])
            changes.append(proportional(Population(U, users.weights).win_rates(5.0), sharpness)[x] - before)
        else:
            U[:, y] = U[:, x] * rng.random(U.shape[0])
            policy = proportional(Population(U, users.weights).win_rates(5.0), sharpness)
            changes.append(policy[x] - policy[y])
    return Estimate(float(min(changes)), n=len(changes))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D26.unanimous": unanimous,
    "D26.pair": pair,
    "D26.worst_pair": attained,
    "D26.per_alternative": per_alternative,
    "D26.level": level,
    "D26.recovered": recovered,
    "D26.share_bound": bounded_share,
    "D26.coalition": coalition,
    "D26.coalition_search": coalition_search,
    "D26.axioms": axioms,
}
