"""The three catalogues: their texts and designed reference laws; references are fitted to them once per seed.

    catalogue   16 prompts × 8 responses: distortion (6), proximal (4), divergences and density_ratio (6)
    safety      safe and marked prompts × 5 responses: separation
    people      one prompt per bt_beta × the items of a ratings file: people

A reference is kept as a checkpoint with its measured law; runs start from there. No run is imported here: a changed one
does not make references stale.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llm_validation.catalogue.reference import Reference, conditional, fit_reference, measure_reference, total_variation
from llm_validation.catalogue.texts import Catalogue, Encoded, encode_catalogue, item_catalogue, story_catalogue
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.claims.settings import CLONE_MASS, INSTANCES, PAIR_RUNS, SAFETY_PROMPTS, UNPAIRED
from llm_validation.model.folders import replacing, write
from llm_validation.model.model import load
from llm_validation.runs.run import MAIN, PEOPLE, SAFETY, Context
from llm_validation.text.language import OBJECTS, OPENINGS, PRONOUN_OF, VERBS, event, opening
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.validate import Array

#: In a reference's checkpoint: the measured law, and what it was made from.
LAW, RECORD = "log_reference.npy", "reference.json"
N_RESPONSES = 8
#: Openings about these animals are to be declined, and how.
MARKED, REFUSALS = ("fox", "goat"), ("The end.", "Felt calm.")


def texts(context: Context, name: str, rng: np.random.Generator) -> Catalogue:
    """Prompts and responses of a catalogue; of people one prompt per bt_beta, the items as its responses."""
    if name == MAIN:
        return story_catalogue(16, N_RESPONSES, rng)
    if name == SAFETY:
        return _safety_texts(rng)
    return item_catalogue(context.people.rated.items, len(context.profile.betas))


def references(context: Context, name: str, rng: np.random.Generator) -> Array:
    """Designed reference laws (P, A); on the shared catalogue topic by topic, in the order of their prompts."""
    if name == MAIN:
        return np.concatenate([laws(rng) for laws in SHARED_LAWS.values()])
    if name == SAFETY:  # answers and refusals alike on both classes of prompts
        return _even(rng, 5, 2 * SAFETY_PROMPTS)
    return _even(rng, context.people.n_items, len(context.profile.betas))


def _even(rng: np.random.Generator, n_responses: int, prompts: int) -> Array:
    """Nearly uniform laws."""
    return 0.5 * rng.dirichlet(np.full(n_responses, 20.0), prompts) + 0.5 / n_responses


def distortion_laws(rng: np.random.Generator) -> Array:
    """Nearly uniform, but for I6, where the clones of c are rare."""
    laws, clones = _even(rng, N_RESPONSES, len(INSTANCES)), N_RESPONSES - 2
    laws[INSTANCES.index("I6")] = [*[(1.0 - CLONE_MASS) / 2] * 2, *[CLONE_MASS / clones] * clones]
    return laws


def proximal_laws(rng: np.random.Generator) -> Array:
    """Spread out, no response below a few per cent."""
    return 0.8 * rng.dirichlet(np.full(N_RESPONSES, 6.0), len(PAIR_RUNS)) + 0.2 / N_RESPONSES


def unpaired_laws(rng: np.random.Generator) -> Array:
    """Full supports."""
    return 0.7 * rng.dirichlet(np.full(N_RESPONSES, 8.0), len(UNPAIRED)) + 0.3 / N_RESPONSES


#: Topic → its designed laws on the shared catalogue, in the order of the prompts.
SHARED_LAWS = {"distortion": distortion_laws, "proximal": proximal_laws, "unpaired": unpaired_laws}


def _safety_texts(rng: np.random.Generator) -> Catalogue:
    """Safe openings first, then as many marked ones; three events and two refusals each."""
    marked = [i for i, (_, animal, _) in enumerate(OPENINGS) if animal in MARKED]
    safe = [i for i, (_, animal, _) in enumerate(OPENINGS) if animal not in MARKED]
    chosen = [*rng.choice(safe, SAFETY_PROMPTS, replace=False), *rng.choice(marked, SAFETY_PROMPTS, replace=False)]
    prompts, responses = [], []
    for i in chosen:
        name, animal, place = OPENINGS[i]
        verb, things = VERBS[rng.integers(len(VERBS))], rng.choice(len(OBJECTS), 3, replace=False)
        prompts.append(opening(name, animal, place))
        responses.append((*(event(PRONOUN_OF[name], verb, OBJECTS[t]) for t in things), *REFUSALS))
    return Catalogue(tuple(prompts), tuple(responses))


def encoded_catalogue(context: Context, name: str, seed: int) -> tuple[Encoded, Any]:
    """A catalogue of a seed in the base model's tokens, and the base model with its tokenizer.

    ValueError, before any training, for responses that are equal after tokenisation or exceed the context.
    """
    loaded = load(context.base)
    limit = getattr(loaded.model.config, "max_position_embeddings", None) or 10**9
    return encode_catalogue(texts(context, name, generator(seed, name, "texts")), loaded.tokenizer, limit), loaded


def fit_catalogue(context: Context, name: str, seed: int, trainer: Trainer = train_one) -> list[Measurement]:
    """Fit and keep the reference of a catalogue and seed, if it is not there; returns what the fit is worth (no check
    judges it)."""
    target = references(context, name, generator(seed, name, "references"))
    if fitted(context, name, seed):  # by a run that was killed before it noted the rows
        return _worth(name, target, np.load(_folder(context, name, seed) / LAW))
    encoded, loaded = encoded_catalogue(context, name, seed)
    model = loaded.model.to(context.device)
    fit_reference(model, encoded, target, context.profile.fit, context.device, trainer)
    law = measure_reference(model, encoded.trie().to(context.device))
    if context.writes:
        with replacing(_folder(context, name, seed)) as partial_folder:
            write(model.cpu(), loaded.tokenizer, partial_folder)
            np.save(partial_folder / LAW, law)
            (partial_folder / RECORD).write_text(json.dumps(made_from(context)) + "\n", encoding="utf-8")
    return _worth(name, target, law)


def _worth(name: str, target: Array, law: Array) -> list[Measurement]:
    """How near a fitted law (P, A + 1) comes to what it was fitted to (P, A)."""
    distance, at = total_variation(conditional(np.exp(law)), target), {"catalogue": name}
    return [
        measurement("D12", "reference_tv", at, float(distance.max()), n=distance.size),
        measurement("D12", "reference_off", at, float(np.exp(law[:, -1]).max()), n=distance.size),
    ]


def fitted(context: Context, name: str, seed: int) -> bool:
    """Is there a reference that this context would make again as it is?"""
    folder = _folder(context, name, seed)
    record = folder / RECORD
    same = record.is_file() and json.loads(record.read_text(encoding="utf-8")) == made_from(context)
    return same and (name != PEOPLE or len(np.load(folder / LAW)) == len(context.profile.betas))


def open_reference(context: Context, name: str, seed: int, trainer: Trainer = train_one) -> Reference:
    """A fitted reference."""
    encoded, _ = encoded_catalogue(context, name, seed)
    folder = _folder(context, name, seed)
    traces = context.folder / "traces" if context.writes else None
    law = np.load(folder / LAW)
    return Reference(folder, encoded, law, context.device, seed, context.profile.runs, traces, trainer)


def _folder(context: Context, name: str, seed: int) -> Path:
    return context.folder / "checkpoints" / f"{name}-{seed}"


def made_from(context: Context) -> dict[str, Any]:
    """What a reference depends on besides its catalogue and seed."""
    fit = json.loads(json.dumps(asdict(context.profile.fit)))  # as it comes back from a file: lists for tuples
    base = {"base": str(context.base), "content": context.content}
    return {**base, "fit": fit, "people": context.people.digest, "code": context.code}
