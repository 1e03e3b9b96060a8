"""DDRO, RDRO and their relatives trained on tables: claims R1, R2, R3, R5, R8 and R9.

One function per check, `f(**setting, rng, profile) -> Estimate`; the table at the end says which. What is trained are
per-example losses as published (`simulate.density_ratio.losses`), on softmax policies or on free log-ratios.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import softmax

from simulate.density_ratio.losses import (
    everywhere,
    example_loss,
    free_minimiser,
    kldo_loss,
    table_loss,
    total_variation,
    train_policy,
)
from simulate.montecarlo import Estimate, Experiments, Rng, mean, proportion
from simulate.populations import random_win_rates
from simulate.profiles import Profile
from simulate.proximal.losses import of_rewards, table_dpo
from simulate.softmax import Loss, train
from theory.density_ratio import ratios
from theory.density_ratio.limits import PREFERENCES, TABLES, consistent_reference
from theory.density_ratio.policies import constrained_optimum
from theory.policy.kl_ball import kl
from theory.validate import Array

#: Random tables have no outcome rarer than this, so that 1e-9 on a log-ratio is 1e-9 on the loss's own scale.
RAREST = 1e-3
#: Most answers of a policy to itself.
ANSWERS = 20_000


def random_law(size: int, rng: Rng, concentration: float = 1.0) -> Array:
    """A Dirichlet draw with every outcome raised by `RAREST`."""
    law = rng.dirichlet(np.full(size, concentration)) + RAREST
    return law / law.sum()


def _table(name: str) -> tuple[Array, Array]:
    p, q = TABLES[name]
    return p.copy(), q.copy()


# R1, R2: minimisers, minima, and the references that lead to p⁺.


def free_ratio(
    method: str, member: str, n_outcomes: int, alpha: float = 0.5, *, rng: Rng, profile: Profile
) -> Estimate:
    """Largest |lr − log of the predicted ratio| of free log-ratios minimised one by one, random tables."""
    worst = 0.0
    for _ in range(profile.repeats):
        p, q = random_law(n_outcomes, rng), random_law(n_outcomes, rng)
        loss = example_loss(method, member=member, alpha=alpha)
        found = np.array([free_minimiser(loss, a, b) for a, b in zip(p, q, strict=True)])
        ratio = ratios.density_ratio(p, q) if method == "ddro" else ratios.relative_ratio(p, q, alpha)
        worst = max(worst, float(np.abs(found - np.log(ratio)).max()))
    return Estimate(worst, n=profile.repeats)


def least_loss(method: str, member: str, table: str, alpha: float = 0.5, *, rng: Rng, profile: Profile) -> Estimate:
    """The loss at its minimum over free log-ratios, found by Brent's method on its values."""
    p, q = _table(table)
    loss = example_loss(method, member=member, alpha=alpha)

    def least(a: float, b: float) -> float:
        return float(minimize_scalar(lambda lr: a * loss.chosen(lr)[0] + b * loss.rejected(lr)[0], tol=1e-12).fun)

    return Estimate(sum(least(a, b) for a, b in zip(p, q, strict=True)))


def from_own_reference(
    method: str, member: str, table: str, alpha: float = 0.5, *, rng: Rng, profile: Profile
) -> Estimate:
    """TV from p⁺ of the softmax policy trained from π_ref = p⁻ (DDRO) or p_α (RDRO)."""
    p, q = _table(table)
    reference = q if method == "ddro" else alpha * p + (1.0 - alpha) * q
    log_w = np.log(reference)
    trained, _ = train_policy(table_loss(example_loss(method, member=member, alpha=alpha), p, q, log_w), log_w)
    return Estimate(total_variation(trained, p))


def from_other_references(method: str, table: str, alpha: float = 0.5, *, rng: Rng, profile: Profile) -> Estimate:
    """Smallest TV from p⁺ over policies trained from random references at TV ≥ 0.05 from the right one."""
    p, q = _table(table)
    right = q if method == "ddro" else alpha * p + (1.0 - alpha) * q
    closest, tried = np.inf, 0
    while tried < 5 * profile.repeats:
        reference = 0.5 * right + 0.5 * random_law(p.size, rng)
        if total_variation(reference, right) < 0.05:
            continue
        tried += 1
        log_w = np.log(reference)
        loss = table_loss(example_loss(method, alpha=alpha), p, q, log_w)
        trained, _ = train_policy(loss, log_w)
        closest = min(closest, total_variation(trained, p))
    return Estimate(closest, n=tried)


