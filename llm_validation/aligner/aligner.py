"""Aligner on a language model: training a corrector on Q-A-C triples, and its exact kernel on a listed answer set.

Training is cross-entropy of the correction's tokens and its end-of-text token given prompt and answer, which carry no
loss themselves; SFT is the same without the answer in the context. Pairs with C = O are identity pairs: a warm-up
trains on them alone, joint training mixes in a share q of them.

With all answers listed, teacher forcing over their prefix tree gives K_φ(c|x,o) exactly: the loss of any number of
triples in training, and the law, gain and rounds of a stacked model; what a model writes off the list is measured as
such. Held-out losses, row by row, and sampling from the stack, token by token on the decoding engine, are the checks
that do not rest on this.

Shapes: P prompts, A answers, B triples of a batch, L tokens.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from llm_validation.aligner.edit_process import Problem
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Task, train_one
from llm_validation.catalogue.trie import build_trie, log_policy_of_logits, node_logits
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import no_score
from llm_validation.model.model import autocast
from llm_validation.rewards.model import right_padded
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from theory.validate import Array

Index = NDArray[np.intp]
#: Prompts whose prefix trees, and texts whose rows, are evaluated at a time.
TREES_AT_ONCE, ROWS_AT_ONCE = 32, 256


@dataclass(frozen=True, eq=False)
class Triples:
    """(prompt, original, correction), numbers (B,) each."""

    prompt: Index
    original: Index
    correction: Index


#: (rng, how many) ↦ training triples.
Draw = Callable[[np.random.Generator, int], Triples]


def draw_from(prompts: Array, policies: Array, kernels: Array, identity_share: float = 0.0) -> Draw:
    """Triples with X ~ prompts (P,), O ~ policies (P, A), C ~ kernels (P, A, A), or C = O with `identity_share`.

    ValueError for a share outside [0, 1] or kernel rows that do not sum to one.
    """
    if not 0.0 <= identity_share <= 1.0:
        raise ValueError(f"identity_share = {identity_share} must be in [0, 1]")
    sums = np.asarray(kernels).sum(axis=-1)
    if np.abs(sums - 1.0).max() > 1e-9:
        p, o = np.argwhere(np.abs(sums - 1.0) > 1e-9)[0]
        raise ValueError(f"kernel row of prompt {p}, answer {o} sums to {float(sums[p, o])!r}")
    originals, corrections = np.cumsum(policies, axis=-1), np.cumsum(kernels, axis=-1)

    def draw(rng: np.random.Generator, count: int) -> Triples:
        prompt = rng.choice(len(prompts), size=count, p=prompts)
        original = _pick(originals[prompt], rng)
        correction = _pick(corrections[prompt, original], rng)
        identical = rng.random(count) < identity_share
        return Triples(prompt, original, np.where(identical, original, correction))

    return draw


def _pick(cumulative: Array, rng: np.random.Generator) -> Index:
    """One draw from each row (B, A) of distribution functions."""
    u = rng.random(len(cumulative)) * cumulative[:, -1]
    return np.asarray((u[:, None] >= cumulative).sum(axis=1), dtype=np.intp)


# training


@dataclass(frozen=True)
class Fit:
    """Optimiser steps, triples drawn in each, and the learning rate: constant for two thirds, then linearly down to 0.

    Copying is learnt slot by slot, each after a plateau: a rate that falls from the start stops before the last.
    """

    steps: int
    batch: int = 1024
    rate: float = 2e-3
    clip: float = 1.0

    @property
    def schedule(self) -> Schedule:
        """What the optimiser does."""
        return Schedule(self.steps, self.rate, 10, self.clip, decay="plateau", beta2=0.95)


def answer_losses(model: Any, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Tensor:
    """−log π(answer | context) (B,), nats, summed over the answer's tokens, its end-of-text token included.

    ValueError names the row of an empty answer, or of one that does not fit the model's context.
    """
    texts = [(*context, *answer) for context, answer in zip(contexts, answers, strict=True)]
    most = getattr(model.config, "max_position_embeddings", math.inf)
    for row, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        if not answer:
            raise ValueError(f"answers[{row}] is empty: it has not even an end-of-text token")
        if len(text) > most:
            raise ValueError(f"row {row} has {len(text)} tokens, the context {most}")
    device = next(model.parameters()).device
    tokens = right_padded(texts, device)
    place = torch.arange(tokens.shape[1], device=device)
    starts, ends = (torch.tensor([len(t) for t in side], device=device)[:, None] for side in (contexts, texts))
    with autocast(device):
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits  # causal: padding on the right is never seen
    scored = (place >= starts) & (place < ends)
    losses = cross_entropy(logits.float().transpose(1, 2), tokens[:, 1:], reduction="none")
    return (losses * scored[:, 1:]).sum(1)


def contexts_of(problem: Problem, *, sees_original: bool) -> Encoded:
    """Everything that is read before an answer, and the answers: P·A contexts, or the P prompts alone."""
    if not sees_original:
        return Encoded(problem.prompts, problem.answers)
    places = list(np.ndindex(len(problem.prompts), problem.n_answers))
    prompts = tuple(problem.corrector_prompt(p, o) for p, o in places)
    return Encoded(prompts, tuple(problem.answers[p] for p, _ in places))


def mean_loss(log_policy: Tensor, triples: Triples, problem: Problem, *, sees_original: bool) -> Tensor:
    """The triples' mean loss, nats, from log π (P·A, A + 1), or (P, A + 1), at all contexts of `contexts_of`."""
    A, context = problem.n_answers, triples.prompt
    if sees_original:
        context = context * A + triples.original
    counts = np.bincount(context * A + triples.correction, minlength=len(log_policy) * A)
    shares = log_policy.new_tensor(counts / context.size).view(-1, A)
    return -(shares * log_policy[:, :-1]).sum()


