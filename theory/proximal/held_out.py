"""What training on some prompts does to others (P15): the kernel form of the optimum in a linear softmax.

With features Φ_x (A, d) of the responses to each prompt held fixed, log π(·|x) = log π_ref(·|x) + Φ_x θ − log Z_x.
PRO and DPO are one form of loss on r = kl_beta·log π/π_ref, a linear term and a pull between pairs of responses (P1),

    −Σ w(y) r(y) + Σ_{y<y′} M(y, y′) klB(r(y) − r(y′)),

convex in the trained prompts' logits and blind to a shift in each. Descent from θ = 0 stays in the span of the loss's
gradients, the differences of features of the pairs with M > 0, so that θ = Φ_trainᵀ c, and a held-out prompt's logits
Φ_x Φ_trainᵀ c are a function of the kernel: what a prompt that was never trained on becomes is predicted from the
others. Where all weights learn, the gradients of log π at the reference are such features as kl_beta grows: the losses
ask for rewards, so log-ratios and what moves the weights are O(1/kl_beta). Losses of single responses are not convex in
logits on their rejected side, and are not in this form.

Shapes: P prompts, A responses, d features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from theory.numerics import centred_sigmoid, logistic_density
from theory.proximal.feedback import empirical_scores
from theory.solution import CertificateError
from theory.validate import Array, check_whole, check_word

#: Prompts that are trained on, those that are held out, responses to each, features.
TRAINED, HELD_OUT, RESPONSES, FEATURES = 4, 2, 4, 6
#: PRO's α and the weight of the log-ratio; the share of DPO's comparisons that the first response wins.
ALPHA, KL_BETA, WIN_SHARE = 3.0, 0.5, 0.8
#: Newton steps at most, and the gradient at which they end, relative to that of the linear term.
STEPS, TOLERANCE = 100, 1e-12
#: Directions of the trained features below this, relative to the largest, are rounding; a margin of rewards beyond this
#: is on its way to infinity.
ROUNDING, FARTHEST = 1e-12, 20.0
#: Comparisons of a prompt, (winner, loser).
Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class PairwiseLoss:
    """A loss on P prompts: the signal w (P, A) of its linear term, and the pull M (P, A, A) between responses."""

    signal: Array
    pull: Array


def features() -> Array:
    """Fixed features (P, A, d) of an example, waves of three frequencies: prompts are alike, and not the same."""
    prompt = np.arange(TRAINED + HELD_OUT)[:, None, None]
    response, feature = np.arange(RESPONSES)[:, None], np.arange(FEATURES)
    return np.asarray(np.cos(0.7 * prompt * (1 + feature % 3) + 1.9 * response * (1 + feature // 3) + feature))


def log_reference() -> Array:
    """log π_ref (P, A) of the example."""
    return np.asarray(log_softmax(np.sin(np.arange((TRAINED + HELD_OUT) * RESPONSES)).reshape(-1, RESPONSES), axis=1))


def pairs(prompt: int, n_responses: int = RESPONSES) -> list[tuple[int, int]]:
    """PRO's labels of a kind of prompt, (winner, loser): the first response that it prefers shifts with the kind."""
    first = prompt % n_responses
    return [(first, (prompt + 1) % n_responses), (first, (prompt + 2) % n_responses)]


def labels(method: str, compared: Sequence[Pairs], n_responses: int) -> PairwiseLoss:
    """DPO on each prompt's first pair, won by `WIN_SHARE` of the time; PRO on all its pairs, with μ uniform."""
    check_word("method", method, ("dpo", "pro"))
    shape = (len(compared), n_responses)
    signal, pull = np.zeros(shape), np.zeros((*shape, n_responses))
    for p, own in enumerate(compared):
        if method == "dpo":
            first, second = own[0]
            signal[p, [first, second]] = WIN_SHARE - 0.5, 0.5 - WIN_SHARE
            pull[p, [first, second], [second, first]] = 1.0
        else:
            signal[p] = np.prod(empirical_scores(n_responses, own), axis=0)
            pull[p] = ALPHA / n_responses**2
    return PairwiseLoss(signal, pull)


