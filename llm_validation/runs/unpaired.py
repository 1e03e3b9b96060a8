"""Preferred and dispreferred responses of six prompts, and the losses that learn from them: data of V1–V7 and R1–R8.

The laws p⁺ and p⁻ are built from the measured reference, so that each prompt is in the situation its name says
(`llm_validation.claims.settings.UNPAIRED`); training and predictions see the same draws from them. Full-batch losses
are exact expectations over those draws: every response once, its frequency as the weight.

Shapes: P prompts, A responses, off last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.train import Trained
from llm_validation.claims.settings import RDRO_ALPHA, UNPAIRED
from llm_validation.losses.pairs import dpo
from llm_validation.losses.table import LOSSES
from simulate.montecarlo import generator
from theory.density_ratio.limits import bradley_terry_rates, comparison_laws, cyclic_rates
from theory.density_ratio.policies import constrained_optimum
from theory.divergences.losses import estimated_divergence, find_loss
from theory.divergences.policies import aligned_policy, fixed_constant_optimum
from theory.validate import Array

#: Places of the six prompts on the shared catalogue.
UNPAIRED_PROMPTS = slice(10, 16)
#: Draws per prompt and class behind the full-batch data, and behind held-out estimates.
DRAWS, HELD_OUT = 10**6, 20_000
#: Win rate along the cycle, and how far log-ratios of the designed laws spread.
CYCLE_RATE, SPREAD = 0.9, 0.8


@dataclass(frozen=True, eq=False)
class Classes:
    """Laws of chosen and rejected responses (P, A): the true ones, and those of the draws that training sees."""

    chosen_law: Array
    rejected_law: Array
    chosen: Array
    rejected: Array

    def part(self, prompts: list[int]) -> Classes:
        return Classes(*(law[prompts] for law in (self.chosen_law, self.rejected_law, self.chosen, self.rejected)))

    def pooled(self, fraction: float) -> Classes:
        """Twice the masses that a mean over all examples gives, where this fraction of them are chosen (R5)."""
        return replace(self, chosen=2.0 * fraction * self.chosen, rejected=2.0 * (1.0 - fraction) * self.rejected)

    @property
    def with_off(self) -> Iterator[tuple[Array, Array]]:
        """The drawn laws (A + 1,) of every prompt over responses and off, which neither class holds."""
        return ((np.append(p, 0.0), np.append(q, 0.0)) for p, q in zip(self.chosen, self.rejected, strict=True))


def cycle(n: int) -> Array:
    """Intransitive win rates (n, n): Bradley–Terry rewards from 1.5 down to −1.5, but the first three form a cycle."""
    rates = bradley_terry_rates(np.linspace(1.5, -1.5, n))
    rates[:3, :3] = cyclic_rates(3, CYCLE_RATE)
    return rates


def laws(name: str, reference: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """(p⁺, p⁻) of one prompt, each (A,), for a measured reference (A,)."""
    u = rng.uniform(-1.0, 1.0, reference.size)
    if name == "on_rejected":
        return _normal(reference * np.exp(SPREAD * u)), reference
    if name == "on_mixture":
        score = 0.6 * (u - reference @ u) / np.abs(u - reference @ u).max()
        return reference * (1.0 + score), reference * (1.0 - score * RDRO_ALPHA / (1.0 - RDRO_ALPHA))
    if name == "cycle":
        return comparison_laws(cycle(reference.size), reference)
    if name == "cycle_losers":
        return comparison_laws(cycle(reference.size), sampled_law(reference))
    p = _normal(0.4 / reference.size + rng.dirichlet(np.full(reference.size, 4.0)))
    q = _normal(p * np.exp(-SPREAD * u))
    if name == "never_rejected":  # and preferred often, so that DDRO's ratio can pass 1/α before π reaches one
        p, q[0] = _normal(p + 0.6 * (np.arange(p.size) == 0)), 0.0
        q = _normal(q)
    return p, q


def sampled_law(losers: Array) -> Array:
    """The law μ (A,) of compared responses whose losers' law under `cycle` is `losers`: 2μ(x) Σ_y μ(y) P(y≻x)."""
    P, mu = cycle(losers.size), losers
    for _ in range(500):
        mu = _normal(losers / (P.T @ mu))
    worst = float(np.abs(comparison_laws(P, mu)[1] - losers).max())
    if worst > 1e-10:
        raise ValueError(f"no law of compared responses has these losers: the iteration is {worst:.1e} off")
    return mu


def _normal(masses: Array) -> Array:
    return masses / masses.sum()


def draw(reference: Reference, n: int = DRAWS, what: str = "unpaired", *, at_least: int = 0) -> Classes:
    """The classes of every prompt, n draws each; `at_least` so many of each response (small data sets)."""
    built = [
        laws(name, reference.on_catalogue[p], generator(reference.seed, "laws", name))
        for p, name in enumerate(UNPAIRED)
    ]
    p, q = (np.array(side) for side in zip(*built, strict=True))
    rng = generator(reference.seed, what)
    free = n - at_least * reference.n_responses
    return Classes(p, q, (rng.multinomial(free, p) + at_least) / n, (rng.multinomial(free, q) + at_least) / n)


