"""Worst cases of rules, and of methods in KL balls, searched for: the bounds of D3, D4, D6, D9, D10, D18 and D22.

Worst cases are far from random populations: some utilities vanish, the winner is hardly ahead, and in a ball the
reference all but misses what is good. So a search begins at the optimum of a linear program over populations on a
grid, in a ball around a reference that is nearly all on one alternative, or nearly without it, or has just so much on
the winner that the budget takes a policy there; hill-climbing, or quasi-Newton steps where a method is cheap, then try
to get past it. None of these functions calls a closed form, or
starts from the instances with which the bounds are proved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog, minimize
from scipy.special import expit

from simulate.montecarlo import Estimate, Experiments
from simulate.populations import describe, worst_of
from simulate.profiles import Profile
from theory.bradley_terry import Population, product_pairs
from theory.distortion.measure import distortion
from theory.policy.identity import ipo
from theory.policy.kl_ball import kl_from_log
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized
from theory.policy.rewards import rlhf
from theory.social_choice.pairwise import borda, copeland
from theory.validate import Array

Rng = np.random.Generator
#: Distortion of a method on a population, in a ball around a reference (A,) in logarithms, nats.
Loss = Callable[[Population, Array], float]
#: A reference (A,) in logarithms, of the number of alternatives.
Reference = Callable[[int], Array]

#: Utilities of the third alternative in the programs' grid of types, and of the best one.
THIRD = (0.0, 0.5, 1.0)
BEST = np.unique([0.0, *np.geomspace(1e-3, 1.0, 31), *np.linspace(0.0, 1.0, 101)])
#: Laws of the opponents, of winner, best and third: the third; nearly always the third; mostly the third; all alike.
ALONE, NEARLY, MOSTLY = (0.0, 0.0, 1.0), (1e-4, 1e-4, 1.0 - 2e-4), (0.15, 0.15, 0.7)
ALIKE = (1 / 3, 1 / 3, 1 / 3)
#: The best; all alike where the third is there so many times.
BEST_ALONE, TIMES = (0.0, 1.0, 0.0), 200
CLONES = (1 / (TIMES + 2), 1 / (TIMES + 2), TIMES / (TIMES + 2))
#: What a policy all on the winner costs, as a share of the budget; masses of the best, as shares of what is left.
ALL_BUT, SHARES = 1.0 - 1e-9, (1e-4, 0.01, 0.03, 0.1)
#: Which of winner 0, best 1 and third 2 scores more than which.
BEFORE_BOTH, BEFORE_BEST, THIRD_BETWEEN = ((0, 1), (0, 2)), ((0, 1),), ((0, 2), (2, 1))
#: Log-mass of what a reference all but misses, nats: what hardly wins then takes all that a budget buys.
MISSED = 3000.0
#: The same where what is missed is good to all and may not leak in; and for RLHF, whose fit needs every pair.
FAR, SELDOM = 1e8, 650.0
#: Gap of NLHF: what is at stake among faint alternatives that a small budget hardly reaches is about 1e-10.
GAP = 1e-13
#: log of the smallest utility and weight that a quasi-Newton climb tells from 0.
FAINTEST = -40.0
#: Step of its difference quotients, and the excess of distortion over 1 that it takes for none.
STEP, NONE = 1e-5, 1e-300


def worst_on_grid(
    bt_beta: float,
    opponents: ArrayLike,
    margin: float,
    *,
    faint: float = 1e-3,
    third: Sequence[float] = THIRD,
    order: Sequence[tuple[int, int]] = BEFORE_BOTH,
) -> Population:
    """The population of a winner, the best and a third alternative with the largest u(best)/u(winner): a program.

    opponents  (3,) law of the opponents, against whom they score
    margin     by how much one scores more, as a share of β/4·u(winner), what faint utilities are worth against nothing
    faint      utility of the winner to those who like it a little
    third      utilities that a type may have for the third alternative
    order      pairs of which the first scores more than the second
    """
    c, b, y = (axis.ravel() for axis in np.meshgrid((0.0, faint, 1.0), BEST, third, indexing="ij"))
    scores = [
        sum(m * expit(bt_beta * (x - o)) for m, o in zip(np.asarray(opponents), (c, b, y), strict=True))
        for x in (c, b, y)
    ]
    lead = 0.25 * margin * bt_beta * c  # summed over types that of u(winner) = 1
    rows = [scores[less] + lead - scores[more] for more, less in order]
    found = linprog(-b, A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=[c], b_eq=[1.0], method="highs")
    if not found.success:
        raise ArithmeticError(f"the program over populations stopped: {found.message}")
    held = found.x > 1e-9 * found.x.max()
    return Population(np.column_stack((c, b, y))[held], found.x[held] / found.x[held].sum())


def at_budget(bt_beta: float, tau: float) -> tuple[Population, Reference]:
    """The same where the budget takes a policy all the way to the winner; the opponents' law is the reference.

    Of the masses that it may have on the best, the one where most is lost. Alternatives after the best share the rest.
    """
    first = math.exp(-tau * ALL_BUT)
    shares = [share * (1.0 - first) for share in SHARES]

    def around(best: float, size: int) -> Array:
        rest = (1.0 - first - best) / max(1, size - 2)
        return _normalised(np.log([first, best, *[rest] * (size - 2)]))

    def loss(best: float) -> float:
        return distortion(users[best], [1.0, 0.0, 0.0], tau=tau, log_reference=around(best, 3))

    users = {best: worst_on_grid(bt_beta, np.exp(around(best, 3)), 1e-3) for best in shares}
    worst = max(users, key=loss)
    return users[worst], partial(around, worst)


def cloned(users: Population, times: int) -> Population:
    """The same people where the last alternative is there so many times."""
    U = users.utilities
    return Population(np.column_stack((U[:, :-1], np.repeat(U[:, -1:], times, axis=1))), users.weights)


def around_last(size: int, missed: float = MISSED) -> Array:
    """A reference nearly all on the last alternative."""
    return _normalised(np.where(np.arange(size) == size - 1, 0.0, -missed))


def without_last(size: int, missed: float = FAR) -> Array:
    """A reference nearly without the last alternative."""
    return _normalised(np.where(np.arange(size) == size - 1, -missed, 0.0))


def _normalised(masses: Array) -> Array:
    return masses - np.logaddexp.reduce(masses)


def in_mild_balls(loss: Loss) -> Callable[[Population], float]:
    """The larger loss around the uniform reference and around one that shuns good alternatives."""

    def badness(users: Population) -> float:
        u = users.average_utility
        return max(loss(users, _normalised(masses)) for masses in (np.zeros(u.size), -4.0 * u / u.max()))

    return badness


def searched(
    loss: Loss, cases: Sequence[tuple[Population, Reference]], rng: Rng, profile: Profile, share: float
) -> Estimate:
    """The worst of a search in mild balls and of one from every case around its reference, `share` of its length."""
    found = [worst_of(in_mild_balls(loss), rng, profile.scaled(0.1))]
    for users, reference in cases:

        def badness(users: Population, reference: Reference = reference) -> float:
            return loss(users, reference(users.utilities.shape[1]))

        found.append(worst_of(badness, rng, profile.scaled(share), users))
    worst = max(found, key=lambda estimate: estimate.value)
    return Estimate(worst.value, n=sum(estimate.n for estimate in found), witness=worst.witness)


def ascend(loss: Loss, users: Population, masses: Array, steps: int) -> tuple[float, Population]:
    """The largest loss that quasi-Newton steps reach, and its population.

    They move logarithms, of utilities, weights and the reference's masses (A,), and climb log(distortion − 1), whose
    slopes are of order one where distortion itself is flat.
    """
    U = users.utilities
    lowest = np.repeat([FAINTEST, FAINTEST, -MISSED], [U.size, len(U), len(masses)])

    def at(point: Array) -> tuple[Population, Array]:
        utilities, weights, logs = np.split(point, [U.size, U.size + len(U)])
        return Population(np.exp(utilities).reshape(U.shape), np.exp(_normalised(weights))), _normalised(logs)

    def depth(point: Array) -> float:
        return -math.log(max(loss(*at(point)) - 1.0, NONE))

    with np.errstate(divide="ignore"):
        start = np.maximum(np.concatenate((np.log(U).ravel(), np.log(users.weights), masses)), lowest)
    options, bounds = {"maxiter": steps, "eps": STEP}, [(low, 0.0) for low in lowest]
    found = minimize(depth, start, method="L-BFGS-B", bounds=bounds, options=options)
    worst, logs = at(found.x)
    return loss(worst, logs), worst


def lottery_bound(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D3: worst distortion of the maximal lottery over populations."""

    def badness(users: Population) -> float:
        return distortion(users, maximal_lottery(users.win_rates(bt_beta)).policy)

    # the last two are hard for Borda and for Copeland: a rule of theirs in the lottery's place is found out
    known = (
        worst_on_grid(bt_beta, BEST_ALONE, 1e-3, third=(0.0,), order=BEFORE_BEST),
        cloned(worst_on_grid(bt_beta, CLONES, 1e-3), TIMES),
        cloned(worst_on_grid(bt_beta, ALONE, 1e-3, order=THIRD_BETWEEN), 3),
    )
    return worst_of(badness, rng, profile, *known)


