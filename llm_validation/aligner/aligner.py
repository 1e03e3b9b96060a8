"""Aligner on a language model: training a corrector on Q-A-C triples, and its exact kernel on a listed answer set.

Training is cross-entropy of the correction's tokens and its end-of-text token given prompt and answer, which carry no
loss themselves; SFT is the same without the answer in the context. Pairs with C = O are identity pairs: a warm-up
trains on them alone, joint training mixes in a share q of them.

With all answers listed, teacher forcing over their prefix tree gives K_φ(c|x,o) exactly, and so the law, gain and
rounds of a stacked model; what a model writes off the list is measured as such. Sampling from the stack, token by
token on the decoding engine, is the check that does not rest on this.

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
from llm_validation.catalogue.trie import build_trie, log_policy_of_logits, node_logits
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch
from llm_validation.model.model import autocast
from llm_validation.rewards.model import right_padded
from llm_validation.training.loop import History, minimise, of_loss
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from theory.validate import Array

Index = NDArray[np.intp]
#: Prompts whose prefix trees are evaluated at a time.
TREES_AT_ONCE = 32
#: Steps whose mean loss decides whether training may end early.
RECENT = 20


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
    """Optimiser steps, triples in each, and the learning rate: constant for two thirds, then linearly down to 0.

    Copying is learnt slot by slot, each after a plateau: a rate that falls from the start stops before the last.
    """

    steps: int
    batch: int = 64
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


def triple_losses(model: Any, problem: Problem, triples: Triples, *, sees_original: bool) -> Tensor:
    """Losses (B,) of a corrector, or of a model that answers from the prompt alone."""
    rows = list(zip(triples.prompt.tolist(), triples.original.tolist(), triples.correction.tolist(), strict=True))
    contexts = [problem.corrector_prompt(p, o) if sees_original else problem.prompts[p] for p, o, _ in rows]
    return answer_losses(model, contexts, [problem.answers[p][c] for p, _, c in rows])


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

    sees_original  True: Aligner, False: SFT on the corrections
    stop_below     training ends early where the mean loss of the last `RECENT` steps is below it, nats
    """
    made, rng = copy.deepcopy(model).train(), generator(seed, "triples", name)

    def good_enough(_: int, history: History) -> bool:
        recent = history.loss(RECENT)
        return len(recent) == RECENT and sum(recent) < stop_below * RECENT

    loss = lambda triples: triple_losses(made, problem, triples, sees_original=sees_original).mean()
    batches = (draw(rng, how.batch) for _ in range(how.steps))
    minimise(made, batches, of_loss(loss), how.schedule, name=name, on_step=good_enough)
    return made.eval()


@torch.inference_mode()
def held_out_losses(model: Any, problem: Problem, triples: Triples, *, sees_original: bool) -> Array:
    """Losses (n,) of triples, a few hundred at a time."""
    found = []
    for first in range(0, triples.prompt.size, 256):
        part = slice(first, first + 256)
        some = Triples(triples.prompt[part], triples.original[part], triples.correction[part])
        found.append(triple_losses(model, problem, some, sees_original=sees_original).double().cpu().numpy())
    return np.concatenate(found)


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
    prompts = [problem.corrector_prompt(p, o) for p in range(P) for o in range(A)]
    found = exact_laws(model, prompts, [problem.answers[p] for p in range(P) for _ in range(A)])
    return Laws(found.laws.reshape(P, A, A), found.off.reshape(P, A))


# sampling from the stack


def _nothing(batch: Batch) -> Array:
    return np.zeros(batch.rows.size)


def write_answers(
    model: Any, problem: Problem, prompt: Index, contexts: Sequence[Sequence[int]], seed: int, temperature: float = 1.0
) -> Index:
    """One answer (n,) sampled after each context; −1 where it is none of the listed ones of its prompt."""
    sampling = Sampling(problem.longest + 2, (problem.end,), temperature)
    outcome = best_of_n(model, contexts, 1, _nothing, sampling, seed=seed)
    rows = zip(prompt.tolist(), outcome.tokens.tolist(), outcome.lengths.tolist(), strict=True)
    return np.array([problem.place(p, tokens[:length]) for p, tokens, length in rows], dtype=np.intp)


def sample_upstream(model: Any, problem: Problem, prompt: Index, seed: int, temperature: float = 1.0) -> Index:
    """Answers (n,) of an upstream model to the prompts (n,)."""
    return write_answers(model, problem, prompt, [problem.prompts[p] for p in prompt], seed, temperature)


def sample_corrections(model: Any, problem: Problem, prompt: Index, original: Index, seed: int) -> Index:
    """Corrections (n,) of listed answers (n,)."""
    contexts = [problem.corrector_prompt(p, o) for p, o in zip(prompt.tolist(), original.tolist(), strict=True)]
    return write_answers(model, problem, prompt, contexts, seed)
