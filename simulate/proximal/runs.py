"""The same loss trained in many ways (P14): what their ends have in common, and what not."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
from scipy.special import log_softmax

from simulate.montecarlo import Estimate, Experiments, Rng, slope
from simulate.profiles import Profile
from simulate.proximal.losses import RewardLoss, coupled_pair, edpo, of_rewards, sampled_dpo
from simulate.proximal.tables import win_shares
from theory.proximal.examples import COMPARISONS, COUPLED
from theory.proximal.run_examples import RATES, RUN_STEPS, comparison_features
from theory.validate import Array

OPTIMISERS = ("descent", "momentum", "adam")


def trained(loss: RewardLoss, features: Array, start: Array, optimiser: str, rate: float, steps: int) -> Array:
    """φ (d,) after `steps` steps on a loss in the logits Φφ, from `start`. Losses here do not see shifts of logits."""
    phi, first, second = start.copy(), np.zeros(start.size), np.zeros(start.size)
    for t in range(1, steps + 1):
        gradient = features.T @ loss(features @ phi)[1]
        if optimiser == "adam":
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            phi -= 0.01 * rate * first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        else:
            first = (0.9 if optimiser == "momentum" else 0.0) * first + gradient
            phi -= (0.1 if optimiser == "momentum" else 1.0) * rate * first
    return phi


def converged(loss: RewardLoss, features: Array, start: Array) -> Array:
    """Φφ (A,), less its mean, where accelerated descent from `start` has lost its gradient."""
    phi = ahead = start
    for t in range(20_000):
        gradient = features.T @ loss(features @ ahead)[1]
        if np.abs(gradient).max() < 1e-11:
            break
        before, phi = phi, ahead - 2.0 * gradient
        ahead = phi + t / (t + 3.0) * (phi - before) if gradient @ (phi - before) <= 0.0 else phi
    logits = features @ ahead
    return np.asarray(logits - logits.mean())


def _data(method: str, data: str) -> tuple[RewardLoss, list[RewardLoss], Array]:
    """The loss of a data set whose comparisons were won 2 : 1, the losses of its batches, and Φ; kl_beta = 1."""
    n, pairs = COMPARISONS[data]
    table = np.array([pair for won in pairs for pair in (won, won, won[::-1])])
    batches = [sampled_dpo(table[i : i + 3]) for i in range(0, len(table), 3)]
    if method == "dpo":
        return sampled_dpo(table), batches, comparison_features(data)
    wins = np.zeros((n, n))
    np.add.at(wins, tuple(table.T), 1.0)
    P, empirical = win_shares(wins)
    loss = edpo(empirical * ((P - 0.5) @ empirical), np.full(n, 1.0 / n), 4.0)
    return loss, [loss], comparison_features(data)


def _ends(method: str, data: str, rng: Rng) -> Array:
    """Converged log-ratios (runs, A), less their means: optimisers, rates, numbers of steps, orders, noisy starts."""
    loss, batches, features = _data(method, data)
    ends = []
    for optimiser, rate, steps in itertools.product(OPTIMISERS, (0.3, 2.0), (30, 200)):
        phi = 0.5 * np.asarray(rng.normal(size=features.shape[1]))
        for batch in rng.permutation(len(batches)):
            phi = trained(batches[batch], features, phi, optimiser, rate, 1)
        ends.append(converged(loss, features, trained(loss, features, phi, optimiser, rate, steps)))
    return np.array(ends)


def dimension(method: str, data: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P14: rank of the differences between the ends."""
    ends = _ends(method, data, rng)
    return Estimate(float(np.linalg.matrix_rank(ends - ends[0], tol=1e-5)), n=len(ends))


def margins(method: str, data: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P14: the largest range over the ends of a compared margin."""
    ends, pairs = _ends(method, data, rng), np.array(COMPARISONS[data][1])
    return Estimate(float(np.ptp(ends[:, pairs[:, 0]] - ends[:, pairs[:, 1]], axis=0).max()), n=len(ends))


def start_noise(method: str, data: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P14: how far the end moves, root of the summed squares, if each feature's start is moved by 1 in turn."""
    loss, _, features = _data(method, data)
    here = np.asarray(rng.normal(size=features.shape[1]))
    end = converged(loss, features, here)
    moved = [converged(loss, features, here + one) - end for one in np.eye(here.size)]
    return Estimate(float(np.linalg.norm(moved)), n=here.size)


def _coupled(method: str, optimiser: str) -> Array:
    """log π/π_ref (runs, 3) on the coupled pair, over rates and numbers of steps."""
    c = COUPLED
    of_logits = of_rewards(coupled_pair(method), np.zeros(3), c.kl_beta)  # rewards do not see the normaliser
    log_ref = np.log(c.reference)
    runs = itertools.product(RATES, RUN_STEPS)
    ends = [c.features @ trained(of_logits, c.features, np.zeros(2), optimiser, *run) for run in runs]
    return np.asarray(log_softmax(log_ref + np.array(ends), axis=1) - log_ref)


def run_range(method: str, response: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P14: the range of one log-ratio over the runs of plain descent."""
    return Estimate(float(np.ptp(_coupled(method, "descent")[:, response])))


def direction(response: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P14: over runs of descent and momentum, the slope of log π(response)/π(0) on the margin."""
    ends = np.vstack([_coupled("dpo", optimiser) for optimiser in ("descent", "momentum")])
    return slope(ends[:, 0] - ends[:, 1], ends[:, response] - ends[:, 0])


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "P14.dimension": dimension,
    "P14.margins": margins,
    "P14.start": start_noise,
    "P14.direction": direction,
    "P14.dpo": partial(run_range, "dpo"),
    "P14.pro": partial(run_range, "pro"),
}
