"""Finite samples and minibatches: claim V9.

A sample of n responses per class is a multinomial draw of counts; dpo draws n pairs. The loss is minimised on the
sample through V1–V6 (the plug-in minimiser), DPO by Newton steps on the pairs. Biases are measured as the mean of
(minimum on the sample) − (sample loss at the true optimum), whose second term has the exact minimum as its mean: a
control variate, not a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit, logsumexp

from simulate.montecarlo import Estimate, Experiments, Rng, log_slope, mean, proportion, root_mean_square, scaled
from simulate.profiles import Profile
from simulate.softmax import Loss, train
from theory.divergences.examples import minibatch_rewards
from theory.divergences.losses import estimated_divergence, find_loss, population_loss
from theory.divergences.safety_data import example_pair
from theory.divergences.samples import estimate_dpo_minimum, estimate_minimum
from theory.validate import Array

#: Rate of the moving average in `average_helps`, minibatches whose gradients are averaged in a step, and steps.
AVERAGE_RATE, WORKERS, STEPS = 0.1, 64, 2500


@dataclass(frozen=True, eq=False)
class Samples:
    """S samples: the minimum on each (S,), the sample's loss at the true optimum (S,), and the fitted r (S, A)."""

    minimum: Array
    at_optimum: Array
    rewards: Array


def draw(name: str, p: Array, q: Array, n: int, count: int, rng: Rng) -> Samples:
    """`count` samples of n responses per class (dpo: n pairs), and the loss minimised on each."""
    with np.errstate(divide="ignore"):
        truth = find_loss(name).optimum(np.log(p) - np.log(q))
    if name == "dpo":
        wins = rng.multinomial(n, np.outer(p, q).ravel(), size=count).reshape(count, p.size, p.size) / n
        rewards = fit_pairs(wins)
        return Samples(_pair_loss(wins, rewards), _pair_loss(wins, np.broadcast_to(truth, rewards.shape)), rewards)
    shares = [rng.multinomial(n, table, size=count) / n for table in (p, q)]
    if min(float(share.min()) for share in shares) == 0.0:
        raise ValueError(f"{name}: a sample of {n} misses a response of the table")
    rewards = find_loss(name).optimum(np.log(shares[0]) - np.log(shares[1]))
    parts = find_loss(name).parts
    if parts is None:  # KLDO: the log of a sample mean is not unbiased, its tangent at the optimum is
        normaliser = float(logsumexp(truth, b=q))
        tangent = shares[1] @ np.exp(truth - normaliser) - 1.0 + normaliser
        value = -np.sum(shares[0] * rewards, axis=1) + logsumexp(rewards, b=shares[1], axis=1)
        return Samples(value, tangent - shares[0] @ truth, rewards)
    value = np.sum(shares[0] * parts.positive(rewards) + shares[1] * parts.negative(rewards), axis=1)
    return Samples(value, shares[0] @ parts.positive(truth) + shares[1] @ parts.negative(truth), rewards)


def fit_pairs(wins: Array) -> Array:
    """Rewards (S, A), mean 0, that minimise −Σ wins·log σ(r_i − r_j) for S tables at once: twelve Newton steps."""
    S, A, _ = wins.shape
    rewards = np.zeros((S, A))
    total = wins + wins.transpose(0, 2, 1)
    for _ in range(12):
        chance = expit(rewards[:, :, None] - rewards[:, None, :])
        gradient = (wins - total * chance).sum(axis=2)
        weights = total * chance * (1.0 - chance)
        hessian = np.eye(A) * weights.sum(axis=2)[:, :, None] - weights + 1.0 / A  # 1/A: the free constant
        rewards = rewards + np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return rewards - rewards.mean(axis=1, keepdims=True)


def _pair_loss(wins: Array, rewards: Array) -> Array:
    return np.sum(wins * np.logaddexp(0.0, rewards[:, None, :] - rewards[:, :, None]), axis=(1, 2))


