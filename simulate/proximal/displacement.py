"""Random pairs, trained by plain descent, and what two accounts say of where the chosen response goes: claim P16.

Features are (G_y, own·e_y), G of independent normal entries: R pairs at a time, logits G a + own·b, where a (R, k) and
b (R, n) are trained. Response 0 is chosen, 1 rejected, the reference uniform. Gradients go through log-softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from scipy.special import expit, log_softmax
from scipy.stats import spearmanr

from simulate.montecarlo import Estimate, Experiments, Rng, mean, proportion, slope
from simulate.profiles import Profile
from simulate.softmax import through_softmax
from theory.proximal.displacement import chosen_displacement
from theory.validate import Array

#: (R, n) log π/π_ref → ∂loss/∂log π (R, n).
Slopes = Callable[[Array], Array]

#: Comparisons that the chosen response wins; margins end at logit(WON)/kl_beta.
WON = 0.8
#: Margin at which signs are those of the end, nats; steps to any margin, the error falling to .36 in each.
LONG, STEPS = 1000.0, 25
#: The random pairs whose likelihoods are compared: responses, columns of G, own; how many are ranked together.
RESPONSES, SHARED, OWN, RANKED = 8, 2, 0.5, 100
#: Steps of PRO's runs, and how many runs.
PRO_STEPS, PRO_PAIRS = 2000, 50
#: A length of a common vector that is added to all features, and that no policy sees.
COMMON = 5.0


def whole(G: Array, own: float) -> Array:
    """Features (R, n, SHARED + n)."""
    return np.concatenate([G, np.broadcast_to(own * np.eye(G.shape[1]), (*G.shape[:2], G.shape[1]))], axis=-1)


def path(slopes: Slopes, G: Array, own: float, rates: Array) -> Iterator[Array]:
    """log π/π_ref (R, n) after each step of descent, rates (R,) of their own."""
    a, b = np.zeros((len(G), G.shape[2])), np.zeros(G.shape[:2])
    log_policy = reference = np.full(G.shape[:2], -math.log(G.shape[1]))
    while True:
        step = rates[:, None] * through_softmax(log_policy, slopes(log_policy - reference))
        a -= np.einsum("rn,rnk->rk", step, G)
        b -= own * step
        log_policy = log_softmax(reference + np.einsum("rnk,rk->rn", G, a) + own * b, axis=1)
        yield log_policy - reference


def dpo(kl_beta: float) -> Slopes:
    """DPO on comparisons of 0 and 1, won by 0 in a share WON of them."""

    def slopes(ratio: Array) -> Array:
        found = np.zeros_like(ratio)
        found[:, 0] = kl_beta * (expit(kl_beta * (ratio[:, 0] - ratio[:, 1])) - WON)
        found[:, 1] = -found[:, 0]
        return found

    return slopes


def pro(alpha: float, kl_beta: float) -> Slopes:
    """PRO on one comparison, μ uniform: −(r₀ − r₁)/8 + (α/2n²) Σ klB(r − r′)."""

    def slopes(ratio: Array) -> Array:
        r, n = kl_beta * ratio, ratio.shape[1]
        found = alpha / n**2 * (expit(r[:, :, None] - r[:, None, :]) - 0.5).sum(axis=2)
        found[:, 0] -= 0.125
        found[:, 1] += 0.125
        return kl_beta * found

    return slopes


def dpo_run(G: Array, own: float, margin: float) -> Iterator[Array]:
    """`path` of DPO that ends at a margin, at the rate 1/L, L its loss's curvature in the weights."""
    kl_beta = math.log(WON / (1.0 - WON)) / margin
    L = 0.25 * kl_beta**2 * (((G[:, 0] - G[:, 1]) ** 2).sum(axis=1) + 2.0 * own**2)
    return islice(path(dpo(kl_beta), G, own, 1.0 / L), STEPS)


def last(steps: Iterator[Array]) -> Array:
    """Where a path ends."""
    *_, end = steps
    return end