def optimum(phi: Array, loss: PairwiseLoss, kl_beta: float) -> Array:
    """θ (d,) where descent from 0 on features (P, A, d) of the trained prompts ends.

    Newton's method on the margins between the pairs that M pulls, in an orthonormal basis of those that features can
    make. The step length log(1 + ν)/ν, ν the largest movement of a margin, needs no line search, as in
    `optimum.solve_rewards`. CertificateError where the loss has no minimum.
    """
    mass, ways, signal = _in_weights(phi, loss)
    left, sizes, right = np.linalg.svd(ways, full_matrices=False)
    held = sizes > ROUNDING * sizes[0]
    left, sizes, right = left[:, held], sizes[held], right[held]
    pulled = kl_beta * (right @ signal) / sizes
    u = np.zeros(len(sizes))
    for _ in range(STEPS):
        margins = kl_beta * (left @ u)
        gradient = kl_beta * left.T @ (mass * centred_sigmoid(margins)) - pulled
        if np.abs(gradient).max() <= TOLERANCE * np.abs(pulled).max():
            return np.asarray(right.T @ (u / sizes))
        if np.abs(margins).max() > FARTHEST:
            break
        curved = kl_beta**2 * mass * logistic_density(margins)
        step = np.linalg.lstsq((left.T * curved) @ left, gradient, rcond=None)[0]
        reach = float(np.abs(kl_beta * (left @ step)).max())
        u = u - step * (math.log1p(reach) / reach)
    raise CertificateError(f"no minimum within margins of {FARTHEST:g} and {STEPS} steps: the loss may have none")


def descended(phi: Array, loss: PairwiseLoss, kl_beta: float, rates: Sequence[float], momentum: float) -> Array:
    """θ (d,) after a step of descent from 0 at each of the rates, with Nesterov's momentum; features as in `optimum`.

    v ← momentum·v + g and θ ← θ − rate·(g + momentum·v), g the gradient of the loss, summed over prompts. Where a
    prompt's responses have features that hardly differ, the end is far off after any number of steps that is taken.
    """
    mass, ways, signal = _in_weights(phi, loss)
    theta, velocity = np.zeros(phi.shape[2]), np.zeros(phi.shape[2])
    for rate in rates:
        gradient = kl_beta * (ways.T @ (mass * centred_sigmoid(kl_beta * (ways @ theta))) - signal)
        velocity = momentum * velocity + gradient
        theta = theta - rate * (gradient + momentum * velocity)
    return theta


def _in_weights(phi: Array, loss: PairwiseLoss) -> tuple[Array, Array, Array]:
    """The loss as a function of θ: the pulls of pairs (n,), what features a pair differs by (n, d), and Σ w Φ (d,)."""
    prompt, first, second = np.nonzero(np.triu(loss.pull))
    return (
        loss.pull[prompt, first, second],
        phi[prompt, first] - phi[prompt, second],
        np.einsum("pa,pad->d", loss.signal, phi),
    )


def log_ratios(phi: Array, logs: Array, theta: Array) -> Array:
    """log π/π_ref (P, A), nats, of prompts with features (P, A, d) and log π_ref (P, A) at weights θ (d,)."""
    return np.asarray(log_softmax(logs + phi @ theta, axis=1) - logs)


def held_out_ratio(method: str, prompt: int, response: int) -> float:
    """log π(response)/π_ref(response) of a held-out prompt (0 or 1) of the example, nats."""
    at = check_whole("prompt", prompt, 0, HELD_OUT - 1), check_whole("response", response, 0, RESPONSES - 1)
    phi, logs = features(), log_reference()
    loss = labels(method, [pairs(p) for p in range(TRAINED)], RESPONSES)
    theta = optimum(phi[:TRAINED], loss, KL_BETA)
    return float(log_ratios(phi[TRAINED:], logs[TRAINED:], theta)[at])
