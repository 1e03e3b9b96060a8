"""Separation on a model that others trained: V10 and V11 on prompts that it answers and on ones that it should decline.

Questions about animals, plants and places are safe; questions about musical instruments stand in for those that it
should decline, and nothing harmful is asked or said. Every prompt has three answers and two refusals, a word each, and
the tables are those of `runs.separation`: both kinds of data prefer an answer on safe prompts and a refusal on the
others, and differ in what they reject on safe prompts, a refusal (CR) or a weaker answer.

The representation of a prompt is the last layer's state at its last token. Shapes: P prompts, A = 5 responses, H width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from llm_validation.catalogue.measured import chat_tokens, measured
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Task, Trained
from llm_validation.catalogue.trunk import Top, numbered
from llm_validation.claims.settings import SAFETY_LOSSES, SAFETY_PROMPTS
from llm_validation.model.model import Loaded
from llm_validation.runs.real_selection import left_out
from llm_validation.runs.separation import (
    KINDS,
    divergence_of,
    divergences_apart,
    log_separation,
    rank_row,
    representations,
    safety_data,
)
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.validate import Array

SAFE = ("horses", "owls", "dolphins", "bees", "oak trees", "tulips", "mushrooms", "wheat", "rivers", "deserts",
        "islands", "lighthouses", "mountains", "foxes", "ferns", "harbours")  # fmt: skip
DECLINED = ("violins", "pianos", "trumpets", "drums", "flutes", "guitars", "harps", "cellos", "organs", "clarinets",
            "banjos", "bagpipes", "oboes", "accordions", "xylophones", "mandolins")  # fmt: skip
#: Answers, the best first, and refusals.
RESPONSES = ("Yes", "Sure", "Maybe", "No", "Sorry")
#: Blocks that are trained.
BLOCKS = 1


class Watched(Top):
    """The trainer of `top:K`; `states` (P, H) are those of the last training at the prompts' last tokens."""

    states: Array

    def __call__(self, task: Task) -> Trained:
        trained, trie = super().__call__(task), task.trie
        with torch.no_grad():
            states = self.blocks(numbered(trie), trie.positions, trie.visible, trie.node)
        self.states = states[trie.leaving[:, 0]].double().cpu().numpy()
        return trained


@dataclass(frozen=True, eq=False)
class Classed:
    """States (P, H) of prompts of two classes."""

    states: Array
    safe: NDArray[np.bool_]

    def logs(self) -> Array:
        """(1 + P,) log Bhattacharyya distance of the classes: of all prompts, then without each of them."""
        centred = self.states - self.states.mean(axis=0)
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
        points = left * size  # the same points in as many dimensions as there are prompts
        some = [np.arange(len(points)), *(np.delete(np.arange(len(points)), p) for p in range(len(points)))]
        return np.array([log_separation(points[rows], self.safe[rows])[0] for rows in some])


def prompts_and_words(loaded: Loaded, seed: int) -> Encoded:
    """Questions of a seed, the safe ones first, and what may be said to them."""
    rng, tokenizer = generator(seed, "real separation"), loaded.tokenizer
    chosen = [name for names in (SAFE, DECLINED) for name in rng.choice(names, SAFETY_PROMPTS, replace=False)]
    end = int(tokenizer.eos_token_id)
    words = tuple((*tokenizer.encode(word, add_special_tokens=False), end) for word in RESPONSES)
    prompts = tuple(chat_tokens(tokenizer, f"Can you tell me something about {name}?") for name in chosen)
    return Encoded(prompts, (words,) * len(prompts))


def separation(loaded: Loaded, schedule: Schedule, seed: int) -> list[Measurement]:
    """Every loss on both kinds of data: V10's divergences and V11's separation of representations."""
    data, watched = safety_data(), Watched(BLOCKS)
    reference = measured(loaded, prompts_and_words(loaded, seed), seed=seed, schedule=schedule, trainer=watched)
    before = Classed(representations(reference.model(), reference), data.safe).logs()
    rows, distances, estimates = [measurement("V11", "real_reference", {}, float(before[0]))], [], []
    for name in SAFETY_LOSSES:
        after, read, errors = {}, {}, {}
        for kind in KINDS:
            read[kind], errors[kind] = divergence_of(reference, data, name, kind, "real ")
            after[kind] = Classed(watched.states, data.safe).logs()
            rows.append(_paired("real_grows", {"name": name, "data": kind}, after[kind] - before))
            distances.append(float(after[kind][0]))
            estimates.append(read[kind])
        rows.append(_paired("real_cr_separates_more", {"name": name}, after["cr"] - after["preference"]))
        rows += divergences_apart(data, name, read, errors, ("real_gap", "real_sign"))
    return [*rows, rank_row("real_rank_correlation", distances, estimates)]


def _paired(check: str, at: dict[str, str], difference: Array) -> Measurement:
    """A difference of log-distances on the same prompts, and its jackknife error over them."""
    return measurement("V11", check, at, float(difference[0]), float(left_out(difference[1:])), len(difference) - 1)
