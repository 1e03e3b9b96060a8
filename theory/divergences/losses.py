"""Alignment losses as divergence estimators: population value, minimum and minimiser of every loss.

D⁺ = p and D⁻ = q are the laws of preferred and dispreferred responses, R = p/q, r = kl_beta·log(π/π_ref) the
implicit reward, here any function on A outcomes (a normalised policy restricts it: `theory.divergences.policies`).

| name      | loss                                     | minimum                | minimiser |
|-----------|------------------------------------------|------------------------|-----------|
| kldo      | −E₊[r] + log E₋[eʳ]                      | −KL(p‖q)               | log R + c |
| dpo       | −E log σ(r(y_w) − r(y_l)), y_w~p, y_l~q  | log 2 − JS(p⊗q, q⊗p)   | log R + c |
| kto       | E₊[σ(−r)] + E₋[σ(r)]                     | 1 − TV(p, q)           | ±∞        |
| bco, ddro | E₊[sp(−r)] + E₋[sp(r)]                   | 2 log 2 − 2JS(p, q)    | log R     |
| hellinger | E₊[e^{−r/2}] + E₋[e^{r/2}]               | 2Σ√(pq)                | log R     |
| generator | −E₊[g(r)] + E₋[f*(g(r))], `theory.divergences.generators`   | −D_f(p‖q)              | g⁻¹(f'(R))|

KTO has weights 1. Free constants stand at 0: KTO's z₀, BCO's δ and c; a shifted loss is the loss at r − δ. A pair
for DPO is two independent draws. The minimum of `dpo` is ours (`paper/sections/divergences_proofs.tex`), that of `ddro`
is in Higuchi, Suzuki (arXiv 2505.07558), the rest in Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), sections 3 and
4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp

from theory.divergences.by_generator import resolve
from theory.divergences.generators import (
    GENERATORS,
    LOG2,
    Elementwise,
    Generator,
    Infinite,
    divergence_of_masses,
    identity,
    log_ratio,
)
from theory.validate import Array, as_numbers, as_vector, check_between, check_laws

_HALDAR = "Haldar et al. (arXiv 2502.00657)"


@dataclass(frozen=True, eq=False)
class Parts:
    """ℓ₊ and ℓ₋ of a loss E₊[ℓ₊(r)] + E₋[ℓ₋(r)], with their derivatives; elementwise, r = ±inf included."""

    positive: Elementwise
    negative: Elementwise
    positive_slope: Elementwise
    negative_slope: Elementwise


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss in the population limit.

    feedback   "unpaired": labelled single responses; "pairs": a preferred and a dispreferred one together
    source     where it comes from
    influence  (r, p, q) → (∂L/∂p (A,), ∂L/∂q (A,)) at fixed r: what one more draw adds to the loss
    value      (r, p, q) → L
    gradient   (r, p, q) → ∂L/∂r (A,)
    divergence (p, q) → D, the divergence that it estimates
    offset     minimum over all r = offset − scale·D
    scale      > 0
    optimum    log R → the minimiser, ±inf where it is not attained
    generator  of D, where D is D_f(p‖q) (not for dpo)
    shift_free True if L(r + c) = L(r)
    parts      ℓ₊ and ℓ₋ where the loss has that form
    """

    name: str
    feedback: Literal["unpaired", "pairs"]
    source: str
    influence: Callable[[Array, Array, Array], tuple[Array, Array]]
    value: Callable[[Array, Array, Array], float]
    gradient: Callable[[Array, Array, Array], Array]
    divergence: Callable[[Array, Array], float]
    offset: float
    scale: float
    optimum: Elementwise
    generator: Generator | None = None
    shift_free: bool = False
    parts: Parts | None = None

    def minimum(self, p: Array, q: Array) -> float:
        """offset − scale·D(p, q); an infinite D keeps its reason. No checks."""
        value = self.divergence(p, q)
        return -value if isinstance(value, Infinite) else self.offset - self.scale * value


