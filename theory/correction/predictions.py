"""Predictions of the correction claims A1–A7, one function for each quantity, from the library's functions.

Everything is called through its module, so that a changed formula changes every prediction that rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from theory.bradley_terry import Population
from theory.claim import Value
from theory.correction import bootstrap, composition, repetition
from theory.correction import users as correction_users
from theory.correction.examples import (
    CORRECTOR,
    PAIRS,
    POPULATIONS,
    ROUNDS,
    TRAINING,
    UPSTREAM,
    UTILITIES,
    Pairs,
    edit_process,
)
from theory.correction.kernels import Kernel
from theory.distortion.measure import distortion
from theory.validate import Array

#: PRO's regulariser in A6.
PRO_ALPHA, PRO_SHARE = 2.5, 2.0 / 3.0
#: Upstream policy, users' weights and correctors on which A7's suprema are attained.
WORST_POLICY = np.array([0.1, 0.2, 0.3, 0.4])
WORST_WEIGHTS = np.array([0.3, 0.5, 0.2])
WORST_CORRECTORS = np.array([0.6, 0.15, 0.25])
EPSILON = 1e-7
#: A7.who: a minority with much at stake, of which a varying share corrects.
WHO = correction_users.stakes_population([0.2, 0.8], 0, 0, 1, 4, epsilon=0.02)


def constant(value: float) -> Callable[..., float]:
    """A prediction that is the same at every setting."""
    return lambda **_: value


# A1, A2.


def floor(kind: str) -> Callable[..., float]:
    """A1: the floors of an edit process, kind an attribute of `Floors`."""

    def predict(edit_rate: float, **_: Value) -> float:
        process = edit_process(edit_rate)
        return float(getattr(composition.floors(process.prompts, process.policies, process.kernels), kind))

    return predict


def smooth(share: float) -> Array:
    """The corrector mixed with the uniform kernel, so that no side of A2 is infinite."""
    return (1.0 - share) * CORRECTOR + share / len(CORRECTOR)


#: A2: the law of the corrections, and models of it.
DATA_KERNEL = smooth(0.05)
MODELS: dict[str, Array] = {"exact": DATA_KERNEL, "flat": smooth(0.5), "copier": 0.5 * np.eye(6) + 0.5 * smooth(0.1)}


def side(model: str, side: str, **_: Value) -> float:
    return float(getattr(composition.bound_sides(TRAINING, DATA_KERNEL, MODELS[model]), side))


def counterexample(side: str, **_: Value) -> float:
    return float(getattr(composition.bound_sides([0.5, 0.5], np.eye(2)), side))


def least_slack(**_: Value) -> float:
    """A2: H(O|C) = H(O) + H(C|O) − H(C)."""
    return composition.bound_sides(TRAINING, DATA_KERNEL).slack


# A3, A4, A5.


def stacked_share(upstream: str, answer: int, **_: Value) -> float:
    return float(composition.compose(UPSTREAM[upstream], CORRECTOR)[answer])


def gain(upstream: str, **_: Value) -> float:
    return composition.gain(UPSTREAM[upstream], CORRECTOR, UTILITIES)


def utility_after(corrector: str, k: int, **_: Value) -> float:
    r = ROUNDS[corrector]
    return float(repetition.rounds(r.policy, r.kernel, r.utilities, k)[-1])


def limit_utility(corrector: str, **_: Value) -> float:
    r = ROUNDS[corrector]
    return float(repetition.limit_law(r.kernel, r.policy) @ r.utilities)


def log_rate(corrector: str, **_: Value) -> float:
    return math.log(repetition.convergence_rate(ROUNDS[corrector].kernel))


#: A5: laws of the originals of identity pairs and of corrections, by name.
IDENTITY_LAWS: dict[str, tuple[Array, Array]] = {
    "same": (TRAINING, TRAINING),
    "different": (UPSTREAM["strong"], TRAINING),
}


def joint_kernel(share: float, laws: str) -> Kernel:
    identity, corrections = IDENTITY_LAWS[laws]
    return composition.identity_mixture(CORRECTOR, share, identity, corrections)


def copied(share: float, laws: str, answer: int, **_: Value) -> float:
    return float(joint_kernel(share, laws)[answer, answer])


def unchanged(share: float, laws: str, upstream: str, **_: Value) -> float:
    return composition.unchanged_share(UPSTREAM[upstream], joint_kernel(share, laws))


#: A5: alternatives to copying in a row, and the length of its warm-up in units of `correction.copying_left`.
N_EDITS, WARM_UP = 3, 20.0


def copying_left(copy: float, time: float, **_: Value) -> float:
    return float(composition.copying_left(copy, N_EDITS, WARM_UP, time))


# A6.


def dpo_policy(pairs: str, kl_beta: float, answer: int, **_: Value) -> float:
    p = PAIRS[pairs]
    return float(bootstrap.dpo_limit(p.policy, p.kernel, kl_beta)[answer])


def repeated_dpo(kl_beta: float, **_: Value) -> float:
    """A6: log|1 − 1/kl_beta|, read off two rounds of the closed form."""
    p = PAIRS["reversible"]
    nu = repetition.limit_law(p.kernel)
    spreads = [np.ptp(np.log(bootstrap.reversible_dpo_limit(p.policy, nu, kl_beta, times) / nu)) for times in (0, 1)]
    return math.log(spreads[1] / spreads[0])


def rdro_policy(pairs: str, alpha: float, answer: int, **_: Value) -> float:
    """A6: RDRO from the reference π."""
    p = PAIRS[pairs]
    return float(bootstrap.rdro_limit(p.policy, p.kernel, alpha, p.policy)[answer])


def changed_only(pairs: str, answer: int, **_: Value) -> float:
    """A6: DDRO from the reference π on the pairs that change."""
    p = PAIRS[pairs]
    return float(bootstrap.ddro_limit(p.policy, p.kernel, keep_unchanged=False)[answer])


def pro_policy(pairs: str, kl_beta: float, answer: int, **_: Value) -> float:
    p = PAIRS[pairs]
    return float(bootstrap.pro_limit(p.policy, p.kernel, PRO_ALPHA, kl_beta, share=PRO_SHARE)[answer])


def with_copies(pairs: str, share: float) -> Pairs:
    """The pairs of a corrector that copies an answer more often, by a share of identity pairs."""
    p = PAIRS[pairs]
    return Pairs(p.policy, composition.identity_mixture(p.kernel, share))


# A7.


def upstream_law(population: Population, upstream: str) -> Array:
    """ "uniform", or "best": the users' best answer always."""
    u = population.average_utility
    return np.full(u.size, 1.0 / u.size) if upstream == "uniform" else np.eye(u.size)[int(u.argmax())]


