"""A catalogue of a model that others trained: its law is measured as it is, and nothing is fitted.

Prompts stand in the model's own chat template. Responses are what the model itself says, ended by its end token and so
prefix-free, or the names of items that people rated. Off the catalogue is everything else the model could say, which
mostly has almost all the mass: a sampled answer of a dozen tokens has some tens of nats.

Shapes: P prompts, A responses; laws (P, A + 1), off the catalogue last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from llm_validation.catalogue.reference import Reference, measure_reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Objective, Task, Trained, Trainer
from llm_validation.catalogue.trie import agrees_with_rows
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import no_score
from llm_validation.model.model import Loaded
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.training.schedule import Schedule
from theory.validate import Array

#: log π(off) of a law conditional on the catalogue: a constant that no prediction and no gradient can see.
NO_MASS = -60.0
#: Answers drawn at a time for each prompt, and how often, before a prompt is given up.
DRAWN, ROUNDS = 32, 20


@dataclass(frozen=True, eq=False)
class Measured(Reference):
    """A reference that is a model in memory; what trains it copies the part that it trains."""

    source: Any = None

    def model(self) -> Any:
        """The model itself."""
        return self.source


def measured(loaded: Loaded, encoded: Encoded, *, seed: int, schedule: Schedule, trainer: Trainer) -> Measured:
    """The reference of a catalogue: its law as the model has it. ValueError if prefix trees do not suit the model."""
    model: Any = loaded.model
    device = next(model.parameters()).device
    trie = encoded.trie().to(device)
    agrees_with_rows(model, trie, encoded.prompts[0], encoded.responses[0], 1e-2)
    law = measure_reference(model, trie)
    return Measured(
        folder=None,  # type: ignore[arg-type]  # it is in memory
        encoded=encoded, log_law=law, device=device, seed=seed, schedule=schedule, trainer=trainer, source=model,
    )  # fmt: skip


def chat_tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    """A user's turn in the model's chat template, up to where its answer begins; without one as any text."""
    texts, templated = TextBoundaries.of(tokenizer), bool(tokenizer.chat_template)
    asked = texts.chat([{"role": "user", "content": text}])[0] if templated else text
    return texts.prompt(asked, templated=templated)


def own_answers(loaded: Loaded, prompts: Sequence[str], n: int, longest: int, seed: int) -> Encoded:
    """The first n different answers of at most `longest` tokens, end included, that the model draws to each prompt.

    ValueError names a prompt to which it does not give so many.
    """
    encoded = [chat_tokens(loaded.tokenizer, text) for text in prompts]
    found: list[dict[tuple[int, ...], None]] = [{} for _ in encoded]
    sampling = Sampling(longest, eos=(int(loaded.tokenizer.eos_token_id),))
    for number in range(ROUNDS):
        open_ = [p for p, own in enumerate(found) if len(own) < n]
        if not open_:
            break
        asked = [encoded[p] for p in open_]
        drawn = best_of_n(loaded.model, asked, DRAWN, no_score, sampling, seed=1000 * seed + number)
        for row, tokens in enumerate(drawn.written):
            if drawn.finished[row] and len(tokens) > 1:  # an empty answer has no inner node of its own
                found[open_[row // DRAWN]].setdefault(tokens)
    worst = min(range(len(found)), key=lambda p: len(found[p]))
    if len(found[worst]) < n:
        raise ValueError(
            f"prompt {prompts[worst]!r}: {len(found[worst])} different answers of at most {longest} tokens in "
            f"{ROUNDS * DRAWN} draws, {n} are needed; give more tokens"
        )
    return Encoded(tuple(encoded), tuple(tuple(own)[:n] for own in found))


def item_answers(loaded: Loaded, questions: Sequence[str], items: Sequence[str]) -> Encoded:
    """Items as the answers to questions that list them. ValueError for items that are equal in tokens."""
    tokenizer: Any = loaded.tokenizer
    end = int(tokenizer.eos_token_id)
    answers = tuple((*tokenizer.encode(item, add_special_tokens=False), end) for item in items)
    listed = ", ".join(items)
    prompts = tuple(chat_tokens(tokenizer, f"{question} {listed}.") for question in questions)
    encoded = Encoded(prompts, tuple(answers for _ in prompts))
    encoded.trie()  # says which items are equal, or a prefix of another, in tokens
    return encoded


def on_the_catalogue(reference: Reference) -> Reference:
    """The same reference as a choice among the catalogue's responses: laws conditional on it, off without mass."""
    trainer = reference.trainer
    return replace(reference, log_law=_conditional(reference.log_law), trainer=lambda task: _choose(task, trainer))


def _conditional(logs: Array) -> Array:
    """Log-laws (…, A + 1) conditional on the catalogue, off at `NO_MASS`."""
    on = log_softmax(logs[..., :-1], axis=-1)
    return np.concatenate([on, np.full((*on.shape[:-1], 1), NO_MASS)], axis=-1)


def _choose(task: Task, trainer: Trainer) -> Trained:
    """Train an objective of the conditional law."""
    objective: Objective = task.objective

    def conditional_objective(step: int, logs: Tensor) -> Tensor:
        on = torch.log_softmax(logs[:, :-1], -1)
        return objective(step, torch.cat([on, torch.full_like(on[:, :1], NO_MASS)], dim=1))

    trained = trainer(replace(task, objective=conditional_objective))
    return replace(trained, path=_conditional(trained.path))


@torch.no_grad()
def one_word_apart(model: Any, encoded: Encoded) -> Encoded:
    """The catalogue with the last response of each prompt replaced: the first one but for one token in its middle.

    The new token is the one that the model finds likeliest there, besides the old one and those that would repeat a
    response or end this one.
    """
    device, replaced = next(model.parameters()).device, []
    for prompt, own in zip(encoded.prompts, encoded.responses, strict=True):
        first, middle = own[0], (len(own[0]) - 1) // 2
        logits = model(input_ids=torch.tensor([[*prompt, *first[:middle]]], device=device)).logits[0, -1]
        barred = {first[-1], *(r[middle] for r in own if r[:middle] == first[:middle] and len(r) > middle)}
        token = next(t for t in logits.argsort(descending=True).tolist() if t not in barred)
        replaced.append((*own[:-1], (*first[:middle], token, *first[middle + 1 :])))
    return Encoded(encoded.prompts, tuple(replaced))