def population_loss(name: str | Generator | Elementwise, r: ArrayLike, p: ArrayLike, q: ArrayLike) -> float:
    """The population value of an alignment loss at the rewards r: exact expectations over D⁺ = p and D⁻ = q.

    Parameters
    ----------
    name : str, Generator or callable
        One of `LOSSES` (kldo, dpo, kto, bco, ddro, hellinger, a generator's name), "alpha:0.5", a generator or f (FDO).
    r : array_like, (A,)
        Implicit rewards kl_beta·log(π/π_ref); ±inf allowed (where a minimiser lies there).
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.

    Returns
    -------
    float
        Nats for the KL family; inf where a cost leaves float64, as that of r = 1000 in `kl`, however rare the outcome.

    Raises
    ------
    ValueError
        What is not a law, no such loss, NaN in r, or a loss that is ∞ − ∞.

    References
    ----------
    Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), sections 3 and 4; the table in `theory.divergences.losses`.

    Examples
    --------
    >>> from theory.divergences import population_loss
    >>> round(population_loss("bco", [0.0, 0.0], [0.75, 0.25], [0.25, 0.75]), 6)  # 2 log 2
    1.386294
    """
    p, q = check_laws(p, q)
    return find_loss(name).value(_as_rewards(r, p.size), p, q)


def loss_gradient(name: str | Generator | Elementwise, r: ArrayLike, p: ArrayLike, q: ArrayLike) -> Array:
    """∂`population_loss`/∂r (A,), at a finite r."""
    p, q = check_laws(p, q)
    return find_loss(name).gradient(as_vector("r", r, p.size), p, q)


def minimum(name: str | Generator | Elementwise, p: ArrayLike, q: ArrayLike) -> float:
    """The least value of the loss over all functions r: offset − scale·D(p‖q) for the divergence D that it estimates.

    Parameters
    ----------
    name : str, Generator or callable
        As in `population_loss`.
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.

    Returns
    -------
    float
        −inf (`Infinite`, which names the outcome) where the divergence is infinite.

    Raises
    ------
    ValueError
        What is not a law, no such loss.

    References
    ----------
    Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657); `ddro` Higuchi, Suzuki (arXiv 2505.07558); `dpo` ours.

    Examples
    --------
    >>> from theory.divergences import kl, minimum
    >>> p, q = [0.75, 0.25], [0.25, 0.75]
    >>> minimum("kldo", p, q) == -kl(p, q)
    True
    """
    return find_loss(name).minimum(*check_laws(p, q))


def estimated_divergence(name: str | Generator | Elementwise, value: float) -> float:
    """The divergence that a minimum of the loss stands for, (offset − minimum)/scale: KL, TV, JS, H², D_f.

    Parameters
    ----------
    name : str, Generator or callable
        As in `population_loss`; for dpo the divergence is JS(p⊗q, q⊗p).
    value : float
        The minimum, in the unit of the loss, −∞ where it falls for ever; on data, the one found there.

    Returns
    -------
    float
        The divergence, in the unit of its generator.

    Raises
    ------
    ValueError
        No such loss; a value that is none, or +∞.

    References
    ----------
    Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), sections 3 and 4.

    Examples
    --------
    >>> from theory.divergences import estimated_divergence, minimum
    >>> estimated_divergence("kto", minimum("kto", [0.75, 0.25], [0.25, 0.75]))
    0.5
    """
    loss = find_loss(name)
    return (loss.offset - check_between("value", value, -math.inf, math.inf, ends="[)")) / loss.scale


def minimizer(name: str | Generator | Elementwise, p: ArrayLike, q: ArrayLike) -> Array:
    """The r at which the loss is least, free constants at 0 (δ = z₀ = c = 0): log R, ±∞, or g⁻¹(f'(R)), with R = p/q.

    Parameters
    ----------
    name : str, Generator or callable
        As in `population_loss`.
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.

    Returns
    -------
    ndarray, (A,)
        ±inf where the minimum is approached and not attained: outside the common support, and for KTO and TV by the
        sign of R − 1. An outcome that neither law reaches can have any r and gets the value of R = 1.

    Raises
    ------
    ValueError
        What is not a law, no such loss.

    References
    ----------
    Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), sections 3 and 4.

    Examples
    --------
    >>> from theory.divergences import minimizer
    >>> minimizer("kldo", [0.8, 0.2], [0.2, 0.8]).round(4), minimizer("kto", [0.8, 0.2], [0.2, 0.8])
    (array([ 1.3863, -1.3863]), array([ inf, -inf]))
    """
    p, q = check_laws(p, q)
    with np.errstate(over="ignore"):  # beyond float64: inf
        return np.asarray(find_loss(name).optimum(log_ratio(p, q)), dtype=np.float64)