def favourite_distortion(population: str, **_: Value) -> float:
    users = POPULATIONS[population]
    return distortion(users, correction_users.favourite_law(users))


def step_distortion(population: str, upstream: str, **_: Value) -> float:
    users = POPULATIONS[population]
    if upstream == "uniform":
        return distortion(users, correction_users.uniform_step_law(users))
    return distortion(users, composition.compose(upstream_law(users, upstream), correction_users.step_kernel(users)))


def who_corrects(habit: str, minority: float, **_: Value) -> float:
    """A7: distortion on `WHO` from the uniform upstream policy, the minority doing a share of the corrections."""
    shares = [minority, 1.0 - minority]
    if habit == "favourite":
        return distortion(WHO, correction_users.favourite_law(WHO, shares))
    return distortion(WHO, correction_users.uniform_step_law(WHO, shares))


def worst(habit: str, cost: str, **_: Value) -> float:
    supremum = {"distortion": correction_users.worst_distortion, "harm": correction_users.worst_harm}[cost]
    return supremum(habit, WORST_POLICY, WORST_CORRECTORS)  # type: ignore[arg-type]  # a setting's string


def normalised(n_answers: int, **_: Value) -> float:
    return correction_users.normalised_dictator_factor(n_answers)


#: A7: laws of the favourites on a line.
def line_law(favourites: str, n_answers: int) -> Array:
    """ "uniform", or "skewed": falling linearly from one end of the line to the other."""
    weights = np.ones(n_answers) if favourites == "uniform" else np.arange(n_answers, 0.0, -1.0)
    return weights / weights.sum()


def edits_settle(favourites: str, n_answers: int, **_: Value) -> float:
    """A7: distortion of where edits towards the favourites settle."""
    law = line_law(favourites, n_answers)
    return distortion(correction_users.line_population(law), correction_users.edit_limit(law))


def edits_after(n_answers: int, k: int, **_: Value) -> float:
    """A7: distortion after k rounds of edits towards uniform favourites, all answers at one end before."""
    law = line_law("uniform", n_answers)
    start = np.eye(n_answers)[0]
    final = repetition.round_laws(start, correction_users.edit_kernel(law), k)[-1]
    return distortion(correction_users.line_population(law), final / final.sum())


def favourites_on_a_line(n_answers: int, **_: Value) -> float:
    """A7: distortion of uniform favourites on a line, (3/4)(3A−1)/(2A−1) at odd A."""
    law = line_law("uniform", n_answers)
    return distortion(correction_users.line_population(law), law)
