"""RLHF on preferences: a reward model of the pairs, then the policy that earns most at some distance.

    1  r_φ by the Bradley–Terry likelihood of the pairs (`llm_validation.rewards.model.train_reward_model`), or given
    2  max over π of  E_x E_{y ~ π(·|x)} [ r_φ(x, y) − kl_beta·log π(y|x)/π_ref(y|x) ]

over the prompts x of the data and answers y of at most `tokens` tokens; one that is cut off there has the reward of
what is written. The gradient is REINFORCE's with a leave-one-out baseline among the k answers to a prompt, from fresh
answers in every step: unbiased, nothing is clipped or used twice (Ahmadian et al., arXiv 2402.14740). Where r_φ is the
reward that DPO implies, DPO at the same kl_beta has the same optimum; here the data's responses need not be listed.
Where they are to take the place of answers, the policy is held to them and the gradient is exact
(`llm_validation.preferences.listed`).

Shapes: B prompts of a step, k answers to each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch, Scorer, checked_scores
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.model import autocast
from llm_validation.preferences.data import Example, Preferences, prompt_batches
from llm_validation.preferences.listed import given_scores, listed, rlhf_objective
from llm_validation.preferences.objectives import PreferenceTraining
from llm_validation.preferences.resume import Checkpoint
from llm_validation.preferences.sequences import CompletionForward, completion_forward, log_probabilities
from llm_validation.preferences.trace import Mean, Tracer, Watch, answers, prompt_groups, put
from llm_validation.preferences.train import PreferenceRun, descend, run_of, train_on_preferences
from llm_validation.rewards.comparisons import comparisons_of
from llm_validation.rewards.model import RewardModel, RewardTraining, train_reward_model
from llm_validation.training.loop import trainable


@dataclass(frozen=True)
class Sampled:
    """kl_beta of the KL penalty; k ≥ 2 answers to a prompt, of `tokens` tokens at most, ended by one of `ends`.

    listed  whether the data's own responses take the place of answers
    """

    ends: tuple[int, ...]
    kl_beta: float = 0.1
    k: int = 4
    tokens: int = 32
    listed: bool = False

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k = {self.k} answers to a prompt: the baseline of one needs another")
        if not self.kl_beta > 0:
            raise ValueError(f"kl_beta = {self.kl_beta} must be positive: without KL the optimum is one answer")


@dataclass(frozen=True)
class Earned:
    """Rewards for held-out prompts, of the reference and of the trained model: of answers, or expected of a list."""

    before: Mean
    after: Mean


def fit_reward(
    model: Any, data: Preferences, held: Preferences, how: RewardTraining, seed: int
) -> tuple[RewardModel, Mean]:
    """A reward model of the pairs, and its accuracy on held-out pairs (a tie counts half)."""
    fitted = train_reward_model(model, comparisons_of(data), how, seed).model
    pairs = comparisons_of(held)
    margins = fitted.last_scores([pair.winner for pair in pairs]) - fitted.last_scores([pair.loser for pair in pairs])
    groups = prompt_groups(held)
    return fitted, Mean.of(np.heaviside(margins, 0.5), groups and groups[0])


def check_room(data: Preferences, how: Sampled, context: int) -> None:
    """ValueError names a line whose prompt leaves no room for an answer, before anything is trained."""
    for example in data.examples:
        if len(example.prompt) + how.tokens > context:
            raise ValueError(f"{data.source}, {data.where(example)}: a prompt of {len(example.prompt)} tokens, and "
                             f"with {how.tokens} more it is beyond the context of {context}")  # fmt: skip


def rewards_of(scorer: Scorer, examples: Sequence[Example]) -> np.ndarray:
    """Rewards (N,) of whole answers."""
    rows = np.arange(len(examples))
    prompts, responses = tuple(e.prompt for e in examples), tuple(e.completion for e in examples)
    return checked_scores(scorer, Batch(rows, tuple((i, 0) for i in rows.tolist()), prompts, responses, True))


@dataclass(eq=False)
class PolicyGradient:
    """The gradient of a step, and what was seen so far: the sum of rewards, the tokens of answers and prompts."""

    model: Any
    forward: CompletionForward
    prompts: Sequence[tuple[int, ...]]
    scorer: Scorer
    how: Sampled
    seed: int
    portion: int
    weights: tuple[Tensor, ...]
    total: float = 0.0
    count: int = 0

    def __call__(self, step: int, rows: np.ndarray) -> Tensor:
        """Leave the gradient in the weights; minus the mean of reward less penalty."""
        examples, rewards = self.sample([self.prompts[i] for i in rows], step)
        with put(trainable(self.model), self.weights):
            before = log_probabilities(self.model, self.forward, examples, self.portion)
        with torch.no_grad():
            now = log_probabilities(self.model, self.forward, examples, self.portion)
        net = torch.as_tensor(rewards).to(now) - self.how.kl_beta * (now - before)
        slopes = -advantages(net.view(-1, self.how.k)).reshape(-1) / len(examples)
        for first in range(0, len(examples), self.portion):
            part = slice(first, first + self.portion)
            with autocast(self.forward.device):
                logs = self.forward.rows(self.model, examples[part])
            logs.backward(slopes[part])
        self.total, self.count = self.total + float(rewards.sum()), self.count + sum(map(len, examples))
        return -net.mean()

    def sample(self, prompts: Sequence[tuple[int, ...]], step: int) -> tuple[list[Example], np.ndarray]:
        """k answers to each prompt, prompt after prompt, and their rewards: a function of the step and the weights."""
        how, draws = self.how, decoding_seed(self.seed, "rlhf", step)
        with autocast(self.forward.device):
            found = best_of_n(self.model, prompts, how.k, self.scorer, Sampling(how.tokens, how.ends), seed=draws)
        asked = (prompt for prompt in prompts for _ in range(how.k))
        return [Example(prompt, tokens, 0) for prompt, tokens in zip(asked, found.written, strict=True)], found.rewards


def advantages(net: Tensor) -> Tensor:
    """What each of k answers (B, k) is worth above the mean of the others to its prompt."""
    k = net.shape[1]
    return (net - net.mean(1, keepdim=True)) * (k / (k - 1))


def train_rlhf(
    model: Any,
    data: Preferences,
    scorer: Scorer | None,
    config: PreferenceTraining,
    how: Sampled,
    *,
    watch: Watch,
    context: int | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[PreferenceRun, Earned]:
    """Train `model` in place on the program of the module; its loss is minus the mean of reward less penalty.

    data    whose prompts are answered;  scorer  r_φ: rewards of a `Batch`;  config  its `batch` are prompts of a step
    ValueError where a prompt and an answer do not fit the context. Without a scorer the rewards of listed responses
    are the scores of the file.
    """
    if how.listed or scorer is None:
        kept: Any = {"watch": watch, "context": context, "checkpoint": checkpoint, "on_step": on_step}
        return _train_listed(model, data, scorer, config, how, watch.held, kept)
    prompts = list(dict.fromkeys(example.prompt for example in data.examples))
    epochs, numbers = range(config.epochs), np.arange(len(prompts))
    plan = [rows for e in epochs for rows, _ in prompt_batches(numbers, len(prompts), config.batch, config.seed, e)]
    model.eval()
    forward = completion_forward(model, data.chosen, data.rejected, share=False)
    size, texts = config.portion or config.batch, (*data.examples, *watch.held.examples)
    longest = context or max(map(len, texts)) + how.tokens
    tracer = Tracer.of(model, forward, watch, batch=size, seed=config.seed, context=longest)
    gradient = PolicyGradient(model, forward, prompts, scorer, how, config.seed, size, tracer.weights)
    history, trace = descend(
        model, plan, gradient, config, gradient, tracer, checkpoint, on_step,
        guard=lambda rows: f"prompts {rows[:8].tolist()} of {data.source}",
    )  # fmt: skip
    written = answers(model, watch, config.seed, "trained", longest)
    earned = Earned(*(Mean.of(rewards_of(scorer, some)) for some in (tracer.own, written)))
    return run_of(history, trace, gradient.count, 0.0, forward.layout), earned


def _train_listed(
    model: Any, data: Preferences, scorer: Scorer | None, config: PreferenceTraining, how: Sampled, held: Preferences,
    kept: Any,
) -> tuple[PreferenceRun, Earned]:  # fmt: skip
    """The same on listed responses, and what is earned on the held-out ones."""
    rewards = given_scores if scorer is None else lambda group: rewards_of(scorer, group.responses)
    objective = rlhf_objective(data, {"kl_beta": how.kl_beta}, config, rewards)
    groups, size = listed(held), config.portion or config.batch
    given = [rewards(group) for group in groups]
    model.eval()
    forward = completion_forward(model, held.chosen, held.rejected, share=False)

    def earned() -> Mean:
        logs = log_probabilities(model, forward, [e for group in groups for e in group.responses], size)
        parts = logs.double().cpu().split([len(r) for r in given])
        return Mean.of(np.array([float(p.softmax(0).numpy() @ r) for p, r in zip(parts, given, strict=True)]))

    before = earned()
    run = train_on_preferences(model, data, objective, config, **kept)
    return run, Earned(before, earned())
