"""The reward model of RLHF: the reference transformer with a scalar head, fitted to comparisons.

The head reads the state at the last token before EOS of a response, on the packed prefix tree, and training minimises
the Bradley–Terry negative log-likelihood of all comparisons at once,

    −Σ_prompts Σ_{x,y} Q(x,y) P̂(x≻y) log σ(r(x) − r(y)),

which in the population limit is the fit of `theory.bradley_terry.fit_rewards`. On the worst-case instances some
responses take part in one comparison in five hundred, and their rewards would hardly move. So each score (minus the
gradient)

    s(x) = Σ_y Q(x,y) (P̂(x≻y) − σ(r(x) − r(y)))

is divided by m(x) = Σ_y Q(x,y), and centred over responses (a common shift of rewards means nothing), before it goes
back through the transformer. Both vanish at the same rewards: if s/m is one constant c, Σ_x s(x) = 0 = c·Σ_x m(x).
Shapes: P prompts, A responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from llm_validation.catalogue.reference import Reference
from simulate.montecarlo import generator
from theory.validate import Array

#: Standard deviation of the head's first weights: small, so that first rewards are nearly equal.
HEAD_SPREAD = 0.02
#: The reward model's learning rate and steps, relative to the schedule's. The policy divides its errors by a KL weight
#: of a few hundredths, so that an error of 10⁻³ in a reward would show.
RATE_FACTOR, LENGTH_FACTOR = 2.0, 2


@dataclass(frozen=True, eq=False)
class FittedRewards:
    """Rewards (P, A) of the trained reward model, the largest of each prompt 0, and its loss along training."""

    rewards: Array
    loss: Array


def fit_reward_model(
    reference: Reference, win_rates: Array, pair_weights: Array, *, longer: int = LENGTH_FACTOR
) -> FittedRewards:
    """Train on win rates and pair laws (P, A, A) of every prompt, each prompt with the same weight.

    Rewards of a prompt are fixed up to a constant only.

    longer  steps, relative to the schedule's
    """
    mass = pair_weights * (1.0 - np.eye(reference.n_responses))
    mass = mass / mass.sum(axis=(1, 2), keepdims=True)
    weight, rates, pairs = (
        reference.tensor(2.0 * mass * win_rates / len(mass)),
        reference.tensor(win_rates),
        reference.tensor(mass),
    )
    held = pairs.sum(-1)

    def objective(_: int, rewards: Tensor) -> Tensor:
        gaps = rewards[:, :, None] - rewards[:, None, :]
        with torch.no_grad():
            loss = -(weight * logsigmoid(gaps)).sum()
            score = (pairs * (rates - torch.sigmoid(gaps))).sum(-1) / held
            score = score - score.mean(-1, keepdim=True)
        surrogate = -(score * rewards).sum(-1).mean()
        return loss + surrogate - surrogate.detach()  # the value of one, the gradient of the other

    schedule = reference.schedule.slower(RATE_FACTOR).longer(longer)
    trained = reference.train(objective, "reward model", schedule=schedule, head=_first_head(reference))
    rewards = trained.path[-1]
    return FittedRewards(rewards - rewards.max(axis=1, keepdims=True), trained.loss)


def _first_head(reference: Reference) -> Tensor:
    """The scalar head (H,) before training."""
    source = torch.Generator().manual_seed(int(generator(reference.seed, "reward head").integers(2**31)))
    return (HEAD_SPREAD * torch.randn(reference.width, generator=source)).to(reference.device)