def divergence_estimate(name: str, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: the divergence read off the minimum on 200 000 draws, mean over samples."""
    samples = draw(name, *example_pair(5, separation), 200_000, max(profile.replicates // 10, 10), rng)
    return mean([estimated_divergence(name, float(value)) for value in samples.minimum])


def bias(name: str, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: n·(E[minimum on the sample] − minimum)."""
    samples = draw(name, *example_pair(5, 1.5), n, 5 * profile.replicates, rng)
    return mean(n * (samples.minimum - samples.at_optimum))


def held_out(name: str, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: n·(E[loss of the fitted r on fresh data] − minimum), fresh data without end."""
    p, q = example_pair(5, 1.5)
    rewards = draw(name, p, q, n, profile.replicates, rng).rewards
    truth = population_loss(name, find_loss(name).optimum(np.log(p / q)), p, q)
    return mean([n * (population_loss(name, r, p, q) - truth) for r in rewards])


def spread(name: str, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: √n times the standard deviation of the minimum over samples."""
    values = draw(name, *example_pair(5, 1.5), n, 5 * profile.replicates, rng).minimum
    return root_mean_square(np.sqrt(n) * (values - values.mean()))


def coverage(name: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: share of samples of 4000 per class whose 95 % interval covers the minimum."""
    p, q = example_pair(5, 1.5)
    n, samples = 4000, profile.replicates
    truth = find_loss(name).minimum(p, q)
    covered = 0
    for _ in range(samples):
        if name == "dpo":
            found = estimate_dpo_minimum(rng.multinomial(n, np.outer(p, q).ravel()).reshape(p.size, p.size))
        else:
            found = estimate_minimum(name, rng.multinomial(n, p), rng.multinomial(n, q))
        covered += found.low <= truth <= found.high
    return proportion(covered, samples)


def rate(name: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: slope of log(root mean square error of the minimum) in log n."""
    p, q = example_pair(5, 1.5)
    truth = find_loss(name).minimum(p, q)
    sizes = 4 ** np.arange(6, 11)
    errors = [root_mean_square(draw(name, p, q, int(n), profile.replicates, rng).minimum - truth) for n in sizes]
    return log_slope(sizes, errors)


# Minibatches of KLDO.


def _exponentials() -> tuple[Array, Array]:
    """x = eʳ/E eʳ (A,) of the responses, and their law q."""
    rewards, q = minibatch_rewards()
    return np.exp(rewards - logsumexp(rewards, b=q)), q


def batches(q: Array, size: int, count: int, rng: Rng) -> Array:
    """Shares (count, A) of the responses in `count` minibatches."""
    return rng.multinomial(size, q, size=count) / size


def log_mean_exp_bias(batch: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: B·(E[log mean of B values x] − log E x), x = eʳ/E eʳ; control variate: the mean itself, whose mean is 1."""
    x, q = _exponentials()
    means = batches(q, batch, 50 * profile.replicates, rng) @ x
    return mean(batch * (np.log(means) - (means - 1.0)))


def small_batch_bias(batch: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: the same bias, not multiplied by B."""
    return scaled(1.0 / batch, log_mean_exp_bias(batch, rng=rng, profile=profile))


def leave_one_out_bias(batch: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: B²·(E[leave-one-out log-mean-exp] − log E x); control variates: the mean, and Σ_{i≠j}(x_i − 1)(x_j − 1)."""
    x, q = _exponentials()
    shares = batches(q, batch, 50 * profile.replicates, rng)
    means = shares @ x
    without = (batch * means[:, None] - x) / (batch - 1.0)
    logs = np.log(np.where(shares > 0, without, 1.0))  # a response that is not in the batch has weight 0
    corrected = batch * np.log(means) - (batch - 1) * np.sum(shares * logs, axis=1)
    pairs = (batch * (means - 1.0) ** 2 - shares @ (x - 1.0) ** 2) / (batch - 1.0)
    return mean(batch**2 * (corrected - (means - 1.0) + 0.5 * pairs))


def weight_bias(batch: int, rate: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: B·(E[weight of one response in the gradient] − its weight), moving average of the given rate below.

    Control variates: the numerator and the denominator, both unbiased.
    """
    x, q = _exponentials()
    chains, kept = profile.replicates, 50  # a burn-in is dear, and what is kept hardly depends on the one before
    average = batches(q, batch, chains, rng) @ x
    burn_in = 0 if rate == 1.0 else int(8 / rate)
    found = []
    for step in range(burn_in + kept):
        shares = batches(q, batch, chains, rng)
        average = (1.0 - rate) * average + rate * (shares @ x)
        if step >= burn_in:
            exact = q[outcome] * x[outcome]
            top = shares[:, outcome] * x[outcome]
            found.append(top / average - exact - (top - exact) + exact * (average - 1.0))
    return mean(batch * np.mean(found, axis=0))


def smallest_batch(separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: the smallest B at which no direction lowers the expected loss without end, a linear program per B.

    Along d the loss falls at rate p·d − E[max of d over the batch]; only which responses are in the batch matters.
    """
    p, q = example_pair(3, separation)
    subsets = [np.array([bool(code >> i & 1) for i in range(p.size)]) for code in range(1, 2**p.size)]
    for batch in range(1, 200):
        # inclusion–exclusion: the batch is exactly this set of responses
        chance = [
            sum(
                (-1.0) ** int(members.sum() - inner.sum()) * float(q[inner].sum()) ** batch
                for inner in subsets
                if not (inner & ~members).any()
            )
            for members in subsets
        ]
        above = [
            (np.eye(p.size)[i], -np.eye(len(subsets))[s])
            for s, members in enumerate(subsets)
            for i in np.flatnonzero(members)
        ]
        rows = np.array([np.concatenate(pair) for pair in above])
        bounds = [(-1.0, 1.0)] * p.size + [(None, None)] * len(subsets)
        program = linprog(np.concatenate([-p, chance]), A_ub=rows, b_ub=np.zeros(len(rows)), bounds=bounds)
        if program.fun > -1e-9:
            return Estimate(float(batch), n=batch)
    return Estimate(float("nan"), float("nan"))


def trained_range(batch: int, moving: bool, rng: Rng) -> float:
    """Range of the rewards after training on minibatches, Adam with a cosine schedule.

    Each step averages the gradients of `WORKERS` minibatches, each with its own logarithm (and moving average): more
    of them lower the noise, not the bias.
    """
    p, q = example_pair(4, 1.0)
    averages = np.ones(WORKERS)

    def batch_loss(step: int) -> Loss:
        shares = batches(q, batch, WORKERS, rng)

        def loss(log_policy: Array) -> tuple[float, Array]:
            nonlocal averages
            r = log_policy - np.log(0.25)
            tops = shares * np.exp(r)
            means = tops.sum(axis=1)
            averages = (1.0 - AVERAGE_RATE) * averages + AVERAGE_RATE * means if moving else means
            return float(np.log(means).mean() - p @ r), (tops / averages[:, None]).mean(axis=0) - p

        return loss

    return float(np.ptp(train(batch_loss, np.zeros(4), STEPS, 0.05).log_policy))


def minibatch_optimum(batch: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: the range of the rewards to which minibatch KLDO is trained, mean of several runs."""
    return mean([trained_range(batch, False, rng) for _ in range(_runs(profile))])


def average_helps(batch: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V9: how much farther from log R's range plain minibatch training ends than training with a moving average."""
    p, q = example_pair(4, 1.0)
    exact = float(np.ptp(np.log(p / q)))
    plain, moving = (
        [abs(trained_range(batch, kind, rng) - exact) for _ in range(_runs(profile))] for kind in (False, True)
    )
    return mean(np.array(plain) - np.array(moving))


def _runs(profile: Profile) -> int:
    """Training runs behind a mean: four, two in the smallest profile."""
    return 4 if profile.repeats > 10 else 2


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V9.estimate": divergence_estimate,
    "V9.bias": bias,
    "V9.held_out": held_out,
    "V9.stderr": spread,
    "V9.coverage": coverage,
    "V9.rate": rate,
    "V9.log_mean_exp": log_mean_exp_bias,
    "V9.small_batches": small_batch_bias,
    "V9.leave_one_out": leave_one_out_bias,
    "V9.moving_average": weight_bias,
    "V9.threshold": smallest_batch,
    "V9.minibatch_optimum": minibatch_optimum,
    "V9.average_helps": average_helps,
}
