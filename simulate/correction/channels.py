"""The correction channel, sampled and trained: claims A1–A5.

One function per check, `f(**setting, rng, profile) -> Estimate`. Correctors are tables, trained on sampled pairs and
judged on fresh ones. None of these functions calls the closed form that its estimate is judged against; A3's transfer
is the ratio of a measured error to its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import expit, log_softmax

from simulate.correction.data import (
    Counts,
    corrected,
    draw,
    held_out,
    mean_of_counts,
    samples,
    train_rows,
    with_training,
)
from simulate.montecarlo import Estimate, Experiments, Rng, difference
from simulate.populations import climb
from simulate.profiles import Profile
from simulate.softmax import minimise
from theory.correction.composition import transfer_bound
from theory.correction.examples import (
    CORRECTOR,
    DATA_KERNEL,
    IDENTITY_LAWS,
    MODELS,
    N_EDITS,
    ROUNDS,
    TRAINING,
    UPSTREAM,
    UTILITIES,
    WARM_UP,
    edit_process,
)
from theory.validate import Array

# A1: floors.


def aligner_floor(edit_rate: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Held-out loss of a corrector trained on an edit process, one table of logits for each prompt."""
    joint = edit_process(edit_rate).joint
    model = train_rows(draw(joint, samples(profile), rng))
    return held_out(draw(joint, samples(profile), rng), _log(model))