def fit(
    model: Any,
    problem: Problem,
    draw: Draw,
    how: Fit,
    seed: int,
    *,
    sees_original: bool,
    stop_below: float = -math.inf,
    name: str = "corrector",
) -> Any:
    """A copy of the model, trained on fresh triples in every step; the model itself stays as it is.

    The triples of a step share a few contexts and answers: one pass over the prefix trees of all contexts has the loss
    of each, however many are drawn.

    sees_original  True: Aligner, False: SFT on the corrections
    stop_below     training ends early at the first step whose mean loss is below it, nats
    """
    made, rng = copy.deepcopy(model), generator(seed, "triples", name)
    trie = contexts_of(problem, sees_original=sees_original).trie().to(next(made.parameters()).device)

    def loss(_: int, log_policy: Tensor) -> Tensor:
        return mean_loss(log_policy, draw(rng, how.batch), problem, sees_original=sees_original)

    train_one(Task(made, trie, loss, how.schedule, name=name, stop_below=stop_below))
    return made


@torch.inference_mode()
def held_out_losses(model: Any, problem: Problem, triples: Triples, *, sees_original: bool) -> Array:
    """Losses (n,) of triples, each different one read as a row once: by another route than the trees of `fit`."""
    original, A = triples.original if sees_original else np.zeros_like(triples.original), problem.n_answers
    sizes = (len(problem.prompts), A, A)
    numbers = np.ravel_multi_index((triples.prompt, original, triples.correction), sizes)
    numbers, place = np.unique(numbers, return_inverse=True)
    different = list(zip(*np.unravel_index(numbers, sizes), strict=True))
    contexts = [problem.corrector_prompt(p, o) if sees_original else problem.prompts[p] for p, o, _ in different]
    answers, found = [problem.answers[p][c] for p, _, c in different], []
    for first in range(0, len(different), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        found.append(answer_losses(model, contexts[part], answers[part]).double().cpu().numpy())
    return np.concatenate(found)[place]


# exact laws on the listed answers


@dataclass(frozen=True, eq=False)
class Laws:
    """Laws (…, A) of the listed answers, given that one is written, and the mass `off` (…) of everything else."""

    laws: Array
    off: Array


@torch.inference_mode()
def exact_laws(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]], temperature: float = 1.0
) -> Laws:
    """What a model writes after each prompt, exactly, at a sampling temperature: laws (P, A) and off (P,)."""
    device, logs = next(model.parameters()).device, []
    for first in range(0, len(prompts), TREES_AT_ONCE):
        part = slice(first, first + TREES_AT_ONCE)
        trie = build_trie(prompts[part], answers[part]).to(device)
        logits = node_logits(model, trie) / temperature
        logs.append(log_policy_of_logits(logits, trie).double().cpu().numpy())
    mass = np.exp(np.concatenate(logs))
    on = mass[:, :-1].sum(axis=1)
    return Laws(mass[:, :-1] / on[:, None], mass[:, -1] / mass.sum(axis=1))


def upstream_laws(model: Any, problem: Problem, temperature: float = 1.0) -> Laws:
    """π(o|x) of a model that answers the prompts: laws (P, A)."""
    return exact_laws(model, problem.prompts, problem.answers, temperature)


def corrector_kernels(model: Any, problem: Problem) -> Laws:
    """K_φ(c|x,o): laws (P, A, A), off (P, A)."""
    P, A = len(problem.prompts), problem.n_answers
    read = contexts_of(problem, sees_original=True)
    found = exact_laws(model, read.prompts, read.responses)
    return Laws(found.laws.reshape(P, A, A), found.off.reshape(P, A))


# sampling from the stack


def write_answers(
    model: Any, problem: Problem, prompt: Index, contexts: Sequence[Sequence[int]], seed: int, temperature: float = 1.0
) -> Index:
    """One answer (n,) sampled after each context; −1 where it is none of the listed ones of its prompt."""
    sampling = Sampling(problem.longest + 2, (problem.end,), temperature)
    outcome = best_of_n(model, contexts, 1, no_score, sampling, seed=seed)
    return np.array(list(map(problem.place, prompt.tolist(), outcome.written)), dtype=np.intp)


def sample_upstream(model: Any, problem: Problem, prompt: Index, seed: int, temperature: float = 1.0) -> Index:
    """Answers (n,) of an upstream model to the prompts (n,)."""
    return write_answers(model, problem, prompt, [problem.prompts[p] for p in prompt], seed, temperature)


def sample_corrections(model: Any, problem: Problem, prompt: Index, original: Index, seed: int) -> Index:
    """Corrections (n,) of listed answers (n,)."""
    contexts = [problem.corrector_prompt(p, o) for p, o in zip(prompt.tolist(), original.tolist(), strict=True)]
    return write_answers(model, problem, prompt, contexts, seed)
