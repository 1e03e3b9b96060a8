"""The jobs of a run: reference fits of every catalogue, runs that start from them, and open generation."""

from __future__ import annotations

from functools import partial

from llm_validation.catalogue.train import Trainer
from llm_validation.commands.generate import MEASUREMENTS
from llm_validation.generation_effort import Context as GenerationContext
from llm_validation.grid.jobs import Job
from llm_validation.model.model import load, parameter_count
from llm_validation.runs.catalogues import DESIGNS, Context, encoded_catalogue, fit_lab, fitted, open_lab
from simulate.rows.measurement import Measurement

#: design → the names of its runs (`which_runs.runs_of`).
Wanted = dict[str, list[str]]


def fits(context: Context, wanted: Wanted) -> list[Job]:
    """The reference fits that are missing."""
    return [
        Job(f"{design} reference", seed, partial(fit_lab, context, design, seed))
        for design in wanted
        if design in DESIGNS
        for seed in range(context.profile.seeds)
        if not fitted(context, design, seed)
    ]


def runs(context: Context, wanted: Wanted, generation: GenerationContext) -> list[Job]:
    """All runs whose reference is there."""
    return [
        Job(run, seed, partial(_measure, context, generation, design, run, seed), trains=design in DESIGNS)
        for design, names in wanted.items()
        for run in names
        for seed in range(context.profile.seeds)
        if design not in DESIGNS or fitted(context, design, seed)
    ]


def _measure(
    context: Context, generation: GenerationContext, design: str, run: str, seed: int, trainer: Trainer
) -> list[Measurement]:
    if design not in DESIGNS:
        return MEASUREMENTS[run](generation, seed)
    return DESIGNS[design].runs(context)[run](open_lab(context, design, seed, trainer))


def check_catalogues(context: Context, wanted: Wanted) -> int:
    """Every catalogue in the base model's tokens: what cannot work is said before anything is trained.

    Returns the number of the base model's parameters.
    """
    for design in wanted:
        if design in DESIGNS:
            encoded_catalogue(context, design, 0)
    return parameter_count(load(context.base).model)
