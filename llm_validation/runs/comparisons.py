"""What a model learns from users' comparisons: the objectives of RLHF, DPO and NLHF, and the law each should end with.

    RLHF    max_π E_π[r] − λ KL(π‖π_ref) for a reward r, by exact expectations or by REINFORCE with a leave-one-out
            baseline on samples
    DPO     on the comparisons themselves
    NLHF    self-play on the empirical win rates, max_π min_π′ of E[P(y≻y′)] − ½ with the KL of both at weight λ

Predictions start from the measured reference and the drawn comparisons. Off the catalogue a response is given the
lowest reward of its prompt, and loses every comparison: an explicit choice, without which off would be free.

Shapes: P prompts, A responses, off last; B samples per prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from simulate.montecarlo import generator
from simulate.users import sample_comparisons
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.policy import nash, rewards
from theory.policy.kl_ball import kl
from theory.validate import Array

#: Samples per prompt and step where expectations are sampled.
SAMPLES = 32


@dataclass(frozen=True, eq=False)
class Situation:
    """One prompt: its users, the comparisons drawn from them, and the weights of the KL term.

    win_rates, pair_weights  (A, A) empirical
    tau                      KL budget against which distortion is measured (inf: all policies)
    """

    name: str
    population: Population
    bt_beta: float
    win_rates: Array
    pair_weights: Array
    tau: float

    @classmethod
    def drawn(
        cls, name: str, population: Population, bt_beta: float, users: int, rng: np.random.Generator,
        pair_weights: Array | None = None, tau: float = math.inf,
    ) -> Situation:  # fmt: skip
        """One comparison of each of so many users, of uniform pairs where nothing else is said."""
        A = population.utilities.shape[1]
        law = product_pairs(np.full(A, 1.0 / A)) if pair_weights is None else pair_weights
        found = sample_comparisons(population, bt_beta, law, users, rng=rng)
        return cls(name, population, bt_beta, found.win_rates(), found.pair_weights(), tau)


# Predictions: the policy (A + 1,) that each method should end with.


def predicted_rlhf(s: Situation, log_reference: Array, weight: float, clip: float | None = None) -> Array:
    """π_ref·exp(r/λ)/Z over responses and off, r the maximum-likelihood reward, off at the lowest."""
    r = fit_rewards(s.win_rates, s.pair_weights).rewards
    r = r if clip is None else rewards.clip_rewards(r, clip_level(r, clip))
    return rewards.rlhf_penalty(np.append(r, r.min()), None, weight, log_reference=log_reference)


def clip_level(r: Array, part: float) -> float:
    """`part` of the largest centred reward in absolute value."""
    return part * float(np.abs(r - r.mean()).max())


def predicted_nlhf(s: Situation, log_reference: Array, weight: float) -> Array:
    """The regularised equilibrium over responses and off, which loses every comparison."""
    return nash.nlhf_regularized(with_off(s.win_rates), None, weight, log_reference=log_reference).policy


def with_off(win_rates: Array) -> Array:
    """Win rates (A + 1, A + 1): off loses to every response."""
    A = len(win_rates)
    P = np.full((A + 1, A + 1), 0.5)
    P[:A, :A], P[:A, A], P[A, :A] = win_rates, 1.0, 0.0
    return P


def boundary_weight(predict: Callable[[float], Array], log_reference: Array, budget: float) -> float:
    """The weight λ at which the predicted policy is at KL `budget` from the reference (D10: one family)."""

    def excess(log_weight: float) -> float:
        return kl(predict(float(np.exp(log_weight))), np.exp(log_reference)) - budget

    return float(np.exp(brentq(excess, np.log(1e-3), np.log(1e3), xtol=1e-8)))


# Objectives of log π, mean over prompts.


@dataclass(frozen=True, eq=False)
class Annealed:
    """1/λ_t (P, 1) per step: λ falls from the payoffs' spread to its value over the first half of training.

    The exact gradient of E_π[r] − λKL with respect to log π(y) is proportional to π(y): a response that the first steps
    crush comes back too slowly to be seen. At λ as large as the payoffs nothing is crushed.

    inverse  (P, 1) 1/λ;  start  (P, 1) λ_0/λ ≥ 1;  half  the steps that the fall takes
    """

    inverse: Tensor
    start: Tensor
    half: float

    def at(self, step: int) -> Tensor:
        return self.inverse * self.start ** -max(0.0, 1.0 - step / self.half)


def annealed(reference: Reference, weights: Array, spreads: Array) -> Annealed:
    """The annealing of KL weights (P,) for payoffs that range over `spreads` (P,) in each prompt."""
    start = np.maximum(1.0, spreads / weights)
    return Annealed(
        reference.tensor(1.0 / weights)[:, None], reference.tensor(start)[:, None], 0.5 * reference.schedule.steps
    )


def penalty_objective(reference: Reference, rewards: Array, weights: Array) -> Callable[[int, Tensor], Tensor]:
    """−(E_π[r]/λ − KL(π‖π_ref)), mean over prompts, exact; rewards (P, A) get off at the lowest of each prompt."""
    r = reference.tensor(np.column_stack([rewards, rewards.min(axis=1)]))
    ref, weight = reference.logs, annealed(reference, weights, np.ptp(rewards, axis=1))

    def objective(step: int, logs: Tensor) -> Tensor:
        return -(logs.exp() * (weight.at(step) * r - logs + ref)).sum(-1).mean()

    return objective


def sampled_objective(
    reference: Reference, payoff: Callable[[Tensor, Tensor], Tensor], weights: Array, spreads: Array, name: str
) -> Callable[[int, Tensor], Tensor]:
    """REINFORCE with a leave-one-out baseline (RLOO): B samples per prompt from the current policy.

    payoff   (samples (P, B), log π (P, A + 1)) → their payoffs (P, B), without gradient
    The payoff is over λ and less the log-ratio of the whole response, so that its expectation is the exact objective's.
    """
    ref, weight = reference.logs, annealed(reference, weights, spreads)
    source = torch.Generator(device=reference.device).manual_seed(int(generator(reference.seed, name).integers(2**31)))

    def objective(step: int, logs: Tensor) -> Tensor:
        law = logs.detach().exp()
        drawn = torch.multinomial(law, SAMPLES, replacement=True, generator=source)
        ratio = (logs.detach() - ref).gather(1, drawn)
        value = payoff(drawn, logs.detach()) * weight.at(step) - ratio
        baseline = (value.sum(1, keepdim=True) - value) / (SAMPLES - 1)
        return -((value - baseline) * logs.gather(1, drawn)).mean()

    return objective


def nash_objective(reference: Reference, win_rates: Array, weights: Array) -> Callable[[int, Tensor], Tensor]:
    """Self-play: −(E_{y∼π, y′∼π′}[P(y≻y′)] − ½)/λ + KL(π‖π_ref), π′ the current policy without gradient, exact.

    At a fixed point π is a best response to itself in the regularised game, which is its equilibrium.
    """
    margin = reference.tensor(np.stack([with_off(P) - 0.5 for P in win_rates]))
    ref, weight = reference.logs, annealed(reference, weights, np.full(len(weights), 0.5))

    def objective(step: int, logs: Tensor) -> Tensor:
        against = weight.at(step) * torch.einsum("pxy,py->px", margin, logs.detach().exp())
        return -(logs.exp() * (against - logs + ref)).sum(-1).mean()

    return objective


def pair_objective(
    loss: Callable[..., Tensor], reference: Reference, chosen: Any, rejected: Any, **options: Any
) -> Callable[[int, Tensor], Tensor]:
    """A loss of pairs on responses by their index, a number or a vector, of every prompt."""
    ref = reference.logs
    return lambda _, logs: loss(logs[:, chosen], logs[:, rejected], ref[:, chosen], ref[:, rejected], **options)


def comparison_objective(
    loss: Callable[..., Tensor], reference: Reference, prompts: list[Situation], kl_betas: Array
) -> Callable[[int, Tensor], Tensor]:
    """A loss of pairs on all comparisons of all prompts at once: weights Q·P̂ on ordered pairs (winner, loser)."""
    wins, loses = torch.where(~torch.eye(reference.n_responses, dtype=torch.bool, device=reference.device))
    mass = reference.tensor(np.stack([2.0 * s.pair_weights * s.win_rates for s in prompts]) / len(prompts))
    betas = reference.tensor(kl_betas)[:, None]
    return pair_objective(loss, reference, wins, loses, kl_beta=betas, weight=mass[:, wins, loses])