def expectation(
    reference: Reference, classes: Classes, name: str, kl_beta: float, shift: Tensor | None = None
) -> Callable:
    """The full-batch objective of a loss: exact expectations over the drawn classes, prompts with equal weight.

    name   a key of `theory.divergences.losses.LOSSES`, or "rdro", "rdro_pooled"
    shift  (P,) constants δ, trained together with the model
    """
    P, A = classes.chosen.shape
    p, q = (reference.tensor(law / P).ravel() for law in (classes.chosen, classes.rejected))
    prompt = torch.arange(P, device=reference.device).repeat_interleave(A)
    ref = reference.logs[:, :-1].ravel()
    present = (p > 0).nonzero()[:, 0], (q > 0).nonzero()[:, 0]  # 0 · ∞ of a response that was never drawn

    def objective(_: int, logs: Tensor) -> Tensor:
        flat = logs[:, :-1].reshape(-1)
        if name == "dpo":
            return _independent_pairs(reference, classes, logs, kl_beta)
        one, two = present
        sides = flat[one], flat[two], ref[one], ref[two]
        weights = {"chosen_weight": p[one], "rejected_weight": q[two]}
        moved = {} if shift is None else {"chosen_shift": shift[prompt[one]], "rejected_shift": shift[prompt[two]]}
        return call(name, sides, weights, moved, kl_beta, (prompt[one], prompt[two]))

    return objective


# What losses lead to, from the measured reference and the drawn classes.


def constrained_policies(
    reference: Reference, classes: Classes, alpha: float | None = None, chosen_fraction: float | None = None
) -> Array:
    """DDRO's optima (P, A + 1), RDRO's with `alpha`, off last; of pooled batches with this fraction of chosen ones."""
    return np.stack([
        constrained_optimum(*laws, alpha=alpha, chosen_fraction=chosen_fraction, log_reference=log_reference).policy
        for laws, log_reference in zip(classes.with_off, reference.log_law, strict=True)
    ])  # fmt: skip


def fixed_constant_policies(reference: Reference, classes: Classes, name: str) -> Array:
    """Optima (P, A + 1) of a loss whose constant is fixed at 0, kl_beta 1, off last."""
    return np.stack([
        fixed_constant_optimum(name, *laws, None, 1.0, log_reference=log_reference).policy
        for laws, log_reference in zip(classes.with_off, reference.log_law, strict=True)
    ])  # fmt: skip


def aligned_policies(reference: Reference, classes: Classes, name: str, kl_beta: float) -> Array:
    """Where a loss leads whose constant is fitted: ∝ π_ref·h(R) (P, A) on the catalogue."""
    laws = zip(classes.chosen, classes.rejected, reference.on_catalogue, strict=True)
    return np.stack([aligned_policy(name, p, q, own, kl_beta).policy for p, q, own in laws])


def train_fitted(
    reference: Reference, classes: Classes, name: str, kl_beta: float, title: str, **how: Any
) -> tuple[Trained, Array]:
    """Train a loss with a constant per prompt of its own, and the rewards (P, A) that it ends with, less those.

    how  what else `Reference.train` takes
    """
    P = len(classes.chosen)
    shift = None if find_loss(name).shift_free else torch.zeros(P, requires_grad=True, device=reference.device)
    objective = expectation(reference, classes, name, kl_beta, shift)
    trained = reference.train(objective, title, extra=[] if shift is None else [shift], **how)
    constants = trained.extra[0] if trained.extra else np.zeros(P)
    return trained, kl_beta * (trained.log_policy - reference.log_law)[:, :-1] - constants[:, None]


def read_off(name: str, rewards: Array, p: Array, q: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """The divergence (P,) that held-out draws from p and q (P, A) read off rewards; the standard error of its mean.

    The error is that of the draws, by the loss's influence function. Theory's float64 loss is evaluated at the trained
    model's rewards: training and measuring share no code.
    """
    loss, values, variances = find_loss(name), [], []
    for r, chosen, rejected in zip(rewards, p, q, strict=True):
        held = [rng.multinomial(HELD_OUT, law) / HELD_OUT for law in (chosen, rejected)]
        values.append(estimated_divergence(name, loss.value(r, *held)))
        parts = zip(held, loss.influence(r, *held), strict=True)
        variances.append(sum(float(law @ v**2 - (law @ v) ** 2) for law, v in parts) / HELD_OUT)
    return np.array(values), float(np.sqrt(sum(variances))) / len(variances) / loss.scale


def call(
    name: str,
    sides: tuple[Tensor, Tensor, Tensor, Tensor],
    weights: dict[str, Any],
    shifts: dict[str, Any],
    kl_beta: float,
    prompts: tuple[Tensor, Tensor],
) -> Tensor:
    """One unpaired loss by name, with those options that it takes; a name that is no loss is an FDO generator."""
    known = {"kl_beta": kl_beta, "alpha": RDRO_ALPHA, "generator": name, **weights, **shifts,
             "chosen_prompt": prompts[0], "rejected_prompt": prompts[1]}  # fmt: skip
    loss = LOSSES["rdro" if name == "rdro_pooled" else name if name in LOSSES else "fdo"].function
    taken = signature(loss).parameters
    return loss(*sides, **{option: value for option, value in known.items() if option in taken})


def _independent_pairs(reference: Reference, classes: Classes, logs: Tensor, kl_beta: float) -> Tensor:
    """DPO on all pairs y_w ~ p̂⁺, y_l ~ p̂⁻, drawn independently of each other: V4's setting."""
    P, A = classes.chosen.shape
    weight = reference.tensor(classes.chosen[:, :, None] * classes.rejected[:, None, :] / P)
    on, ref = logs[:, :-1], reference.logs[:, :-1]
    chosen, rejected = (x.expand(P, A, A) for x in (on[:, :, None], on[:, None, :]))
    ref_chosen, ref_rejected = (x.expand(P, A, A) for x in (ref[:, :, None], ref[:, None, :]))
    return dpo(chosen, rejected, ref_chosen, ref_rejected, kl_beta=kl_beta, weight=weight)