def displaced(method: str, when: str, n: int, shared: int, own: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: share of random pairs whose chosen response has fallen, after a small step or in the end."""
    G = rng.normal(size=(10 * profile.replicates, n, shared))
    if when == "end":
        moved = last(dpo_run(G, own, LONG))
    else:
        moved = next(path(dpo(1.0) if method == "dpo" else pro(4.0, 1.0), G, own, np.full(len(G), 1e-6)))
    return proportion(int((moved[:, 0] < 0.0).sum()), len(moved))


def rates_at_start(features: Array) -> dict[str, Array]:
    """What each account says at a uniform reference of how fast the chosen response rises (R,)."""
    chosen, rejected = features[:, 0], features[:, 1]
    shifted = features + COMMON / math.sqrt(features.shape[2])
    centre = features.mean(axis=1)
    band = ((chosen - centre) * (chosen - rejected)).sum(axis=1)
    return {
        "band": band,
        "first order": band / ((chosen - rejected) ** 2).sum(axis=1),
        "CHES": (chosen * (chosen - rejected)).sum(axis=1),
        "shifted CHES": (shifted[:, 0] * (chosen - rejected)).sum(axis=1),
    }


def accuracy(n: int, shared: int, own: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: share of random pairs whose sign in the end is the band's at the reference."""
    G = rng.normal(size=(10 * profile.replicates, n, shared))
    rises = rates_at_start(whole(G, own))["band"] > 0.0
    return proportion(int((rises == (last(dpo_run(G, own, LONG))[:, 0] > 0.0)).sum()), len(G))


def returned(n: int, shared: int, own: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: the most that a chosen response has risen in one step after one in which it fell, nats."""
    G = rng.normal(size=(profile.replicates, n, shared))
    steps = np.diff([moved[:, 0] for moved in dpo_run(G, own, 100.0)], axis=0, prepend=0.0)
    fell = np.cumsum(steps < -1e-9, axis=0) > 0
    return Estimate(float(np.where(fell, steps, 0.0).max()), n=len(G))


def predicted_and_trained(margin: float, rng: Rng, pairs: int) -> tuple[Array, Array, Array]:
    """Features (R, n, d), the path's displacement and the trained one (R,)."""
    G = rng.normal(size=(pairs, RESPONSES, SHARED))
    features = whole(G, OWN)
    predicted = chosen_displacement(np.full(RESPONSES, -math.log(RESPONSES)), features, margin)
    return features, predicted, last(dpo_run(G, OWN, margin))[:, 0]


def path_slope(margin: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: slope of trained on predicted displacement over random pairs."""
    _, predicted, trained = predicted_and_trained(margin, rng, profile.replicates)
    return slope(predicted, trained)


def ahead(rival: str, margin: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: rank correlation with the trained displacement, the path's less the rival's; batches of RANKED pairs."""
    features, predicted, trained = predicted_and_trained(margin, rng, profile.repeats * RANKED)
    said = rates_at_start(features)[rival]
    each = [
        spearmanr(predicted[own], trained[own]).statistic - spearmanr(said[own], trained[own]).statistic
        for own in np.split(np.arange(len(trained)), profile.repeats)
    ]
    return mean(each)


def pro_level(first: str, n: int, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P16: the lowest log π*/π_ref of a chosen response under PRO, of random pairs that fall, or rise, in its first
    step."""
    slopes = pro(alpha, kl_beta)
    G = rng.normal(size=(400 * PRO_PAIRS, n, SHARED))
    begun = next(path(slopes, G, OWN, np.full(len(G), 1e-6)))[:, 0]
    mine = G[(begun < 0.0) == (first == "falls")][:PRO_PAIRS]
    L = 0.25 * alpha / n * kl_beta**2 * np.linalg.norm(whole(mine, OWN), ord=2, axis=(1, 2)) ** 2
    moved = last(islice(path(slopes, mine, OWN, 1.0 / L), PRO_STEPS))
    return Estimate(float(moved[:, 0].min()), n=len(mine))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "P16.displaced": displaced,
    "P16.accuracy": accuracy,
    "P16.slope": path_slope,
    "P16.ahead": ahead,
    "P16.returned": returned,
    "P16.pro_level": pro_level,
}
