"""The three catalogues and what is run on each: which prompts, which designed reference, which runs.

    catalogue   16 prompts × 8 responses: distortion (6), proximal (4), divergences and density_ratio (6)
    safety      safe and marked prompts × 5 responses: separation
    people      one prompt per bt_beta × the items of a ratings file: people

A lab is fitted once per seed and kept as a checkpoint with its measured law; runs start from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_validation.catalogue.reference import Lab, conditional, fit_reference, measure_reference, total_variation
from llm_validation.catalogue.texts import Catalogue, Encoded, encode_catalogue, story_catalogue
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.model.model import load, replacing, write
from llm_validation.profiles import Profile
from llm_validation.runs import density_ratio, distortion, divergences, proximal, separation, unpaired
from llm_validation.runs import people as people_topic
from simulate.montecarlo import generator
from simulate.people.people import People
from simulate.rows.measurement import Measurement, measurement
from theory.validate import Array

Run = Callable[[Lab], list[Measurement]]
#: In a lab's checkpoint: the measured law, and what it was made from.
LAW, RECORD = "log_reference.npy", "lab.json"
N_RESPONSES = 8
#: Places of each topic's prompts in the shared catalogue.
PLACES = {"distortion": range(0, 6), "proximal": range(6, 10), "unpaired": range(10, 16)}


@dataclass(frozen=True, eq=False)
class Context:
    """What all jobs of a run share.

    base       folder of the pretrained model
    folder     results folder; checkpoints and traces go below it
    profile    how long everything takes
    people     the users of D17, and what rows say of them
    device     where training runs
    code       fingerprint of the code: a reference that other code fitted is fitted again
    writes     False in a process that shares its jobs with another one, which writes what they leave
    """

    base: Path
    folder: Path
    profile: Profile
    people: People
    about: dict[str, str | int]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    code: str = ""
    writes: bool = True


@dataclass(frozen=True)
class Design:
    """A catalogue: its texts and designed reference laws for a seed, and the runs on it."""

    catalogue: Callable[[Context, np.random.Generator], Catalogue]
    references: Callable[[Context, np.random.Generator], Array]
    runs: Callable[[Context], dict[str, Run]]


def _on(topic: str, run: Run, lab: Lab) -> list[Measurement]:
    return run(lab.part(PLACES[topic]))


def _shared_runs(context: Context) -> dict[str, Run]:
    topics = {"distortion": (distortion,), "proximal": (proximal,), "unpaired": (divergences, density_ratio)}
    return {
        name: partial(_on, topic, run)
        for topic, modules in topics.items()
        for module in modules
        for name, run in module.RUNS.items()
    }


def _shared_references(context: Context, rng: np.random.Generator) -> Array:
    return np.concatenate([module.references(N_RESPONSES, rng) for module in (distortion, proximal, unpaired)])


def _people_run(context: Context, lab: Lab) -> list[Measurement]:
    return people_topic.aligned_to_people(lab, context.people, context.profile.betas, context.about)


#: name → catalogue. The shared one first: most runs are on it.
DESIGNS: dict[str, Design] = {
    "catalogue": Design(lambda context, rng: story_catalogue(16, N_RESPONSES, rng), _shared_references, _shared_runs),
    "safety": Design(
        lambda context, rng: separation.safety_catalogue(rng),
        lambda context, rng: separation.references(rng),
        lambda context: separation.RUNS,
    ),
    "people": Design(
        lambda context, rng: people_topic.people_catalogue(context.people, context.profile.betas),
        lambda context, rng: people_topic.references(context.people, context.profile.betas, rng),
        lambda context: {"people": partial(_people_run, context)},
    ),
}


def encoded_catalogue(context: Context, design: str, seed: int) -> tuple[Encoded, Any]:
    """A design's catalogue of a seed in the base model's tokens, and the base model with its tokenizer.

    ValueError, before any training, for responses that are equal after tokenisation or exceed the context.
    """
    loaded = load(context.base)
    texts = DESIGNS[design].catalogue(context, generator(seed, design, "texts"))
    limit = getattr(loaded.model.config, "max_position_embeddings", None) or 10**9
    return encode_catalogue(texts, loaded.tokenizer, limit), loaded


def fit_lab(context: Context, design: str, seed: int, trainer: Trainer = train_one) -> list[Measurement]:
    """Fit and keep the reference of a design and seed; returns what the fit is worth (rows without a claim's check)."""
    encoded, loaded = encoded_catalogue(context, design, seed)
    target = DESIGNS[design].references(context, generator(seed, design, "references"))
    model = loaded.model.to(context.device)
    fit_reference(model, encoded, target, context.profile.fit, context.device, trainer)
    law = measure_reference(model, encoded.trie().to(context.device))
    if context.writes:
        with replacing(_lab_folder(context, design, seed)) as partial_folder:
            write(model.cpu(), loaded.tokenizer, partial_folder)
            np.save(partial_folder / LAW, law)
            (partial_folder / RECORD).write_text(json.dumps(_made_from(context)) + "\n")
    distance = total_variation(conditional(np.exp(law)), target)
    setting = {"catalogue": design}
    return [
        measurement("D12", "reference_tv", setting, float(distance.max()), n=distance.size),
        measurement("D12", "reference_off", setting, float(np.exp(law[:, -1]).max()), n=distance.size),
    ]


def fitted(context: Context, design: str, seed: int) -> bool:
    """Is there a reference that this context would make again as it is?"""
    record = _lab_folder(context, design, seed) / RECORD
    return record.is_file() and json.loads(record.read_text()) == _made_from(context)


def open_lab(context: Context, design: str, seed: int, trainer: Trainer = train_one) -> Lab:
    """The lab of a fitted reference."""
    encoded, _ = encoded_catalogue(context, design, seed)
    folder = _lab_folder(context, design, seed)
    law = np.load(folder / LAW)
    traces = context.folder / "traces" if context.writes else None
    return Lab(folder, encoded, law, context.device, seed, context.profile.runs, traces, trainer)


def _lab_folder(context: Context, design: str, seed: int) -> Path:
    return context.folder / "checkpoints" / f"{design}-{seed}"


def _made_from(context: Context) -> dict[str, Any]:
    fit = asdict(context.profile.fit)
    return {"base": str(context.base), "fit": fit, "people": context.people.name, "code": context.code}