def largest_ratio(alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest free RDRO ratio over random tables, half of which have outcomes that are never rejected."""
    loss, largest = example_loss("rdro", alpha=alpha), 0.0
    for k in range(profile.repeats):
        p, q = random_law(5, rng, 0.3), random_law(5, rng, 0.3)
        if k % 2:
            q = np.where(np.arange(5) == rng.integers(5), 0.0, q)
            q /= q.sum()
        found = [free_minimiser(loss, a, b) for a, b in zip(p, q, strict=True)]
        largest = max(largest, float(np.exp(max(found))))
    return Estimate(largest, n=profile.repeats)


# R3: comparisons with any preferences.


def winners_law(preferences: str, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Share of comparisons that a response wins, comparisons played one by one."""
    P, mu = PREFERENCES[preferences]
    n = 500 * profile.replicates
    first, second = rng.choice(mu.size, size=(2, n), p=mu)
    winner = np.where(rng.random(n) < P[first, second], first, second)
    return proportion(int((winner == outcome).sum()), n)


def comparison_limit(preferences: str, method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """TV from p⁺ of a method run on 10¹² sampled comparisons of responses from μ."""
    P, mu = PREFERENCES[preferences]
    exact = 2.0 * mu * (P @ mu)
    pairs = rng.multinomial(10**12, np.outer(mu, mu).ravel()).reshape(P.shape)
    wins = rng.binomial(pairs, P)  # wins[x, y]: x was drawn first and won
    lost = pairs - wins
    chosen = (wins.sum(axis=1) + lost.sum(axis=0)) / 10**12
    rejected = (lost.sum(axis=1) + wins.sum(axis=0)) / 10**12
    if method == "sft":
        return Estimate(total_variation(chosen, exact))
    if method in ("ddro", "rdro"):
        log_w = np.log(2.0 * mu - exact if method == "ddro" else mu)
        trained, _ = train_policy(table_loss(example_loss(method), chosen, rejected, log_w), log_w)
        return Estimate(total_variation(trained, exact))
    beats = wins + lost.T
    np.fill_diagonal(beats, 0)
    trained, _ = train_policy(of_rewards(table_dpo(beats / beats.sum()), np.log(mu), 1.0), np.log(mu))
    if method == "dpo":
        return Estimate(total_variation(trained, exact))
    counts = beats + beats.T
    rates = np.where(counts > 0, beats / np.maximum(counts, 1), 0.5)
    rewards = np.log(trained / mu)
    reward = (lambda _: rewards) if method == "rlhf" else (lambda policy: rates @ policy)
    return Estimate(total_variation(_tilted_in_ball(reward, mu, kl(exact, mu)), exact))


def _tilted_in_ball(reward: Callable[[Array], Array], mu: Array, tau: float) -> Array:
    """The policy π ∝ μ·exp(reward(π)/λ) that is tau from μ: damped answers to itself at a weight λ, and λ by Brent's.

    RLHF's in a KL ball for rewards that do not depend on π; Nash learning's for win rates against π, where λ is sought
    from above, since answers run in circles at small ones. ValueError if they do before tau is reached.
    """

    def settled(log_weight: float) -> Array:
        policy = mu
        for _ in range(ANSWERS):
            answer = softmax(np.log(mu) + reward(policy) * np.exp(-log_weight))
            if np.abs(answer - policy).max() < 1e-14:
                return answer
            policy = 0.5 * (policy + answer)
        raise ValueError(f"answers do not settle at weight {np.exp(log_weight):g}")

    low = next(w for w in np.arange(5.0, -20.0, -0.1) if kl(settled(w), mu) > tau)
    return settled(brentq(lambda log_weight: kl(settled(log_weight), mu) - tau, low, low + 0.1, xtol=1e-13))


def any_preferences(method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest TV from p⁺ over random win rates without any structure, and random μ; full-batch training."""
    worst = 0.0
    for _ in range(profile.repeats):
        size = int(rng.integers(3, 8))
        P = random_win_rates(size, rng)
        mu = random_law(size, rng)
        p, q = 2.0 * mu * (P @ mu), 2.0 * mu * (P.T @ mu)
        log_w = np.log(q if method == "ddro" else mu)
        trained, _ = train_policy(table_loss(example_loss(method), p, q, log_w), log_w)
        worst = max(worst, total_variation(trained, p))
    return Estimate(worst, n=profile.repeats)


# R5: pooled batches.


def ratio_of_reduction(alpha: float, reduction: str, *, rng: Rng, profile: Profile) -> Estimate:
    """The free ratio at p⁺ = .5, p⁻ = .2 under class means or a batch pooled with a share α of chosen examples."""
    chosen, rejected = (1.0, 1.0) if reduction == "class_mean" else (alpha, 1.0 - alpha)
    return Estimate(float(np.exp(free_minimiser(example_loss("rdro", alpha=alpha), 0.5 * chosen, 0.2 * rejected))))


def pooled_policy(table: str, alpha: float, chosen_fraction: float, *, rng: Rng, profile: Profile) -> Estimate:
    """TV from p⁺ of the policy trained by pooled RDRO from p_α; the best of descents from everywhere."""
    p, q = _table(table)
    return Estimate(_pooled_distance(p, q, alpha, chosen_fraction, alpha, rng))


def repaired_policy(table: str, chosen_fraction: float, *, rng: Rng, profile: Profile) -> Estimate:
    """The same with α = 1/(1 + 2a) from the law p_a of all examples."""
    p, q = _table(table)
    alpha = 1.0 / (1.0 + 2.0 * chosen_fraction)
    return Estimate(_pooled_distance(p, q, alpha, chosen_fraction, chosen_fraction, rng))


def _pooled_distance(p: Array, q: Array, alpha: float, fraction: float, share: float, rng: Rng) -> float:
    log_w = np.log(share * p + (1.0 - share) * q)
    loss = table_loss(example_loss("rdro", alpha=alpha), fraction * p, (1.0 - fraction) * q, log_w)
    trained, _ = train_policy(loss, log_w, everywhere(log_w, rng))
    return total_variation(trained, p)


def minibatch(table: str, alpha: float, reduction: str, *, rng: Rng, profile: Profile) -> Estimate:
    """TV from p⁺ after minibatch Adam from p_α, batches of 64 with a share α of chosen examples on average."""
    p, q = _table(table)
    log_w = np.log(alpha * p + (1.0 - alpha) * q)
    loss = example_loss("rdro", alpha=alpha)
    distances = []
    for _ in range(max(2, profile.repeats // 4)):

        def batch(_: int) -> Loss:
            n = int(np.clip(rng.binomial(64, alpha), 1, 63))
            chosen, rejected = rng.multinomial(n, p), rng.multinomial(64 - n, q)
            sizes = (n, 64 - n) if reduction == "class_mean" else (64, 64)
            return table_loss(loss, chosen / sizes[0], rejected / sizes[1], log_w)

        end = train(batch, log_w, steps=3000, rate=0.05)
        distances.append(total_variation(np.exp(end.log_policy), p))
    return mean(distances)


# R8: any reference.


def brute_force_gap(side: str, n_outcomes: int, method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest |least loss − loss of the predicted optimum| over random tables, references on one side of S = 1.

    Least: of descents from the reference and from everywhere (`everywhere`).
    """
    worst = 0.0
    for p, q, log_w, alpha in _misspecified(side, n_outcomes, method, rng, profile.repeats):
        _, best = _brute_force(method, p, q, log_w, alpha, rng)
        predicted = constrained_optimum(p, q, np.exp(log_w), alpha=None if method == "ddro" else alpha)
        worst = max(worst, abs(predicted.value - best))
    return Estimate(worst, n=profile.repeats)


def outcomes_beyond_fold(n_outcomes: int, what: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Outcomes of the least loss that lie where it is concave in π (S < 1): the most, or the share of tables with any.

    The second derivative of p log(1 + 1/ρ) + q log(1 + ρ) in ρ is p/ρ² − (p + q)/(1+ρ)²; outcomes that the optimum
    has emptied (p = 0) are not counted.
    """
    counts = []
    for p, q, log_w, _ in _misspecified("below", n_outcomes, "ddro", rng, 2 * profile.repeats):
        best, _ = _brute_force("ddro", p, q, log_w, 0.5, rng)
        ratio = best / np.exp(log_w)
        counts.append(int(np.sum(p * (1.0 + ratio) ** 2 < (p + q) * ratio**2 * (1.0 - 1e-9))))
    if what == "most":
        return Estimate(float(max(counts)), n=len(counts))
    return proportion(sum(count > 0 for count in counts), len(counts))


def misspecified(method: str, member: str, table: str, share: float, *, rng: Rng, profile: Profile) -> Estimate:
    """TV from p⁺ of the policy trained from the reference share·p⁺ + (1 − share)·p⁻, α = 0.3 for RDRO."""
    p, q = _table(table)
    log_w = np.log(share * p + (1.0 - share) * q)
    loss = table_loss(example_loss(method, member=member, alpha=0.3), p, q, log_w)
    trained, _ = train_policy(loss, log_w, everywhere(log_w, rng))
    return Estimate(total_variation(trained, p))


def trapped(start: str, *, rng: Rng, profile: Profile) -> Estimate:
    """DDRO on the table "trap" from π_ref = (.05, .95): loss after descent from the reference, or from everywhere."""
    p, q = _table("trap")
    log_w = np.log(np.array([0.05, 0.95]))
    loss = table_loss(example_loss("ddro"), p, q, log_w)
    return Estimate(train_policy(loss, log_w, everywhere(log_w, rng) if start == "everywhere" else ())[1])


def _misspecified(
    side: str, n_outcomes: int, method: str, rng: Rng, count: int
) -> list[tuple[Array, Array, Array, float]]:
    """Random (p⁺, p⁻, log π_ref, α) with S = Σ π_ref p̃/q̃ on the given side of 1."""
    found: list[tuple[Array, Array, Array, float]] = []
    while len(found) < count:
        p, q, w = (random_law(n_outcomes, rng, 0.6) for _ in range(3))
        alpha = float(rng.uniform(0.1, 0.9))
        denominator = q if method == "ddro" else alpha * p + (1.0 - alpha) * q
        if (float(w @ (p / denominator)) < 1.0) == (side == "below"):
            found.append((p, q, np.log(w), alpha))
    return found


def _brute_force(method: str, p: Array, q: Array, log_w: Array, alpha: float, rng: Rng) -> tuple[Array, float]:
    loss = table_loss(example_loss(method, alpha=alpha), p, q, log_w)
    return train_policy(loss, log_w, everywhere(log_w, rng))


# R9: one page of unpaired methods.


def bco_against_ddro(what: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest difference in value or slope of BCO (kl_beta = 1, δ = 0) and DDRO, examples with random log-ratios."""
    lr = rng.normal(scale=5.0, size=50 * profile.repeats)
    bco, ddro = example_loss("bco"), example_loss("ddro")
    index = 0 if what == "loss" else 1
    differences = [bco.chosen(lr)[index] - ddro.chosen(lr)[index], bco.rejected(lr)[index] - ddro.rejected(lr)[index]]
    return Estimate(float(np.abs(differences).max()), n=lr.size)


def from_consistent_reference(method: str, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest TV from p⁺ of policies trained from the method's own reference, all tables with full support."""
    worst = 0.0
    for name in ("three", "six", "rare"):
        p, q = _table(name)
        reference, shift = consistent_reference(method, p, q, kl_beta=kl_beta, alpha=0.3)
        log_w = np.log(reference)
        if method == "kldo":
            loss = kldo_loss(p, q, log_w, kl_beta)
        else:
            loss = table_loss(example_loss(method, alpha=0.3, kl_beta=kl_beta, shift=shift), p, q, log_w)
        worst = max(worst, total_variation(train_policy(loss, log_w)[0], p))
    return Estimate(worst)


def method_by_reference(method: str, reference: str, *, rng: Rng, profile: Profile) -> Estimate:
    """TV from p⁺ of a method trained from p⁻, p_α (α = .5) or the uniform law, table "rare", kl_beta = 1."""
    p, q = _table("rare")
    log_w = np.log({"rejected": q, "mixture": 0.5 * p + 0.5 * q, "uniform": np.full(p.size, 0.25)}[reference])
    loss = kldo_loss(p, q, log_w) if method == "kldo" else table_loss(example_loss(method), p, q, log_w)
    return Estimate(total_variation(train_policy(loss, log_w, everywhere(log_w, rng))[0], p))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "R1.ratio": free_ratio,
    "R1.minimum": least_loss,
    "R1.policy": from_own_reference,
    "R1.only": from_other_references,
    "R2.ratio": free_ratio,
    "R2.minimum": least_loss,
    "R2.policy": from_own_reference,
    "R2.only": from_other_references,
    "R2.cap": largest_ratio,
    "R3.laws": winners_law,
    "R3.limit": comparison_limit,
    "R3.any": any_preferences,
    "R5.ratio": ratio_of_reduction,
    "R5.policy": pooled_policy,
    "R5.repaired": repaired_policy,
    "R5.minibatch": minibatch,
    "R8.optimum": brute_force_gap,
    "R8.one_upper": outcomes_beyond_fold,
    "R8.upper_needed": outcomes_beyond_fold,
    "R8.distance": misspecified,
    "R8.trap": trapped,
    "R9.same": bco_against_ddro,
    "R9.own_reference": from_consistent_reference,
    "R9.page": method_by_reference,
}
