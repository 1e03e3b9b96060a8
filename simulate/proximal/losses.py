"""DPO, eDPO and the PRO losses with their gradients, for tabular softmax policies; and training to their optima.

Written from the definitions in the papers, beside `theory/proximal/losses.py` and without its code: sums over pairs
of responses, logistic losses of comparisons, the hyper response as the summed probability of unlabelled responses.

Every loss is a `simulate.softmax.Loss`, log π (A,) → (value, ∂/∂log π).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit, log_softmax, logsumexp

from simulate.softmax import Loss, minimise, through_softmax
from theory.proximal.examples import COUPLED
from theory.validate import Array

#: r (A,) → (value, ∂/∂r)
RewardLoss = Callable[[Array], tuple[float, Array]]
Index = NDArray[np.int64]


def of_rewards(loss: RewardLoss, log_reference: Array, kl_beta: float) -> Loss:
    """The loss as a function of log π, by r = kl_beta·(log π − log π_ref)."""

    def value(log_policy: Array) -> tuple[float, Array]:
        out, gradient = loss(kl_beta * (log_policy - log_reference))
        return out, kl_beta * gradient

    return value


def with_hyper(loss: RewardLoss, labelled: Index, log_reference: Array, kl_beta: float) -> Loss:
    """A loss of (r of the labelled responses, r(H)) as a function of log π, H being all others.

    log π(H) = log Σ_{y∈H} π(y), so that a response of H takes the share π(y)/π(H) of H's gradient.
    """
    others = np.setdiff1d(np.arange(log_reference.size), labelled)

    def value(log_policy: Array) -> tuple[float, Array]:
        log_h = logsumexp(log_policy[others])
        r = np.append((log_policy - log_reference)[labelled], log_h - logsumexp(log_reference[others]))
        out, gradient = loss(kl_beta * r)
        full = np.zeros(log_policy.size)
        full[labelled] = kl_beta * gradient[:-1]
        full[others] = kl_beta * gradient[-1] * np.exp(log_policy[others] - log_h)
        return out, full

    return value


def kl_half(distance: Array) -> tuple[Array, Array]:
    """KL(½‖σ(δ)) elementwise, as cross entropy minus entropy, and its derivative σ(δ) − ½."""
    value = 0.5 * np.logaddexp(0.0, -distance) + 0.5 * np.logaddexp(0.0, distance) - np.log(2.0)
    return value, expit(distance) - 0.5


def _difference(first: Index, second: Index, slopes: Array, size: int) -> Array:
    """∂/∂r (size,) of Σ f(r(first) − r(second)), from f' per pair."""
    ahead, behind = (np.bincount(index, weights=slopes, minlength=size) for index in (first, second))
    return np.asarray(ahead - behind, dtype=np.float64)


def weighted_pairs(pair_weights: Array) -> RewardLoss:
    """Σ_{y1,y2} Q(y1, y2) klB(r(y1) − r(y2)), Q (A, A) symmetric."""

    def value(r: Array) -> tuple[float, Array]:
        values, slopes = kl_half(r[:, None] - r[None, :])
        return float((pair_weights * values).sum()), 2.0 * (pair_weights * slopes).sum(axis=1)

    return value


def comparisons(first: Index, second: Index, share: Array, mass: Array) -> RewardLoss:
    """Σ mass·[−share·log σ(r(first) − r(second)) − (1 − share)·log σ(r(second) − r(first))]: the DPO loss."""

    def value(r: Array) -> tuple[float, Array]:
        margin = r[first] - r[second]
        values = share * np.logaddexp(0.0, -margin) + (1.0 - share) * np.logaddexp(0.0, margin)
        slope = mass * (expit(margin) - share)
        return float(mass @ values), _difference(first, second, slope, r.size)

    return value


def population_dpo(win_rates: Array, mu: Array) -> RewardLoss:
    """DPO over y1, y2 ~ μ independently, compared with win rates P (A, A)."""
    first, second = (index.ravel() for index in np.indices(win_rates.shape))
    return comparisons(first, second, win_rates[first, second], mu[first] * mu[second])


def sampled_dpo(pairs: Index) -> RewardLoss:
    """DPO as it is trained: the mean of −log σ(r_w − r_l) over the comparisons (winner, loser) of a data set."""
    ones = np.ones(len(pairs))
    return comparisons(pairs[:, 0], pairs[:, 1], ones, ones / len(pairs))


def table_dpo(wins: Array) -> RewardLoss:
    """DPO on wins[x, y] (A, A), the share of comparisons that x won against y."""
    winners, losers = (index.ravel() for index in np.indices(wins.shape))
    return comparisons(winners, losers, np.ones(wins.size), wins.ravel())