def find_loss(name: str | Generator | Elementwise) -> Loss:
    """The entry of `LOSSES`, or the FDO loss of a generator that is not in it; ValueError lists the names."""
    if isinstance(name, str) and name in LOSSES:
        return LOSSES[name]
    try:
        return fdo_loss(resolve(name))
    except ValueError as error:
        if isinstance(name, str):
            raise ValueError(f"name = {name!r} is no loss; there are {', '.join(LOSSES)} and alpha:VALUE") from error
        raise


def fdo_loss(generator: Generator) -> Loss:
    """FDO: −E₊[g(r)] + E₋[f*(g(r))], minimum −D_f(D⁺‖D⁻) at g⁻¹(f'(R)) (arXiv 2502.00657, section 4)."""
    parts = Parts(
        positive=lambda r: -generator.link(r),
        negative=generator.cost,
        positive_slope=lambda r: -generator.link_slope(r),
        negative_slope=generator.cost_slope,
    )
    return _from_parts(generator.name, f"{_HALDAR}, FDO", parts, generator, 0.0, 1.0, generator.optimum)


def _from_parts(
    name: str, source: str, parts: Parts, generator: Generator, offset: float, scale: float, optimum: Elementwise
) -> Loss:
    def influence(r: Array, p: Array, q: Array) -> tuple[Array, Array]:
        return parts.positive(r), parts.negative(r)

    def value(r: Array, p: Array, q: Array) -> float:
        with np.errstate(over="ignore"):  # exp of a large reward is inf, and is meant to be
            return _sum_of(r, _mean(p, parts.positive(r)), _mean(q, parts.negative(r)))

    def gradient(r: Array, p: Array, q: Array) -> Array:
        return p * parts.positive_slope(r) + q * parts.negative_slope(r)

    def divergence(p: Array, q: Array) -> float:
        return divergence_of_masses(p, q, generator)

    return Loss(
        name, "unpaired", source, influence, value, gradient, divergence, offset, scale, optimum, generator, parts=parts
    )


def _mean(weights: Array, values: Array) -> float:
    """Σ weights·values, an outcome of weight 0 contributing nothing even where its value is infinite."""
    present = weights > 0
    with np.errstate(invalid="ignore"):  # +inf and −inf together: NaN, which `_sum_of` reports
        return float(np.sum(weights[present] * np.broadcast_to(values, weights.shape)[present]))


def _sum_of(r: Array, *terms: float) -> float:
    with np.errstate(invalid="ignore"):
        total = float(np.sum(terms))
    if math.isnan(total):
        i = int(np.flatnonzero(~np.isfinite(r))[0]) if not np.isfinite(r).all() else int(np.abs(r).argmax())
        raise ValueError(f"the loss is ∞ − ∞: r[{i}] = {r[i]}")
    return total


def _as_rewards(r: ArrayLike, size: int) -> Array:
    rewards = as_numbers("r", r)
    if rewards.shape != (size,):
        raise ValueError(f"r must have shape ({size},), got {rewards.shape}")
    if np.isnan(rewards).any():
        raise ValueError(f"r[{int(np.flatnonzero(np.isnan(rewards))[0])}] is NaN")
    return rewards


# KLDO: the Donsker–Varadhan form of KL.


def _kldo_normaliser(r: Array, q: Array) -> float:
    """log E₋[eʳ]"""
    return float(logsumexp(r[q > 0], b=q[q > 0]))


def _kldo_influence(r: Array, p: Array, q: Array) -> tuple[Array, Array]:
    return -r, np.exp(r - _kldo_normaliser(r, q))


