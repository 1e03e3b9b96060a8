"""What the claims P1–P13 predict, setting by setting: the functions behind `theory/proximal_claims.py`.

Each takes the entries of a setting (and ignores those it does not use) and returns one number. Formulas are called
through their modules, so that a changed formula changes every prediction that rests on it. `response` counts from 0;
"H" is the hyper response.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from theory.claim import Value
from theory.proximal import closed_forms, descent, existence, feedback, losses
from theory.proximal import optimum as proximal
from theory.proximal.examples import COMPARISONS, COUPLED, LABELS, MINIBATCH, preference_table, spread_table
from theory.validate import Array

#: The labelled responses of the examples.
LABELLED = (0, 1, 2, 3)
#: Steps at which likelihoods along training are compared, about evenly on a log scale.
STEPS = (1, 10, 30, 100, 300, 1000, 3000)
#: The triples (alpha, kl_beta) that the paper uses side by side: equal alpha·kl_beta, nearly.
TRIPLES = ((2.5, 3e-3), (7.5, 1e-3), (22.5, 3e-4))
#: (alpha, kl_beta) at which PRO-B's printed form and its shortcut r(H) = 0 are compared with the exact one.
SHORTCUT = (2.5, 0.1)
#: The scores of P11's instances; the first n of them.
SCALAR_SCORES = (0.5, -0.3, 0.1, -0.45)


def constant(value: float) -> Callable[..., float]:
    """A prediction that is the same at every setting."""
    return lambda **_: value


def population_policy(kl_beta: float, response: int, **_: Value) -> float:
    """P1: π*(y) of eDPO at μ̂ = μ, ŝ = s, α = 1."""
    P, mu, reference = preference_table()
    scores = feedback.population_scores(P, mu)
    return float(proximal.proximal_optimum(reference, scores, mu, mu, 1.0, kl_beta)[response])


def population_loss(kl_beta: float, **_: Value) -> float:
    """P1: L_DPO of the uniform policy by way of eDPO, 2·L_eDPO + log 2 + 2·kl_beta·Σ μs log π_ref."""
    P, mu, reference = preference_table()
    scores = feedback.population_scores(P, mu)
    uniform = np.full(mu.size, 1.0 / mu.size)
    value = losses.edpo_loss(uniform, reference, scores, mu, mu, 1.0, kl_beta)
    return 2.0 * value + math.log(2.0) + 2.0 * kl_beta * float((mu * scores) @ np.log(reference))


def labelled_optimum(kind: str, alpha: float, kl_beta: float) -> proximal.Optimum:
    """The optimum over the labelled responses of an example and H, in sparse form."""
    labels = LABELS[kind]
    y = labels.labelled
    scores, empirical = labels.scores()
    return proximal.hyper_optimum(
        np.log(labels.reference[y]), scores[y], empirical[y], labels.weights()[y], alpha, kl_beta
    )


def labelled_level(kind: str, response: int | str, alpha: float, kl_beta: float, **_: Value) -> float:
    """P12: log π*(y)/π_ref(y), nats."""
    optimum = labelled_optimum(kind, alpha, kl_beta)
    return optimum.hyper_ratio if response == "H" else float(optimum.log_ratio[int(response)])


def labelled_probability(kind: str, response: int | str, alpha: float, kl_beta: float, **_: Value) -> float:
    """P6, P8: π*(y), and π*(H)."""
    optimum = labelled_optimum(kind, alpha, kl_beta)
    return math.exp(optimum.hyper_policy if response == "H" else float(optimum.log_policy[int(response)]))


def coupled_path(method: str, steps: int) -> Array:
    """log π_t/π_ref (S + 1, 3) on the coupled example, for "dpo" and "pro"."""
    c = COUPLED
    scores, empirical = feedback.empirical_scores(3, [(0, 1)])
    weights, alpha = (empirical, 1.0) if method == "dpo" else (np.full(3, 1.0 / 3.0), c.alpha)
    return descent.likelihood_path(
        np.log(c.reference), scores * empirical, weights, alpha, c.kl_beta, c.kernel, c.rate, steps
    )


def path(method: str) -> Callable[..., float]:
    """P5, P12: log π_t/π_ref of one response after `step` steps."""
    return lambda step, response, **_: float(coupled_path(method, int(step))[-1, int(response)])


def flat_dimension(data: str, **_: Value) -> float:
    """P5: connected components of the comparison graph, less one for the common shift."""
    return float(existence.flat_directions(*COMPARISONS[data]).max())


def mass_after_dpo(start: float, kl_beta: float, **_: Value) -> float:
    """P5: mass of a pair (won 3 : 1) after DPO from a policy that gives it `start`, evenly, and 2 others the rest."""
    law = np.array([start / 2, start / 2, (1 - start) / 2, (1 - start) / 2])
    log_policy = descent.dpo_pair_limit(np.log(law), np.log(np.full(4, 0.25)), 0.75, kl_beta)
    return float(np.exp(log_policy[:2]).sum())


def spread_threshold(n: int, **_: Value) -> float:
    """P7: α* of the table of n responses."""
    return existence.separation(*spread_table(int(n))).threshold


def one_pair_threshold(share: float, **_: Value) -> float:
    """P7: α* of one pair and H, μ = (η/2, η/2, 1 − η)."""
    scores, empirical = feedback.empirical_scores(3, [(0, 1)])
    weights = feedback.mixture_weights(empirical, share, [0.0, 0.0, 1.0])
    return existence.existence_threshold(scores, empirical, weights)


def pair_gap(response: int, alpha: float, **_: Value) -> float:
    """P9: ± t."""
    return closed_forms.pair_log_ratio(alpha) * (1.0 if response == 0 else -1.0)


def scalar_gap(n: int, response: int, alpha: float, **_: Value) -> float:
    """P11: r*(y_i) − r*(H) for the first n scores."""
    return float(closed_forms.scalar_log_ratio(SCALAR_SCORES[: int(n)], alpha)[int(response)])


def minibatch_gap(method: str, **_: Value) -> float:
    """P12: r*(0) − r*(last) of the data set of repeated observations, for every loss."""
    share = float(np.mean([winner == 0 for winner, _ in MINIBATCH.pairs]))
    if method == "dpo":
        return math.log(share / (1.0 - share))
    if method == "pro_pairwise":
        scores, empirical = feedback.empirical_scores(3, MINIBATCH.pairs)
        r, _residual = proximal.solve_rewards(scores * empirical, np.full(3, 1.0 / 3.0), 9.0 / 4.0)
        return float(r[0] - r[2])
    if method == "pro_binary":
        return closed_forms.binary_log_ratio(float(np.mean(MINIBATCH.labels)), MINIBATCH.alpha)
    return float(closed_forms.scalar_log_ratio(np.mean(MINIBATCH.ratings, axis=0), MINIBATCH.alpha)[0])


def imbalanced_threshold(negatives: float, **_: Value) -> float:
    """P13: the threshold of P10 for the score of a positive, one to `negatives`."""
    return existence.binary_threshold(existence.imbalance_scores(negatives)[0])


def positive_log_ratio(negatives: float, alpha: float, kl_beta: float, **_: Value) -> float:
    """P13: log(π*(y)/π_ref(y)) − log(π*(H)/π_ref(H)) of a positive response, nats."""
    return closed_forms.binary_log_ratio(existence.imbalance_scores(negatives)[0], alpha) / kl_beta


def triples_spread(negatives: float, **_: Value) -> float:
    """P13: (max − min)/mean of those log-ratios over the triples."""
    ratios = [positive_log_ratio(negatives, alpha, kl_beta) for alpha, kl_beta in TRIPLES]
    return (max(ratios) - min(ratios)) / (sum(ratios) / len(ratios))
