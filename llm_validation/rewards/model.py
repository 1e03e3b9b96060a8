"""A reward model: the backbone of a pretrained language model and a linear head, read at any position of a text.

Trained on comparisons (winner, loser) by the Bradley–Terry likelihood, at the texts' ends and, by the same label, at
every length that both reach:

    loss = −½ log σ(s(winner) − s(loser)) − ½ mean_t log σ(s_t(winner) − s_t(loser)),

so that the score of a beginning is what it says about the comparison of the wholes. The network is causal: padding on
the right is never seen, and one pass gives the scores of all beginnings. `prefix_scorer.py` reads with a
cache.

Shapes: B rows, L tokens, C comparisons, M texts, J lengths.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel

from llm_validation.generation.cache import Rows
from llm_validation.generation.checks import check_positions
from llm_validation.generation.scorers import Batch
from llm_validation.model.checks import UNREADABLE
from llm_validation.model.folders import replacing
from llm_validation.model.model import autocast
from llm_validation.rewards.comparisons import Comparison, Text
from llm_validation.training.loop import minimise, of_loss
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import bootstrap, generator
from theory.validate import Array

WEIGHTS = "reward.safetensors"
#: Tokens that are read at a time where no cache is kept. On a CPU so few that what is computed of them stays in a
#: core's own memory, which takes half of the time.
TOKENS_AT_ONCE, ON_A_CPU = 1 << 15, 1 << 11


class RewardModel(nn.Module):
    """s_t = head(hidden state after t tokens): scores (B, L) of all beginnings of texts (B, L).

    Its method `score` is a scorer for `llm_validation.generation.decode` that reads every text from its beginning.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(_width(backbone), 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (B, L) of texts padded on the right."""
        return self.read(self.backbone(input_ids=tokens, use_cache=False).last_hidden_state)

    def read(self, states: Tensor) -> Tensor:
        """Scores (…) of hidden states (…, H): in float32 under autocast too, where a linear layer's would be bf16."""
        return (states.float() * self.head.weight[0]).sum(-1)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    @torch.inference_mode()
    def prefix_scores(self, texts: Sequence[Text]) -> list[Array]:
        """Scores after 1 … length tokens of each text."""
        found: list[Array] = []
        longest = max(map(len, texts), default=1)
        check_positions(self.backbone.config, min(map(len, texts), default=1), longest)
        size = max(1, (ON_A_CPU if self.device.type == "cpu" else TOKENS_AT_ONCE) // longest)
        for first in range(0, len(texts), size):
            part = texts[first : first + size]
            with autocast(self.device):
                scores = self(right_padded(part, self.device)).double().cpu().numpy()
            found += [row[: len(text)] for row, text in zip(scores, part, strict=True)]
        return found

    def last_scores(self, texts: Sequence[Text]) -> Array:
        """Scores (B,) of whole texts."""
        return np.array([scores[-1] for scores in self.prefix_scores(texts)])

    def score(self, batch: Batch) -> Array:
        """Scores (B,) of prompts with their responses so far."""
        return self.last_scores(batch.sequences())

    def save(self, folder: str | Path) -> None:
        """Configuration and weights (safetensors) into a folder that `load_reward_model` reads, all or nothing."""
        with replacing(Path(folder)) as partial:
            self.write(partial)

    def write(self, folder: Path) -> None:
        """The same into a folder that exists."""
        self.backbone.config.save_pretrained(folder)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS)


@torch.no_grad()
def _width(backbone: Any) -> int:
    """Of the hidden states H as they come out: some networks end with a projection, which their configuration hides.

    ValueError for a network without hidden states.
    """
    token = torch.zeros((1, 1), dtype=torch.long, device=next(backbone.parameters()).device)
    states = getattr(backbone.eval()(input_ids=token, use_cache=False), "last_hidden_state", None)
    if states is None:
        raise ValueError(f"a {type(backbone).__name__} shows no hidden states: no reward model can be made of it")
    return int(states.shape[-1])


def right_padded(texts: Sequence[Text], device: torch.device) -> Tensor:
    """Texts (B, longest), zeros after their ends."""
    return pad_sequence([torch.tensor(text, dtype=torch.long) for text in texts], batch_first=True).to(device)


def from_language_model(model: Any) -> RewardModel:
    """A reward model on a copy of a causal language model's backbone, its head zero: every text scores 0."""
    device = next(model.parameters()).device
    return RewardModel(copy.deepcopy(model.base_model)).to(device).eval()


def load_reward_model(folder: str | Path) -> RewardModel:
    """Read a folder written by `RewardModel.save`, on the CPU. ValueError if it is not one."""
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} holds no reward model: there is no {WEIGHTS}")
    try:
        made = RewardModel(AutoModel.from_config(AutoConfig.from_pretrained(str(folder))))
        made.load_state_dict(load_file(path))
    except UNREADABLE as error:
        raise ValueError(
            f"{str(folder)!r} holds no reward model that can be read: {' '.join(str(error).split())}"
        ) from error
    return made.eval()


# training


@dataclass(frozen=True)
class RewardTraining:
    """steps optimiser steps of `batch` comparisons, drawn in shuffled epochs; `rate` peak of a cosine, `clip` of the
    gradient norm."""

    steps: int = 250
    batch: int = 32
    rate: float = 1e-3
    clip: float = 1.0

    @property
    def schedule(self) -> Schedule:
        """What the optimiser does."""
        return Schedule(self.steps, self.rate, 10, self.clip, decay="cosine to zero")