def _kldo_value(r: Array, p: Array, q: Array) -> float:
    return _sum_of(r, -_mean(p, r), _kldo_normaliser(r, q))


def _kldo_gradient(r: Array, p: Array, q: Array) -> Array:
    return -p + q * np.exp(r - _kldo_normaliser(r, q))


# DPO on independent pairs.


def _dpo_table(r: Array) -> Array:
    """sp(−(r_i − r_j)) for winner i and loser j; 0.0 difference of an outcome with itself, infinite r included."""
    with np.errstate(invalid="ignore"):
        margins = r[:, None] - r[None, :]  # NaN between two outcomes at the same infinity
        np.fill_diagonal(margins, 0.0)
        return np.logaddexp(0.0, -margins)


def _dpo_influence(r: Array, p: Array, q: Array) -> tuple[Array, Array]:
    losses = _dpo_table(r)
    return losses @ q, p @ losses


def _dpo_value(r: Array, p: Array, q: Array) -> float:
    return _sum_of(r, _mean(np.outer(p, q).ravel(), _dpo_table(r).ravel()))


def _dpo_gradient(r: Array, p: Array, q: Array) -> Array:
    pushes = np.outer(p, q) * expit(r[None, :] - r[:, None])
    return pushes.sum(axis=0) - pushes.sum(axis=1)


def _dpo_divergence(p: Array, q: Array) -> float:
    """JS(p⊗q, q⊗p)"""
    pairs = np.outer(p, q)
    return divergence_of_masses(pairs.ravel(), pairs.T.ravel(), GENERATORS["jensen_shannon"])


# Separable losses that are not written through a generator.

_LOGISTIC = Parts(
    positive=lambda r: np.logaddexp(0.0, -r),
    negative=lambda r: np.logaddexp(0.0, r),
    positive_slope=lambda r: -expit(-r),
    negative_slope=expit,
)
_KTO = Parts(
    positive=lambda r: expit(-r),
    negative=expit,
    positive_slope=lambda r: -expit(r) * expit(-r),
    negative_slope=lambda r: expit(r) * expit(-r),
)
_HELLINGER = Parts(
    positive=lambda r: np.exp(-0.5 * r),
    negative=lambda r: np.exp(0.5 * r),
    positive_slope=lambda r: -0.5 * np.exp(-0.5 * r),
    negative_slope=lambda r: 0.5 * np.exp(0.5 * r),
)


_KL, _TV, _JS, _H2 = (GENERATORS[name] for name in ("kl", "total_variation", "jensen_shannon", "squared_hellinger"))


#: name → loss: the six named ones and FDO for every generator of `theory.divergences.generators`. A test walks it.
_ENTRIES: tuple[Loss, ...] = (
    Loss("kldo", "unpaired", f"{_HALDAR}, KLDO", _kldo_influence, _kldo_value, _kldo_gradient,
         lambda p, q: divergence_of_masses(p, q, _KL), 0.0, 1.0, identity, _KL, shift_free=True),
    Loss("dpo", "pairs", "Rafailov et al. (arXiv 2305.18290); minimum ours", _dpo_influence, _dpo_value,
         _dpo_gradient, _dpo_divergence, LOG2, 1.0, identity, shift_free=True),
    _from_parts("kto", f"{_HALDAR}; KTO", _KTO, _TV, 1.0, 1.0, _TV.optimum),
    _from_parts("bco", f"{_HALDAR}; BCO", _LOGISTIC, _JS, 2.0 * LOG2, 2.0, identity),
    _from_parts("ddro", "Higuchi, Suzuki (arXiv 2505.07558)", _LOGISTIC, _JS, 2.0 * LOG2, 2.0, identity),
    _from_parts("hellinger", f"{_HALDAR}; Hellinger", _HELLINGER, _H2, 2.0, 1.0, identity),
    *(fdo_loss(generator) for generator in GENERATORS.values()),
)  # fmt: skip
#: Every loss by name, in the population limit, with its minimum, its minimiser and the divergence that it estimates.
LOSSES: dict[str, Loss] = {loss.name: loss for loss in _ENTRIES}
