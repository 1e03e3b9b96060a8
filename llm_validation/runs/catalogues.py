"""The three catalogues: their texts and designed reference laws; references are fitted to them once per seed.

    catalogue   16 prompts × 8 responses: distortion (6), proximal (4), divergences and density_ratio (6)
    safety      safe and marked prompts × 5 responses: separation
    people      one prompt per bt_beta × the items of a ratings file: people

A reference is kept as a checkpoint with its measured law; runs start from there.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llm_validation.catalogue.reference import Reference, conditional, fit_reference, measure_reference, total_variation
from llm_validation.catalogue.texts import Catalogue, Encoded, encode_catalogue, story_catalogue
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.model.model import load, replacing, write
from llm_validation.runs import distortion, proximal, separation, unpaired
from llm_validation.runs import people as people_topic
from llm_validation.runs.run import MAIN, SAFETY, Context
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.validate import Array

#: In a reference's checkpoint: the measured law, and what it was made from.
LAW, RECORD = "log_reference.npy", "reference.json"
N_RESPONSES = 8


def texts(context: Context, name: str, rng: np.random.Generator) -> Catalogue:
    """Prompts and responses of a catalogue."""
    if name == MAIN:
        return story_catalogue(16, N_RESPONSES, rng)
    if name == SAFETY:
        return separation.safety_catalogue(rng)
    return people_topic.people_catalogue(context.people, context.profile.betas)


def references(context: Context, name: str, rng: np.random.Generator) -> Array:
    """Designed reference laws (P, A); on the shared catalogue topic by topic, in the order of their prompts."""
    if name == MAIN:
        return np.concatenate([topic.references(N_RESPONSES, rng) for topic in (distortion, proximal, unpaired)])
    if name == SAFETY:
        return separation.references(rng)
    return people_topic.references(context.people, context.profile.betas, rng)


def encoded_catalogue(context: Context, name: str, seed: int) -> tuple[Encoded, Any]:
    """A catalogue of a seed in the base model's tokens, and the base model with its tokenizer.

    ValueError, before any training, for responses that are equal after tokenisation or exceed the context.
    """
    loaded = load(context.base)
    limit = getattr(loaded.model.config, "max_position_embeddings", None) or 10**9
    return encode_catalogue(texts(context, name, generator(seed, name, "texts")), loaded.tokenizer, limit), loaded


def fit_catalogue(context: Context, name: str, seed: int, trainer: Trainer = train_one) -> list[Measurement]:
    """Fit and keep the reference of a catalogue and seed; returns what the fit is worth (no check judges it)."""
    encoded, loaded = encoded_catalogue(context, name, seed)
    target = references(context, name, generator(seed, name, "references"))
    model = loaded.model.to(context.device)
    fit_reference(model, encoded, target, context.profile.fit, context.device, trainer)
    law = measure_reference(model, encoded.trie().to(context.device))
    if context.writes:
        with replacing(_folder(context, name, seed)) as partial_folder:
            write(model.cpu(), loaded.tokenizer, partial_folder)
            np.save(partial_folder / LAW, law)
            (partial_folder / RECORD).write_text(json.dumps(_made_from(context)) + "\n")
    distance, at = total_variation(conditional(np.exp(law)), target), {"catalogue": name}
    return [
        measurement("D12", "reference_tv", at, float(distance.max()), n=distance.size),
        measurement("D12", "reference_off", at, float(np.exp(law[:, -1]).max()), n=distance.size),
    ]


def fitted(context: Context, name: str, seed: int) -> bool:
    """Is there a reference that this context would make again as it is?"""
    record = _folder(context, name, seed) / RECORD
    return record.is_file() and json.loads(record.read_text()) == _made_from(context)


def open_reference(context: Context, name: str, seed: int, trainer: Trainer = train_one) -> Reference:
    """A fitted reference."""
    encoded, _ = encoded_catalogue(context, name, seed)
    folder = _folder(context, name, seed)
    traces = context.folder / "traces" if context.writes else None
    law = np.load(folder / LAW)
    return Reference(folder, encoded, law, context.device, seed, context.profile.runs, traces, trainer)


def _folder(context: Context, name: str, seed: int) -> Path:
    return context.folder / "checkpoints" / f"{name}-{seed}"


def _made_from(context: Context) -> dict[str, Any]:
    fit = json.loads(json.dumps(asdict(context.profile.fit)))  # as it comes back from a file: lists for tuples
    return {"base": str(context.base), "fit": fit, "people": context.people.name, "code": context.code}
