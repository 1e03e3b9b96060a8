"""Gradient flows of log-ratios, followed step by step: claim R4. p⁺(y) = 0.4 throughout, α and p⁻(y) vary."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import log_softmax

from simulate.density_ratio.losses import ExampleLoss, example_loss, table_loss
from simulate.montecarlo import Estimate, Experiments, Rng, scaled, slope
from simulate.profiles import Profile
from simulate.softmax import through_softmax
from theory.density_ratio.limits import TABLES
from theory.validate import Array

#: p⁺(y) of the response that is followed.
CHOSEN = 0.4


def free_log_ratio(
    method: str, rejected: float, time: float, alpha: float = 0.3, *, rng: Rng, profile: Profile
) -> Estimate:
    """A free log-ratio after gradient flow of the example losses for a time, from lr = 0."""
    return Estimate(float(_follow(example_loss(method, alpha=alpha), rejected, 0.0, np.array([time]))[0]))


def _follow(loss: ExampleLoss, rejected: float, start: float, times: Array) -> Array:
    def velocity(_: float, lr: Array) -> Array:
        return -CHOSEN * loss.chosen(lr)[1] - rejected * loss.rejected(lr)[1]

    found = solve_ivp(velocity, (0.0, times[-1]), [start], "LSODA", times, rtol=1e-11, atol=1e-13)
    if not found.success:
        raise RuntimeError(f"the integration stopped: {found.message}")
    return np.asarray(found.y[0])


def drift_exponent(*, rng: Rng, profile: Profile) -> Estimate:
    """Slope of DDRO's free log-ratio in log t where p⁻(y) = 0, t = 10⁵ … 10⁸."""
    times = np.geomspace(1e5, 1e8, 13)
    return slope(np.log(times), _follow(example_loss("ddro"), 0.0, 0.0, times))


def cap_rate(alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Rate of |lr − log(1/α)| for RDRO where p⁻(y) = 0, from log-distances between 1e-3 and 1e-5."""
    loss, cap = example_loss("rdro", alpha=alpha), -np.log(alpha)
    times = np.linspace(0.0, 400.0 / alpha, 4001)
    distance = cap - _follow(loss, 0.0, 0.0, times)
    seen = (distance < 1e-3) & (distance > 1e-5)
    return scaled(-1.0, slope(times[seen], np.log(distance[seen])))


def cap_reached(alpha: float, start: float, *, rng: Rng, profile: Profile) -> Estimate:
    """RDRO's free log-ratio where p⁻(y) = 0 after 10⁴ steps of gradient descent, from below or above the cap."""
    loss, lr = example_loss("rdro", alpha=alpha), np.array(start)
    for _ in range(10_000):
        lr = lr - 2.0 * CHOSEN * loss.chosen(lr)[1]
    return Estimate(float(lr))


def strongest_push_back(method: str, alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest derivative of a chosen example's loss in lr, lr in [−30, 30], by central differences of its value."""
    loss, lr, step = example_loss(method, alpha=alpha), np.linspace(-30.0, 30.0, 601), 1e-5
    return Estimate(float(((loss.chosen(lr + step)[0] - loss.chosen(lr - step)[0]) / (2.0 * step)).max()), n=lr.size)


def policy_log_ratio(method: str, table: str, time: float, *, rng: Rng, profile: Profile) -> Estimate:
    """log-ratio of outcome 0, never rejected, of a softmax policy under gradient descent from the uniform reference.

    Steps of 0.05 extrapolated to 0 with those of 0.1 (the method's error is linear in the step).
    """
    coarse, fine = (_descend(method, table, time, step) for step in (0.1, 0.05))
    return Estimate(2.0 * fine - coarse)


def _descend(method: str, table: str, time: float, step: float) -> float:
    p, q = TABLES[table]
    log_w = np.full(p.size, -np.log(p.size))
    loss = table_loss(example_loss(method, alpha=0.3), p, q, log_w)
    logits = log_w.copy()
    for _ in range(round(time / step)):
        log_policy = log_softmax(logits)
        logits = logits - step * through_softmax(log_policy, loss(log_policy)[1])
    return float(log_softmax(logits)[0] - log_w[0])


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "R4.flow": free_log_ratio,
    "R4.drift": drift_exponent,
    "R4.rate": cap_rate,
    "R4.cap": cap_reached,
    "R4.push": strongest_push_back,
    "R4.simplex": policy_log_ratio,
}
