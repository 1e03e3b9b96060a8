"""Training on the labelled examples: the hyper response (P6), PRO as proximal DPO (P8), absolute likelihoods (P12)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from simulate.proximal.losses import (
    RewardLoss,
    edpo,
    linear,
    of_rewards,
    pro_binary,
    pro_pairs,
    pro_scalar,
    sampled_dpo,
    sampled_pairs,
    to_optimum,
    total,
    with_hyper,
)
from simulate.proximal.tables import counted, random_start, regulariser_law, win_shares
from simulate.softmax import Loss, minimise, train
from theory.proximal.examples import LABELS, MINIBATCH, Labels
from theory.validate import Array

#: Minibatch training: observations per step, steps, peak rate of Adam.
BATCH, STEPS, RATE = 256, 2000, 0.1


def _merged(labels: Labels, alpha: float) -> RewardLoss:
    """PRO of an example over Y_H, H last."""
    w, empirical, _ = counted(labels)
    y = labels.labelled
    return edpo(np.append(w[y], 0.0), np.append(labels.share * empirical[y], 1.0 - labels.share), alpha)


def _coarse(logs: Array, labels: Labels) -> Array:
    """log-probabilities over Y_H from those over Y."""
    return np.append(logs[labels.labelled], logsumexp(logs[labels.unlabelled]))


def _place(labels: Labels, response: int | str) -> int:
    """Where a response stands in Y_H."""
    return labels.labelled.size if response == "H" else int(np.flatnonzero(labels.labelled == response)[0])


def hyper_response(
    space: str, kind: str, response: int | str, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile
) -> Estimate:
    """P6: train on all responses, or on Y_H; the probability of one response."""
    labels = LABELS[kind]
    log_ref = np.log(labels.reference)
    if space == "full":
        w, empirical, _ = counted(labels)
        loss = edpo(w, regulariser_law(labels, empirical), alpha)
        trained = to_optimum(of_rewards(loss, log_ref, kl_beta), random_start(w.size, rng))
        return Estimate(math.exp(_coarse(trained, labels)[_place(labels, response)]))
    coarse = _coarse(log_ref, labels)
    trained = to_optimum(of_rewards(_merged(labels, alpha), coarse, kl_beta), random_start(coarse.size, rng))
    return Estimate(math.exp(trained[_place(labels, response)]))


def proximal_dpo(
    kind: str, response: int | str, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile
) -> Estimate:
    """P8: minimise DPO on the labelled responses plus the tie to H; α = 1/η² does not enter it."""
    labels = LABELS[kind]
    y = labels.labelled
    _, empirical, P = counted(labels)
    coarse = _coarse(np.log(labels.reference), labels)
    loss = of_rewards(pro_pairs(P[np.ix_(y, y)], empirical[y], labels.share), coarse, kl_beta)
    trained = to_optimum(loss, random_start(coarse.size, rng))
    return Estimate(math.exp(trained[_place(labels, response)]))


def proximal_identity(share: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P8: largest |L_PRO − (½·L_DPO + tie to H − ½ log 2)| over random data and rewards."""
    worst = 0.0
    for _ in range(5 * profile.repeats):
        N = int(rng.integers(2, 7))
        wins = rng.poisson(1.0, (N, N)) * (1 - np.eye(N))
        wins[0, 1] += 1
        P, empirical = win_shares(wins)
        signal = np.append(empirical * ((P - 0.5) @ empirical), 0.0)
        r = rng.normal(size=N + 1)
        pro = edpo(signal, np.append(share * empirical, 1.0 - share), share**-2)(r)[0]
        split = pro_pairs(P, empirical, share)(r)[0] - 0.5 * math.log(2.0)
        worst = max(worst, abs(pro - split))
    return Estimate(worst, n=5 * profile.repeats)


