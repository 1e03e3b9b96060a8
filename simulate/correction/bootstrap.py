"""Upstream models trained on corrections: distilled from samples, or trained on pairs c ≻ o to the end. Claim A6.

Losses are those of `simulate.proximal.losses` and `simulate.density_ratio.losses`, on tables of pairs.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import expit

from simulate.correction.data import corrected, draw
from simulate.density_ratio.losses import example_loss, table_loss, total_variation
from simulate.montecarlo import Estimate, Experiments, Rng, mean, slope
from simulate.profiles import Profile
from simulate.proximal.losses import edpo, of_rewards, table_dpo, to_optimum
from theory.correction.examples import PAIRS, PRO_ALPHA, PRO_SHARE, ROUNDS, Pairs, with_copies
from theory.validate import Array

#: Answers that a distillation samples per round.
ANSWERS = 10**8


def distilled(corrector: str, k: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Utility of the upstream model after k rounds of: answer, correct, fit the corrected answers' frequencies."""
    r = ROUNDS[corrector]
    utilities = []
    for _ in range(profile.repeats):
        policy = r.policy
        for _ in range(k):
            policy = corrected(draw(policy, ANSWERS, rng), r.kernel, rng).sum(axis=0) / ANSWERS
        utilities.append(float(policy @ r.utilities))
    return mean(utilities)


def _pair_table(p: Pairs) -> Array:
    """(A, A): the share of pairs (o, c)."""
    return p.policy[:, None] * p.kernel


def _train_ratio(method: str, p: Pairs, log_reference: Array, table: Array, alpha: float = 0.5) -> Array:
    """Policy trained by DDRO or RDRO on chosen c and rejected o."""
    chosen, rejected = table.sum(axis=0), table.sum(axis=1)
    loss = table_loss(example_loss(method, alpha=alpha), chosen, rejected, log_reference)
    return np.exp(to_optimum(loss, np.log(p.policy)))


def ddro(pairs: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Total variation between DDRO from the reference π and one round of correction."""
    p = PAIRS[pairs]
    return Estimate(total_variation(_train_ratio("ddro", p, np.log(p.policy), _pair_table(p)), p.policy @ p.kernel))


def rdro(pairs: str, alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Total variation between RDRO from the reference p_α and one round of correction."""
    p = PAIRS[pairs]
    reference = alpha * p.policy @ p.kernel + (1 - alpha) * p.policy
    trained = _train_ratio("rdro", p, np.log(reference), _pair_table(p), alpha)
    return Estimate(total_variation(trained, p.policy @ p.kernel))


def rdro_from_upstream(pairs: str, alpha: float, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Probability of an answer under RDRO from the reference π."""
    p = PAIRS[pairs]
    return Estimate(float(_train_ratio("rdro", p, np.log(p.policy), _pair_table(p), alpha)[answer]))


def changed_only(pairs: str, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Probability of an answer under DDRO from the reference π, unchanged pairs left out."""
    p = PAIRS[pairs]
    table = _pair_table(p)
    np.fill_diagonal(table, 0.0)
    return Estimate(float(_train_ratio("ddro", p, np.log(p.policy), table / table.sum())[answer]))


def train_dpo(p: Pairs, kl_beta: float) -> Array:
    """Policy (A,) trained by DPO on c ≻ o from the reference π; an unchanged pair costs log 2 whatever the policy."""
    log_pi = np.log(p.policy)
    return np.exp(to_optimum(of_rewards(table_dpo(_pair_table(p).T), log_pi, kl_beta), log_pi))


def dpo(pairs: str, kl_beta: float, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Probability of an answer under DPO from the reference π."""
    return Estimate(float(train_dpo(PAIRS[pairs], kl_beta)[answer]))


def dpo_against_rounds(pairs: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Total variation between DPO at kl_beta = 1 and 2⁷ rounds."""
    p = PAIRS[pairs]
    return Estimate(total_variation(train_dpo(p, 1.0), p.policy @ np.linalg.matrix_power(p.kernel, 128)))


def dpo_with_copies(pairs: str, share: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Total variation between DPO on a corrector's pairs and on those of one that also copies."""
    policies = [train_dpo(p, 0.7) for p in (PAIRS[pairs], with_copies(pairs, share))]
    return Estimate(total_variation(*policies))


def dpo_repeated(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Slope in the number of rounds of log(range of log π/ν), each round's reference being the last one's policy."""
    p = PAIRS["reversible"]
    nu = p.policy @ np.linalg.matrix_power(p.kernel, 4096)
    ranges = [np.ptp(np.log(p.policy / nu))]
    for _ in range(4):
        p = Pairs(train_dpo(p, kl_beta), p.kernel)
        ranges.append(np.ptp(np.log(p.policy / nu)))
    return slope(np.arange(5), np.log(ranges))


def dpo_without_optimum(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Two answers, the first always corrected into the second: slope of DPO's margin in log t, t = 10⁴ … 10⁶."""

    def velocity(_: float, logits: Array) -> Array:
        pull = kl_beta * expit(-kl_beta * (logits[1] - logits[0]))
        return np.array([-pull, pull])

    times = np.geomspace(1e4, 1e6, 9)
    path = solve_ivp(velocity, (0.0, times[-1]), np.zeros(2), "LSODA", times, rtol=1e-9, atol=1e-11).y
    return slope(np.log(times), kl_beta * (path[1] - path[0]))


def pro(pairs: str, kl_beta: float, answer: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Probability of an answer under PRO from the reference π, one table of scores for the prompt."""
    p = PAIRS[pairs]
    table = _pair_table(p)
    np.fill_diagonal(table, 0.0)
    table /= table.sum()
    seen = 0.5 * (table.sum(axis=0) + table.sum(axis=1))
    signal = np.zeros(seen.size)
    for x, y in np.argwhere(table + table.T > 0):
        share = table[y, x] / (table[x, y] + table[y, x])  # how often x won against y
        signal[x] += seen[x] * seen[y] * (share - 0.5)
    rest = np.where(seen > 0, 0.0, p.policy)
    weights = PRO_SHARE * seen + (1 - PRO_SHARE) * rest / rest.sum() if rest.any() else seen
    loss = of_rewards(edpo(signal, weights, PRO_ALPHA), np.log(p.policy), kl_beta)
    return Estimate(float(np.exp(to_optimum(loss, np.log(p.policy)))[answer]))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "A6.distilled": distilled,
    "A6.ddro": ddro,
    "A6.rdro": rdro,
    "A6.rdro_upstream": rdro_from_upstream,
    "A6.changed_only": changed_only,
    "A6.dpo": dpo,
    "A6.dpo_stationary": dpo_against_rounds,
    "A6.dpo_copies": dpo_with_copies,
    "A6.dpo_repeated": dpo_repeated,
    "A6.dpo_acyclic": dpo_without_optimum,
    "A6.pro": pro,
}