def coupled_pair(method: str) -> RewardLoss:
    """DPO ("dpo") or PRO ("pro") on the one comparison 0 ≻ 1 of `COUPLED`; DPO's pair is half of μ̂ × μ̂, of ½·L_DPO."""
    if method == "dpo":
        return total((0.25, sampled_dpo(np.array([[0, 1]]))))
    return edpo(np.array([1.0, -1.0, 0.0]) / 8.0, np.full(3, 1 / 3), COUPLED.alpha)


def sampled_pairs(first: Index, second: Index) -> RewardLoss:
    """Σ klB(r(first) − r(second)) over the listed pairs."""

    def value(r: Array) -> tuple[float, Array]:
        values, slopes = kl_half(r[first] - r[second])
        return float(values.sum()), _difference(first, second, slopes, r.size)

    return value


def linear(coefficients: Array) -> RewardLoss:
    """−Σ c(y) r(y)."""
    return lambda r: (-float(coefficients @ r), -coefficients)


def total(*terms: tuple[float, RewardLoss]) -> RewardLoss:
    """Σ weight·loss."""

    def value(r: Array) -> tuple[float, Array]:
        parts = [(weight, *loss(r)) for weight, loss in terms]
        return sum(w * v for w, v, _ in parts), sum((w * g for w, _, g in parts), np.zeros(r.size))

    return value


def edpo(signal: Array, weights: Array, alpha: float) -> RewardLoss:
    """−Σ w r + (α/2) Σ μμ' klB(r − r')."""
    return total((1.0, linear(signal)), (0.5 * alpha, weighted_pairs(np.outer(weights, weights))))


def pro_pairs(win_rates: Array, empirical: Array, share: float) -> RewardLoss:
    """PRO-P over N labelled responses and H (last): ½·DPO(μ̂, p̂) + ((1 − η)/η)·Σ μ̂(y) klB(r(y) − r(H))."""
    N = empirical.size
    dpo = population_dpo(win_rates, empirical)

    def value(r: Array) -> tuple[float, Array]:
        out, gradient = dpo(r[:N])
        values, slopes = kl_half(r[:N] - r[N])
        tie = (1.0 - share) / share * empirical
        gradient = np.append(0.5 * gradient + tie * slopes, -float(tie @ slopes))
        return 0.5 * out + float(tie @ values), gradient

    return value


def pro_binary(score: float, alpha: float, form: str = "exact") -> RewardLoss:
    """PRO-B over (y, H): "exact" −s(r(y) − r(H)) + α klB(r(y) − r(H)); "printed" −s·r(y) + the same; "zero": r(H) = 0
    throughout."""

    def value(r: Array) -> tuple[float, Array]:
        anchored = 0.0 if form == "zero" else r[1]
        fit, slope = kl_half(np.array([r[0] - anchored]))
        subtracted = r[1] if form == "exact" else 0.0
        gradient = np.array([-score + alpha * slope[0], 0.0])
        if form != "zero":
            gradient[1] = (score if form == "exact" else 0.0) - alpha * slope[0]
        return -score * (r[0] - subtracted) + alpha * float(fit[0]), gradient

    return value


def pro_scalar(scores: Array, alpha: float) -> RewardLoss:
    """PRO-S over N responses and H: −(1/N) Σ sᵢ (rᵢ − r(H)) + α·mean of klB over the pairs of them all."""
    N = scores.size
    pairs = np.triu(np.full((N + 1, N + 1), 2.0 / (N * (N + 1))), 1)
    return total((1.0, linear(np.append(scores, -scores.sum()) / N)), (alpha, weighted_pairs(0.5 * (pairs + pairs.T))))


def to_optimum(loss: Loss, start: Array) -> Array:
    """log π (A,) where the loss is stationary: quasi-Newton descent on the logits, then its gradient's root.

    Descent sees the loss only to 1e-16, hence the logits to some 1e-8; Powell's method on the gradient takes them to
    rounding. Where there is no optimum the descent's end stands: what it is compared with decides.
    """
    descended = minimise(loss, start, tolerance=1e-8).log_policy
    logits = descended - descended[-1]

    def gradient(free: Array) -> Array:
        log_policy = log_softmax(np.append(free, 0.0))
        return through_softmax(log_policy, loss(log_policy)[1])[:-1]

    found = root(gradient, logits[:-1], method="hybr", options={"xtol": 1e-14})
    if not np.abs(gradient(found.x)).max() <= np.abs(gradient(logits[:-1])).max():
        return descended
    return np.asarray(log_softmax(np.append(found.x, 0.0)))


def descend(loss: Loss, features: Array, log_start: Array, rate: float, steps: int) -> Array:
    """log π (steps + 1, A) along plain gradient descent on φ, logits = log_start + Φφ, from φ = 0; Φ (A, features)."""
    phi = np.zeros(features.shape[1])
    log_policy = log_softmax(log_start)
    history = [log_policy]
    for _ in range(steps):
        phi -= rate * (features.T @ through_softmax(log_policy, loss(log_policy)[1]))
        log_policy = log_softmax(log_start + features @ phi)
        history.append(log_policy)
    return np.array(history)