def trained_level(
    kind: str, response: int | str, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile
) -> Estimate:
    """P12: PRO over all logits, r(H) from the unlabelled mass, random start; the log-ratio of one response.

    How H's mass is split is not determined, so the last digits are polished over Y_H.
    """
    labels = LABELS[kind]
    log_ref = np.log(labels.reference)
    loss = with_hyper(_merged(labels, alpha), labels.labelled, log_ref, kl_beta)
    reached = minimise(loss, log_ref + random_start(log_ref.size, rng), tolerance=1e-8).log_policy
    coarse = _coarse(log_ref, labels)
    trained = to_optimum(of_rewards(_merged(labels, alpha), coarse, kl_beta), _coarse(reached, labels))
    return Estimate(float((trained - coarse)[_place(labels, response)]))


# Minibatches.


def minibatch_level(kind: str, response: int, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P12: batches of labelled responses from μ̂ with their scores and of pairs from μ × μ; the mean of several runs."""
    labels = LABELS[kind]
    w, empirical, _ = counted(labels)
    mu = regulariser_law(labels, empirical)
    log_ref = np.log(labels.reference)
    scores = np.divide(w, empirical, out=np.zeros_like(w), where=empirical > 0)

    def batches() -> Callable[[int], RewardLoss]:
        shown = rng.choice(mu.size, size=(STEPS, BATCH), p=empirical)
        first, second = rng.choice(mu.size, size=(2, STEPS, BATCH), p=mu)

        def batch(step: int) -> RewardLoss:
            signal = np.bincount(shown[step], scores[shown[step]], mu.size) / BATCH
            return total((1.0, linear(signal)), (0.5 * alpha / BATCH, sampled_pairs(first[step], second[step])))

        return batch

    runs = [_adam(batches(), log_ref, kl_beta, rng) for _ in range(_runs(profile))]
    return mean([float(run[response] - log_ref[response]) for run in runs])


def minibatch_gap(method: str, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P12: every loss on batches of a data set of observations; r(0) − r(last) at the end, the mean of several runs.

    The last response is the loser for DPO and H for PRO. Each observation is a comparison of one pair, a label of one
    response, or one rating per response.
    """
    data = MINIBATCH
    pairs = np.array(data.pairs)
    size = {"dpo": 2, "pro_pairwise": 3, "pro_binary": 2, "pro_scalar": 3}[method]
    log_ref = np.log(rng.dirichlet(np.full(size, 5.0)))

    def batch(step: int) -> RewardLoss:
        if method in ("dpo", "pro_pairwise"):
            shown = pairs[rng.integers(0, len(pairs), BATCH)]
            if method == "dpo":
                return sampled_dpo(shown)
            # P8 at η = ⅔ for one pair: ¼ of DPO's comparisons, ¼ of klB to H for either response
            ties = sampled_pairs(np.array([0, 1]), np.array([2, 2]))
            return total((0.25, sampled_dpo(shown)), (0.25, ties))
        if method == "pro_binary":
            return pro_binary(float(rng.choice(data.labels, BATCH).mean()), data.alpha)
        ratings = np.array(data.ratings)
        return pro_scalar(ratings[rng.integers(0, len(ratings), BATCH)].mean(axis=0), data.alpha)

    gaps = []
    for _ in range(_runs(profile)):
        r = kl_beta * (_adam(batch, log_ref, kl_beta, rng) - log_ref)
        gaps.append(float(r[0] - r[-1]))
    return mean(gaps)


def _runs(profile: Profile) -> int:
    return max(3, profile.repeats // 3)


def _adam(batch: Callable[[int], RewardLoss], log_ref: Array, kl_beta: float, rng: Rng) -> Array:
    """log π after minibatch training from a random start."""

    def loss(step: int) -> Loss:
        return of_rewards(batch(step), log_ref, kl_beta)

    return train(loss, log_ref + random_start(log_ref.size, rng), STEPS, RATE).log_policy


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "P6.policy": hyper_response,
    "P8.loss": proximal_identity,
    "P8.policy": proximal_dpo,
    "P12.level": trained_level,
    "P12.minibatch": minibatch_level,
    "P12.every_loss": minibatch_gap,
}
