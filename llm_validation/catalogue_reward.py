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
from torch.nn.functional import logsigmoid

from llm_validation.lab import Lab
from llm_validation.model import autocast
from llm_validation.prefix_trie import PrefixTrie, node_states
from llm_validation.train import TrainingDiverged
from simulate.montecarlo import generator
from theory.checks import Array

#: Standard deviation of the head's first weights: small, so that first rewards are nearly equal.
HEAD_SPREAD = 0.02
#: The reward model's learning rate and steps, relative to the schedule's. The policy divides its errors by a KL weight
#: of a few hundredths, so that an error of 10⁻³ in a reward would show.
RATE_FACTOR, LENGTH_FACTOR = 2.0, 2


@dataclass(frozen=True, eq=False)
class RewardModel:
    """Rewards (P, A) of the trained reward model, the largest of each prompt 0, and its loss along training."""

    rewards: Array
    loss: Array


def last_nodes(trie: PrefixTrie) -> torch.Tensor:
    """(P, A) the inner node from which each response's EOS is predicted: its whole text has been read there."""
    none = trie.edge.shape[0]
    length = (trie.response != none).sum(1)
    last = trie.response.gather(1, (length - 1)[:, None])[:, 0]
    return trie.edge[last, 0].view(trie.n_prompts, trie.n_responses)


def fit_reward_model(lab: Lab, win_rates: Array, pair_weights: Array) -> RewardModel:
    """Train on win rates and pair laws (P, A, A) of every prompt, each prompt with the same weight.

    Rewards of a prompt are fixed up to a constant only.
    """
    trie, model = lab.trie(), lab.model()
    mass = pair_weights * (1.0 - np.eye(lab.n_responses))
    mass = mass / mass.sum(axis=(1, 2), keepdims=True)
    weight, rates, pairs = lab.tensor(2.0 * mass * win_rates / len(mass)), lab.tensor(win_rates), lab.tensor(mass)
    held = pairs.sum(-1)
    hidden = model.get_output_embeddings().weight.shape[1]
    source = torch.Generator().manual_seed(int(generator(lab.seed, "reward head").integers(2**31)))
    head = (HEAD_SPREAD * torch.randn(hidden, generator=source)).to(lab.device).requires_grad_()
    weights, last = [*model.base_model.parameters(), head], last_nodes(trie)
    schedule = lab.schedule.slower(RATE_FACTOR).longer(LENGTH_FACTOR)
    optimiser = torch.optim.AdamW(weights, lr=schedule.rate, weight_decay=0.0, fused=True)
    history = []
    for step in range(schedule.steps):
        with autocast(lab.device):
            rewards = (node_states(model, trie)[last].float() * head).sum(-1)
        gaps = rewards[:, :, None] - rewards[:, None, :]
        with torch.no_grad():
            loss = -(weight * logsigmoid(gaps)).sum()
            score = (pairs * (rates - torch.sigmoid(gaps))).sum(-1) / held
            score = score - score.mean(-1, keepdim=True)
        optimiser.zero_grad(set_to_none=True)
        (-(score * rewards).sum(-1).mean()).backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, schedule.clip)
        if not torch.isfinite(loss + norm):
            raise TrainingDiverged(f"reward model: step {step} has loss {loss.item()} and gradient norm {norm.item()}")
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step)
        optimiser.step()
        history.append(float(loss))
    with torch.no_grad(), autocast(lab.device):
        rewards = (node_states(model, trie)[last].float() * head).sum(-1)
    fitted = rewards.double().cpu().numpy()
    return RewardModel(fitted - fitted.max(axis=1, keepdims=True), np.array(history))