@dataclass(frozen=True, eq=False)
class RewardFit:
    """A trained reward model; `loss` (steps,) of the training batches, in nats per comparison."""

    model: RewardModel
    loss: Array


def bradley_terry_loss(scores_winner: Tensor, scores_loser: Tensor, sizes: Tensor, prompt: Tensor) -> Tensor:
    """The loss of the module docstring (B,), from scores (B, L) and lengths `sizes` (2, B) of winners and losers.

    prompt  (B,) tokens in common, after which beginnings are compared
    """
    ends = [s.gather(1, size[:, None] - 1)[:, 0] for s, size in zip((scores_winner, scores_loser), sizes, strict=True)]
    whole = -logsigmoid(ends[0] - ends[1])
    place = torch.arange(scores_winner.shape[1], device=prompt.device)
    both = (place >= prompt[:, None]) & (place < sizes.min(dim=0).values[:, None])
    parts = -logsigmoid(scores_winner - scores_loser) * both
    return 0.5 * whole + 0.5 * parts.sum(1) / both.sum(1).clamp(min=1)


def train_reward_model(model: Any, comparisons: Sequence[Comparison], how: RewardTraining, seed: int) -> RewardFit:
    """Train a reward model from a language model's weights (which stay as they are).

    Parameters
    ----------
    model
        Any causal language model of transformers.
    comparisons : sequence of Comparison
        Winner and loser in tokens, and how many of them they have in common.
    how : RewardTraining
        Steps, batch, rate.
    seed : int
        Order of the batches.

    Returns
    -------
    RewardFit
        `.model`, and the loss of every batch in nats per comparison.

    Raises
    ------
    ValueError
        There are no comparisons.
    TrainingDiverged
        At the first loss that is no number.

    Examples
    --------
    >>> from llm_validation import train_reward_model
    >>> from llm_validation.model.model import build
    >>> from llm_validation.rewards.comparisons import Comparison
    >>> comparisons = [Comparison(winner=(3, 4), loser=(3, 5), prompt=1)]
    >>> model = build("smoke", vocab_size=16, context=32, seed=0)
    >>> fit = train_reward_model(model, comparisons, RewardTraining(steps=20, batch=2), seed=0)
    >>> bool(fit.loss[-1] < fit.loss[0])
    True
    """
    if not comparisons:
        raise ValueError("there are no comparisons to train on")
    made = from_language_model(model)  # in evaluation mode: dropout would draw from torch's global state
    order = _epochs(len(comparisons), how, generator(seed, "reward model"))
    history = minimise(
        made, order, of_loss(lambda chosen: _batch_loss(made, [comparisons[i] for i in chosen])), how.schedule,
        name="reward model", guard=lambda chosen: f"comparisons {chosen[:8].tolist()} …",
    )  # fmt: skip
    return RewardFit(made, np.array(history.loss()))


def _epochs(count: int, how: RewardTraining, rng: np.random.Generator) -> list[Rows]:
    """Batches of shuffled epochs, one per step."""
    needed = how.steps * how.batch
    order = np.concatenate([rng.permutation(count) for _ in range(-(-needed // count))])[:needed]
    return list(order.reshape(how.steps, how.batch))


def _batch_loss(model: RewardModel, batch: Sequence[Comparison]) -> Tensor:
    device = model.device
    texts = [c.winner for c in batch] + [c.loser for c in batch]
    check_positions(model.backbone.config, min(map(len, texts)), max(map(len, texts)))
    with autocast(device):
        scores = model(right_padded(texts, device))
    sizes = torch.tensor([[len(c.winner) for c in batch], [len(c.loser) for c in batch]], device=device)
    prompt = torch.tensor([c.prompt for c in batch], device=device)
    return bradley_terry_loss(scores[: len(batch)], scores[len(batch) :], sizes, prompt).mean()


# explained variance


@dataclass(frozen=True, eq=False)
class Explained:
    """v (J,) at each length, a 95 % bootstrap interval [low, high] and the replicates (R, J) behind it."""

    value: Array
    low: Array
    high: Array
    replicates: Array


def normal_scores(values: Array) -> Array:
    """Φ^{-1} of mid-rank/(M + 1), along the first axis: the values on a standard normal scale, ties sharing one."""
    return np.asarray(ndtri(rankdata(values, axis=0) / (len(values) + 1.0)))


def explained_variance(prefix: Array, final: Array, rng: np.random.Generator, replicates: int = 200) -> Explained:
    """v_j = corr(score after t_j tokens, final reward)², both on a normal scale; 0 where the correlation is negative.

    prefix  (M, J) scores of beginnings, final (M,) rewards of the wholes. Selection goes by ranks, so only the
    scores' order matters; for a martingale score v is the share of the reward's variance that is known by then.
    """
    table = np.column_stack([prefix, final])
    if table.shape[0] < 3 or not np.isfinite(table).all():
        raise ValueError(f"three texts or more with finite scores are needed, got shape {table.shape}")
    z = normal_scores(table)

    def squared(weights: Array) -> Array:
        centred = z - weights @ z
        variance = weights @ centred**2
        covariance = (weights * centred[:, -1]) @ centred[:, :-1]
        floor = np.finfo(float).tiny
        return np.maximum(covariance, 0.0) ** 2 / np.maximum(variance[:-1] * variance[-1], floor)

    value, draws = bootstrap(squared, len(z), replicates, rng)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return Explained(value, low, high, draws)