def borda_bound(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D4: worst distortion of Borda over populations and opponents' laws μ (uniform, and nearly all on one)."""

    def badness(users: Population) -> float:
        P = users.win_rates(bt_beta)
        A = P.shape[0]
        concentrated = 1e-9 / A + (1 - 1e-9) * np.eye(A)
        laws = [np.full(A, 1 / A), *concentrated]
        return max(distortion(users, borda(P, mu)) for mu in laws)

    return worst_of(badness, rng, profile, worst_on_grid(bt_beta, NEARLY, 1e-3))


def copeland_bound(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D6: worst distortion of Copeland over populations."""

    def badness(users: Population) -> float:
        return distortion(users, copeland(users.win_rates(bt_beta)))

    # the winner loses to the best only, which loses to every clone of the third
    return worst_of(badness, rng, profile, cloned(worst_on_grid(bt_beta, ALONE, 1e-3, order=THIRD_BETWEEN), 3))


def nlhf_bound(bt_beta: float, tau: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D9: worst distortion of NLHF in a ball."""

    def loss(users: Population, logs: Array) -> float:
        policy = nlhf(users.win_rates(bt_beta), tau=tau, log_reference=logs, tolerance=GAP).policy
        return distortion(users, policy, tau=tau, log_reference=logs)

    cases = [
        (worst_on_grid(bt_beta, ALONE, 5e-3, faint=0.01, third=(0.0,)), around_last),
        # hard for rules that score against a law of opponents, as IPO does: were it in NLHF's place, it would show
        (worst_on_grid(bt_beta, ALIKE, 5e-3, order=BEFORE_BEST), without_last),
        (worst_on_grid(bt_beta, MOSTLY, 5e-3), lambda size: around_last(size, math.log(MOSTLY[2] / MOSTLY[0]))),
    ]
    return searched(loss, cases, rng, profile, 0.005)


def regularised_bound(bt_beta: float, weight: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D10: worst distortion of regularised NLHF against all policies no farther from the reference than itself."""

    def loss(users: Population, logs: Array) -> float:
        policy = nlhf_regularized(users.win_rates(bt_beta), None, weight, log_reference=logs, tolerance=1e-11).policy
        return distortion(users, policy, tau=kl_from_log(policy, logs), log_reference=logs)

    found, steps = worst_of(in_mild_balls(loss), rng, profile.scaled(0.1)), max(5, profile.steps // 50)
    users = worst_on_grid(bt_beta, ALONE, 0.01, faint=0.01, third=(0.0,))
    # as far as the winner's lead carries the policy, and a little farther
    lead = float(users.win_rates(bt_beta)[0, 2]) - 0.5
    value, worst = ascend(loss, users, around_last(3, min(MISSED, 5.0 + lead / weight)), steps)
    witness = describe(worst) if value > found.value else found.witness
    return Estimate(max(value, found.value), n=found.n + steps, witness=witness)


def on_policy(bt_beta: float, tau: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D18: worst distortion of IPO in a ball around the law that its pairs come from."""

    def loss(users: Population, logs: Array) -> float:
        policy = ipo(users.win_rates(bt_beta), np.exp(logs), tau=tau, log_reference=logs)
        return distortion(users, policy, tau=tau, log_reference=logs)

    cases = [(worst_on_grid(bt_beta, ALONE, 5e-3, faint=0.01, third=(0.0,)), around_last), at_budget(bt_beta, tau)]
    return searched(loss, cases, rng, profile, 0.1)


def any_law(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D18: worst distortion of IPO in a ball that its opponents, all the last alternative, lie outside of."""

    def loss(users: Population, logs: Array) -> float:
        last = without_last(logs.size)
        policy = ipo(users.win_rates(bt_beta), np.eye(logs.size)[-1], tau=np.log(logs.size), log_reference=last)
        return distortion(users, policy, tau=np.log(logs.size), log_reference=last)

    return searched(loss, [(worst_on_grid(bt_beta, ALONE, 2e-3, order=BEFORE_BEST), without_last)], rng, profile, 0.1)


def rlhf_on_policy(bt_beta: float, tau: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D22: worst distortion of RLHF in a ball around the law that its pairs come from; each step fits rewards."""

    def loss(users: Population, logs: Array) -> float:
        policy = rlhf(users.win_rates(bt_beta), product_pairs(np.exp(logs)), tau=tau, log_reference=logs)
        return distortion(users, policy, tau=tau, log_reference=logs)

    cases = [
        (worst_on_grid(bt_beta, ALONE, 0.01, faint=0.01, third=(0.0,)), lambda size: around_last(size, SELDOM)),
        at_budget(bt_beta, tau),
    ]
    return searched(loss, cases, rng, profile, 0.02)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D3.bound": lottery_bound,
    "D4.bound": borda_bound,
    "D6.bound": copeland_bound,
    "D9.bound": nlhf_bound,
    "D10.bound": regularised_bound,
    "D18.on_policy": on_policy,
    "D18.any_law": any_law,
    "D22.bound": rlhf_on_policy,
    "D22.reach": rlhf_on_policy,
}
