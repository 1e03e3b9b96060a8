"""What training on some prompts does to others (P15): the kernel form of the optimum in a linear softmax.

With features Φ_x (A, d) of the responses to each prompt held fixed, log π(·|x) = log π_ref(·|x) + Φ_x θ − log Z_x.
PRO's and DPO's losses see the trained prompts' logits f up to a shift per prompt and are convex in them. Descent from
θ = 0 stays in the span of the loss's gradients, so that f = K c, K = Φ_train Φ_trainᵀ, with c a sum of what the loss
sees: differences of the compared pair under DPO, all differences within a prompt under PRO. A held-out prompt's logits
are Φ_x Φ_trainᵀ c: θ does not appear, and what a prompt that was never trained on becomes is predicted from the others.

Shapes: P prompts, A responses, d features.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import expit, log_softmax

from theory.proximal.feedback import empirical_scores
from theory.validate import Array

#: Prompts that are trained on, those that are held out, responses to each, features.
TRAINED, HELD_OUT, RESPONSES, FEATURES = 4, 2, 4, 6
#: PRO's α and the weight of the log-ratio; the share of DPO's comparisons that the first response wins.
ALPHA, KL_BETA, WIN_SHARE = 3.0, 0.5, 0.8
#: Newton steps at most, and the gradient at which they end.
STEPS, TOLERANCE = 100, 1e-13


def features() -> Array:
    """Fixed features (P, A, d) of an example, waves of three frequencies: prompts are alike, and not the same."""
    prompt = np.arange(TRAINED + HELD_OUT)[:, None, None]
    response, feature = np.arange(RESPONSES)[:, None], np.arange(FEATURES)
    return np.asarray(np.cos(0.7 * prompt * (1 + feature % 3) + 1.9 * response * (1 + feature // 3) + feature))


def log_reference() -> Array:
    """log π_ref (P, A) of the example."""
    return np.asarray(log_softmax(np.sin(np.arange((TRAINED + HELD_OUT) * RESPONSES)).reshape(-1, RESPONSES), axis=1))


def pairs(prompt: int) -> list[tuple[int, int]]:
    """PRO's labels of a prompt, (winner, loser): the first response that it prefers shifts with the prompt."""
    return [((prompt + 0) % RESPONSES, (prompt + 1) % RESPONSES), ((prompt + 0) % RESPONSES, (prompt + 2) % RESPONSES)]


def _slopes(method: str, prompt: int, f: Array) -> tuple[Array, Array]:
    """Gradient (A,) and Hessian (A, A) of one prompt's loss in its logits f, log π/π_ref up to a constant."""
    r = KL_BETA * f
    gap = r[:, None] - r[None, :]
    if method == "dpo":
        (first, second), *_ = pairs(prompt)
        direction = np.zeros(RESPONSES)
        direction[[first, second]] = 1.0, -1.0
        won = float(expit(gap[first, second]))
        return KL_BETA * (won - WIN_SHARE) * direction, KL_BETA**2 * won * (1 - won) * np.outer(direction, direction)
    scores, empirical = empirical_scores(RESPONSES, pairs(prompt))
    mass = np.full((RESPONSES, RESPONSES), 1.0 / RESPONSES**2)
    pull = ALPHA * mass * 0.5 * np.tanh(0.5 * gap)
    curve = ALPHA * mass * 0.25 / np.cosh(0.5 * gap) ** 2
    gradient = -scores * empirical + pull.sum(axis=1)
    return KL_BETA * gradient, KL_BETA**2 * (np.diag(curve.sum(axis=1)) - curve)


def _seen(method: str) -> Array:
    """Directions (P·A, k) of the trained logits' space that the loss's gradients span."""
    columns = []
    for prompt in range(TRAINED):
        others = pairs(prompt)[:1] if method == "dpo" else [(0, y) for y in range(1, RESPONSES)]
        for first, second in others:
            column = np.zeros((TRAINED, RESPONSES))
            column[prompt, [first, second]] = 1.0, -1.0
            columns.append(column.ravel())
    return np.stack(columns, axis=1)


@cache
def _weights(method: str) -> Array:
    """c (P·A,) of the optimum over the trained prompts, by Newton's method in the logits K c."""
    phi = features()[:TRAINED].reshape(-1, FEATURES)
    seen = _seen(method)
    kernel, c = phi @ phi.T @ seen, np.zeros(seen.shape[1])
    for _ in range(STEPS):
        f = (kernel @ c).reshape(TRAINED, RESPONSES)
        found = [_slopes(method, p, own) for p, own in enumerate(f)]
        gradient = kernel.T @ np.concatenate([g for g, _ in found])
        if np.abs(gradient).max() < TOLERANCE:
            return np.asarray(seen @ c)
        curved = np.zeros((TRAINED * RESPONSES,) * 2)
        for p, (_, own) in enumerate(found):
            place = slice(p * RESPONSES, (p + 1) * RESPONSES)
            curved[place, place] = own
        step = np.linalg.lstsq(kernel.T @ curved @ kernel, gradient, rcond=1e-12)[0]
        size = float(np.abs(kernel @ step).max())
        c = c - step * min(1.0, 2.0 / size)
    raise ArithmeticError(f"{method}: Newton's method has not converged in {STEPS} steps")


def held_out_ratio(method: str, prompt: int, response: int) -> float:
    """log π(response)/π_ref(response) of a held-out prompt (0 or 1), nats."""
    everything = features()
    phi, own = everything[:TRAINED].reshape(-1, FEATURES), everything[TRAINED + int(prompt)]
    logits = log_reference()[TRAINED + int(prompt)] + own @ (phi.T @ _weights(method))
    return float((log_softmax(logits) - log_reference()[TRAINED + int(prompt)])[int(response)])