def sft_floor(edit_rate: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Held-out loss of a policy trained on the corrections alone."""
    answers = edit_process(edit_rate).joint.sum(axis=1)
    model = train_rows(draw(answers, samples(profile), rng))
    return held_out(draw(answers, samples(profile), rng), _log(model))


def floor_difference(edit_rate: float, *, rng: Rng, profile: Profile) -> Estimate:
    """SFT's held-out loss minus the Aligner's, trained and judged on the same triples."""
    joint = edit_process(edit_rate).joint
    data, fresh = draw(joint, samples(profile), rng), draw(joint, samples(profile), rng)
    aligner, sft = train_rows(data), train_rows(data.sum(axis=1))
    return mean_of_counts(_log(aligner) - _log(sft)[:, None, :], fresh)


def _log(model: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(model)


# A2: the bound. `_sides` spells it out entry by entry.


def _pointwise(pi: Array, model: Array) -> dict[str, Array]:
    """Each loss as a function of (o, c), (A, A)."""
    composed = np.broadcast_to(-np.log((pi[:, None] * model).sum(axis=0)), model.shape)
    correction = -np.log(model)
    prior = np.broadcast_to(-np.log(pi)[:, None], model.shape)
    return {
        "composed": composed,
        "correction": correction,
        "slack": correction + prior - composed,
        "naive_gap": correction - composed,
        "independent": correction,
        "jensen_gap": correction - composed,
    }


def sides_of_the_bound(model: str, side: str, *, rng: Rng, profile: Profile) -> Estimate:
    """A side from sampled pairs, or, where Jensen's inequality asks for it, from independent O and C."""
    joint = TRAINING[:, None] * DATA_KERNEL
    if side in ("independent", "jensen_gap"):
        joint = np.outer(TRAINING, joint.sum(axis=0))
    return mean_of_counts(_pointwise(TRAINING, MODELS[model])[side], draw(joint, samples(profile), rng))


def bound_violation(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """The largest −(slack) that a climb over policies, kernels and models finds."""

    def excess(logits: Array) -> float:
        pi = np.exp(log_softmax(logits[0, 0]))
        kernel, model = np.exp(log_softmax(logits[1:], axis=-1))
        return -float((pi[:, None] * kernel * _pointwise(pi, model)["slack"]).sum())

    return _climb(excess, (3, n_answers, n_answers), rng, profile)


def _climb(value: Callable[[Array], float], shape: tuple[int, ...], rng: Rng, profile: Profile) -> Estimate:
    """Random starts, then hill-climbing in steps of many sizes."""

    def moved(point: Array, rng: Rng) -> Array:
        step = 10.0 ** rng.uniform(-2, 0.5) * rng.normal(size=shape) * (rng.random(shape) < 0.5)
        return np.clip(point + step, -30.0, 30.0)

    starts = [rng.normal(scale=2.0, size=shape) for _ in range(profile.starts)]
    return Estimate(climb(value, starts, moved, rng, profile.steps)[0], n=profile.starts + profile.steps)


def least_slack(start: str, *, rng: Rng, profile: Profile) -> Estimate:
    """The least slack over models: descent on the logits of K_φ from K or from random ones."""
    joint = TRAINING[:, None] * DATA_KERNEL
    data, log_pi = joint.sum(axis=0), np.log(TRAINING)[:, None]

    def slack(log_model: Array) -> tuple[float, Array]:
        weights = np.exp(log_pi + log_model)
        posterior = weights / weights.sum(axis=0)
        return -float((joint * np.log(posterior)).sum()), data * posterior - joint

    logits = np.log(DATA_KERNEL) if start == "exact" else rng.normal(size=DATA_KERNEL.shape)
    return Estimate(minimise(slack, logits, tolerance=1e-9).loss)


def copying_counterexample(side: str, *, rng: Rng, profile: Profile) -> Estimate:
    """A side for π = (½, ½) and a corrector that copies, from sampled pairs."""
    pi = np.array([0.5, 0.5])
    originals = draw(pi, samples(profile), rng)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 off the diagonal, where no pair is
        values = _pointwise(pi, np.eye(2))[side]
    return mean_of_counts(values, np.diag(originals))


# A3: composed answers and gains.


def training_pairs(rng: Rng, profile: Profile) -> Counts:
    """Sampled pairs (A, A) of the training law, by the corrector of the examples."""
    return corrected(draw(TRAINING, samples(profile), rng), CORRECTOR, rng)


def stacked_answers(upstream: str, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """How often the stacked model gives an answer."""
    originals, pairs = draw(UPSTREAM[upstream], samples(profile), rng), training_pairs(rng, profile)
    answers, given = corrected(originals, train_rows(pairs), rng).sum(axis=0), np.eye(len(CORRECTOR))[answer]
    return with_training(mean_of_counts(given, answers), given, UPSTREAM[upstream], pairs)


def measured_gain(upstream: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean utility after minus before, answer by answer, on an upstream policy the corrector has not seen."""
    pairs = training_pairs(rng, profile)
    found = _gain_on(UPSTREAM[upstream], train_rows(pairs), rng, profile)
    return with_training(found, UTILITIES, UPSTREAM[upstream], pairs)


def _gain_on(policy: Array, kernel: Array, rng: Rng, profile: Profile) -> Estimate:
    pairs = corrected(draw(policy, samples(profile), rng), kernel, rng)
    return mean_of_counts(UTILITIES[None, :] - UTILITIES[:, None], pairs)


def linearity(first: str, second: str, share: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Gain on share·first + (1 − share)·second, minus the same mixture of the two gains; one corrector, one error."""
    kernel = train_rows(training_pairs(rng, profile))
    one, other = UPSTREAM[first], UPSTREAM[second]
    mixed = _gain_on(share * one + (1 - share) * other, kernel, rng, profile)
    a, b = (_gain_on(policy, kernel, rng, profile) for policy in (one, other))
    mixture = Estimate(
        share * a.value + (1 - share) * b.value, math.hypot(share * a.stderr, (1 - share) * b.stderr), a.n
    )
    return difference(mixed, mixture)


def transfer_ratio(spread: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest |error of the predicted gain| ÷ its bound, over random wrong correctors and one that comes close."""
    delta = 0.1 * spread
    close = (np.full((2, 2), 0.5), np.array([[0.5 + delta, 0.5 - delta]] * 2))
    cases = [(np.array([0.5, 0.5]), np.array([0.5, 0.5]), *close, np.array([1.0, 0.0]))]
    for _ in range(profile.replicates):
        pi, trained = rng.dirichlet(np.ones(6), 2)
        wrong = np.exp(log_softmax(np.log(DATA_KERNEL) + spread * rng.normal(size=DATA_KERNEL.shape), axis=1))
        cases.append((pi, trained, DATA_KERNEL, wrong, rng.random(6)))
    ratios = []
    for pi, trained, kernel, wrong, utilities in cases:
        excess = float((trained[:, None] * kernel * np.log(kernel / wrong)).sum())
        error = abs(float(pi @ (wrong - kernel) @ utilities))
        ratios.append(error / transfer_bound(pi, trained, excess, utilities))
    return Estimate(max(ratios), n=len(ratios))


# A4: rounds.


def _walk(corrector: str, k: int, rng: Rng, profile: Profile) -> Counts:
    """Counts (A,) of the answers after k rounds, each answer corrected on its own."""
    r = ROUNDS[corrector]
    answers = draw(r.policy, samples(profile), rng)
    for _ in range(k):
        answers = corrected(answers, r.kernel, rng).sum(axis=0)
    return answers


def utility_after(corrector: str, k: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean utility of the answers after k rounds."""
    return mean_of_counts(ROUNDS[corrector].utilities, _walk(corrector, k, rng, profile))


def limit_utility(corrector: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean utility after 200 rounds."""
    return utility_after(corrector, 200, rng=rng, profile=profile)


def convergence(corrector: str, *, rng: Rng, profile: Profile) -> Estimate:
    """(log ‖D^{2k}‖ − log ‖D^k‖)/k at k = 2²⁰, D = K − lim Kⁿ, so that Dᵏ = Kᵏ − lim Kⁿ; by repeated squaring."""
    kernel = ROUNDS[corrector].kernel
    power = kernel - np.linalg.matrix_power(kernel, 4096)
    log_norm = 0.0  # of what was divided out of `power`
    for _ in range(21):
        before = log_norm + math.log(np.abs(power).sum())
        power = power @ power
        size = float(np.abs(power).sum())
        power, log_norm = power / size, 2.0 * log_norm + math.log(size)
    return Estimate((log_norm - before) / 2.0**20)


def overcorrection(k: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean utility after round 2 minus that after round k."""
    early, late = (utility_after("overcorrect", j, rng=rng, profile=profile) for j in (2, k))
    return difference(early, late)


def least_gain(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """The largest value of min_o (Ku − u)(o) found over positive kernels and utilities in [0, 1] that reach both."""

    def value(logits: Array) -> float:
        kernel = np.exp(log_softmax(logits[1:], axis=-1))
        kernel = 0.999 * kernel + 0.001 / n_answers  # every answer can become every other one
        u = expit(logits[0])
        u = (u - u.min()) / max(float(np.ptp(u)), 1e-9)
        return float((kernel @ u - u).min())

    return _climb(value, (n_answers + 1, n_answers), rng, profile)


# A5: identity pairs.


def _joint_pairs(share: float, laws: str, rng: Rng, profile: Profile) -> Counts:
    """Training pairs (A, A): copies of an answer, a share, and corrections."""
    identity, corrections = IDENTITY_LAWS[laws]
    copies = rng.binomial(samples(profile), share)
    data = corrected(draw(corrections, samples(profile) - copies, rng), CORRECTOR, rng)
    return data + np.diag(draw(identity, copies, rng))


def learnt_copying(share: float, laws: str, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Learnt K_φ(o|o); its standard error is that of a share among the training pairs that start from o."""
    kernel = train_rows(_joint_pairs(share, laws, rng, profile))
    identity, corrections = IDENTITY_LAWS[laws]
    pairs = samples(profile) * (share * identity[answer] + (1 - share) * corrections[answer])
    copied = float(kernel[answer, answer])
    return Estimate(copied, math.sqrt(max(copied * (1 - copied), 1e-12) / pairs), int(pairs))


def unchanged(share: float, laws: str, upstream: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Share of an upstream policy's answers that come back as they were."""
    pairs, same = _joint_pairs(share, laws, rng, profile), np.eye(len(CORRECTOR))
    answers = corrected(draw(UPSTREAM[upstream], samples(profile), rng), train_rows(pairs), rng)
    return with_training(mean_of_counts(same, answers), same, UPSTREAM[upstream], pairs)


def forgetting(copy: float, time: float, *, rng: Rng, profile: Profile) -> Estimate:
    """One row trained on identity pairs, then on corrections: the gradient flow of its logits, integrated."""
    identity = np.eye(1 + N_EDITS)[0]
    corrections = np.array([copy, *[(1.0 - copy) / N_EDITS] * N_EDITS])
    logits = np.zeros(1 + N_EDITS)
    for target, duration in ((identity, WARM_UP), (corrections, time)):
        found = solve_ivp(
            lambda _, theta, goal: goal - np.exp(log_softmax(theta)), (0.0, duration), logits, "LSODA",
            args=(target,), rtol=1e-11, atol=1e-13,
        )  # fmt: skip
        logits = found.y[:, -1]
    return Estimate(float(np.exp(log_softmax(logits)[0])))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "A1.aligner": aligner_floor,
    "A1.sft": sft_floor,
    "A1.difference": floor_difference,
    "A2.bound": bound_violation,
    "A2.sides": sides_of_the_bound,
    "A2.least_slack": least_slack,
    "A2.counterexample": copying_counterexample,
    "A3.law": stacked_answers,
    "A3.gain": measured_gain,
    "A3.linear": linearity,
    "A3.transfer": transfer_ratio,
    "A4.utility": utility_after,
    "A4.limit": limit_utility,
    "A4.rate": convergence,
    "A4.hurts": overcorrection,
    "A4.someone_loses": least_gain,
    "A5.copied": learnt_copying,
    "A5.unchanged": unchanged,
    "A5.forgotten": forgetting,
}
