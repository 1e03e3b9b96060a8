"""Predictions of the correction claims A1–A7, one function for each quantity, from the library's functions.

Everything is called through its module, so that a changed formula changes every prediction that rests on it.
"""

from __future__ import annotations

import math

import numpy as np

from theory.correction import bootstrap, composition, copying, repetition, users
from theory.correction.examples import (
    CORRECTOR,
    DATA_KERNEL,
    IDENTITY_LAWS,
    MODELS,
    N_EDITS,
    PAIRS,
    POPULATIONS,
    PRO_ALPHA,
    PRO_SHARE,
    ROUNDS,
    TRAINING,
    UPSTREAM,
    UTILITIES,
    WARM_UP,
    WHO,
    WORST_CORRECTORS,
    WORST_POLICY,
    edit_process,
    line_law,
    upstream_law,
)
from theory.correction.kernels import Kernel
from theory.distortion.measure import distortion


def floor(kind: str, edit_rate: float) -> float:
    """A1: a floor of an edit process, kind an attribute of `composition.Floors`."""
    process = edit_process(edit_rate)
    return float(getattr(composition.floors(process.prompts, process.policies, process.kernels), kind))


def side(model: str, side: str) -> float:
    """A2: a side of the bound for a model."""
    return float(getattr(composition.bound_sides(TRAINING, DATA_KERNEL, MODELS[model]), side))


def counterexample(side: str) -> float:
    """A2: a side for π = (½, ½) and K = I."""
    return float(getattr(composition.bound_sides([0.5, 0.5], np.eye(2)), side))


def least_slack() -> float:
    """A2: H(O|C) = H(O) + H(C|O) − H(C)."""
    return composition.bound_sides(TRAINING, DATA_KERNEL).slack


def stacked_share(upstream: str, answer: int) -> float:
    """A3: share of an answer among those of the stacked model."""
    return float(composition.compose(UPSTREAM[upstream], CORRECTOR)[answer])


def gain(upstream: str) -> float:
    """A3: gain in utility on an upstream policy."""
    return composition.gain(UPSTREAM[upstream], CORRECTOR, UTILITIES)


def utility_after(corrector: str, k: int) -> float:
    """A4, A6: utility after k rounds."""
    r = ROUNDS[corrector]
    return float(repetition.rounds(r.policy, r.kernel, r.utilities, k)[-1])


def limit_utility(corrector: str) -> float:
    """A4: utility that rounds tend to."""
    r = ROUNDS[corrector]
    return float(repetition.limit_law(r.kernel, r.policy) @ r.utilities)


def log_rate(corrector: str) -> float:
    """A4: log |λ₂|."""
    return math.log(repetition.convergence_rate(ROUNDS[corrector].kernel))


def joint_kernel(share: float, laws: str) -> Kernel:
    """A5: the kernel of joint training with a share of identity pairs."""
    return copying.identity_mixture(CORRECTOR, share, *IDENTITY_LAWS[laws])


def copied(share: float, laws: str, answer: int) -> float:
    """A5: its probability of copying an answer."""
    return float(joint_kernel(share, laws)[answer, answer])


def unchanged(share: float, laws: str, upstream: str) -> float:
    """A5: share of upstream answers that it leaves alone."""
    return copying.unchanged_share(UPSTREAM[upstream], joint_kernel(share, laws))


def copying_left(copy: float, time: float) -> float:
    """A5: probability of copying after a warm-up and corrections alone for a time."""
    return float(copying.copying_left(copy, N_EDITS, WARM_UP, time))


def dpo_policy(pairs: str, kl_beta: float, answer: int) -> float:
    """A6: DPO on the pairs."""
    p = PAIRS[pairs]
    return float(bootstrap.dpo_limit(p.policy, p.kernel, kl_beta)[answer])


def repeated_dpo(kl_beta: float) -> float:
    """A6: log|1 − 1/kl_beta|, read off two rounds of the closed form."""
    p = PAIRS["reversible"]
    nu = repetition.limit_law(p.kernel)
    spreads = [np.ptp(np.log(bootstrap.reversible_dpo_limit(p.policy, nu, kl_beta, times) / nu)) for times in (0, 1)]
    return math.log(spreads[1] / spreads[0])


def rdro_policy(pairs: str, alpha: float, answer: int) -> float:
    """A6: RDRO from the reference π."""
    p = PAIRS[pairs]
    return float(bootstrap.rdro_limit(p.policy, p.kernel, alpha, p.policy)[answer])


def changed_only(pairs: str, answer: int) -> float:
    """A6: DDRO from the reference π on the pairs that change."""
    p = PAIRS[pairs]
    return float(bootstrap.ddro_limit(p.policy, p.kernel, keep_unchanged=False)[answer])


def pro_policy(pairs: str, kl_beta: float, answer: int) -> float:
    """A6: PRO on the pairs."""
    p = PAIRS[pairs]
    return float(bootstrap.pro_limit(p.policy, p.kernel, PRO_ALPHA, kl_beta, share=PRO_SHARE)[answer])


def favourite_distortion(population: str) -> float:
    """A7: of the stacked model whose users correct to their favourites."""
    people = POPULATIONS[population]
    return distortion(people, users.favourite_law(people))


def step_distortion(population: str, upstream: str) -> float:
    """A7: of the stacked model whose users correct one step."""
    people = POPULATIONS[population]
    if upstream == "uniform":
        return distortion(people, users.uniform_step_law(people))
    return distortion(people, composition.compose(upstream_law(people, upstream), users.step_kernel(people)))


def who_corrects(habit: str, minority: float) -> float:
    """A7: distortion on `WHO` from the uniform upstream policy, the minority doing a share of the corrections."""
    law = users.favourite_law if habit == "favourite" else users.uniform_step_law
    return distortion(WHO, law(WHO, [minority, 1.0 - minority]))


def worst(habit: str, cost: str) -> float:
    """A7: the supremum of a cost."""
    supremum = {"distortion": users.worst_distortion, "harm": users.worst_harm}[cost]
    return supremum(habit, WORST_POLICY, WORST_CORRECTORS)  # type: ignore[arg-type]  # a setting's string


def edits_settle(favourites: str, n_answers: int) -> float:
    """A7: distortion of where edits towards the favourites settle."""
    law = line_law(favourites, n_answers)
    return distortion(users.line_population(law), users.edit_limit(law))


def edits_after(n_answers: int, k: int) -> float:
    """A7: distortion after k rounds of edits towards uniform favourites, all answers at one end before."""
    law = line_law("uniform", n_answers)
    final = repetition.round_laws(np.eye(n_answers)[0], users.edit_kernel(law), k)[-1]
    return distortion(users.line_population(law), final / final.sum())


def favourites_on_a_line(n_answers: int) -> float:
    """A7: distortion of uniform favourites on a line, (3/4)(3A−1)/(2A−1) at odd A."""
    law = line_law("uniform", n_answers)
    return distortion(users.line_population(law), law)
