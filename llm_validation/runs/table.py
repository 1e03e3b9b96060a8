"""All runs, and the jobs that they are: reference fits, runs that start from them, and runs that generate freely."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from llm_validation.catalogue.train import Trainer
from llm_validation.model.model import load, parameter_count
from llm_validation.runs import (
    best_of_n,
    correction,
    density_ratio,
    distortion,
    divergences,
    held_out,
    identity,
    people,
    proximal,
    reproducibility,
    separation,
)
from llm_validation.runs.catalogues import encoded_catalogue, fit_catalogue, fitted, open_reference
from llm_validation.runs.declared import validated
from llm_validation.runs.run import PEOPLE, Context, Run
from simulate.people.population import read_by
from simulate.rows.grid import Job, is_done
from simulate.rows.measurement import Measurement
from simulate.rows.reach import defining
from simulate.rows.store import Results
from theory.claims import find_claims

#: The module that fits references: the code that a kept one depends on, and every run that starts from it.
FITS = "llm_validation.runs.catalogues"
#: In the order in which they are started: the longest first, so that workers end together.
TOPICS = (
    best_of_n,
    correction,
    separation,
    people,
    distortion,
    identity,
    proximal,
    reproducibility,
    held_out,
    density_ratio,
    divergences,
)
RUNS: tuple[Run, ...] = tuple(run for topic in TOPICS for run in topic.RUNS)


def runs_of(words: Sequence[str]) -> list[Run]:
    """The runs that show one of these claims, given by ids and topics; all for none.

    Of a topic's claims those count that a language model can show. ValueError for a word that names none of them.
    """
    known = {claim for run in RUNS for claim in run.claim_ids}
    wanted: set[str] = set()
    for word in words:
        shown = {claim.id for claim in find_claims([word])} & known
        if not shown:
            raise ValueError(f"{word} has no check on a language model; those that have are {', '.join(sorted(known))}")
        wanted |= shown
    return [run for run in RUNS if not words or run.claim_ids & wanted]


def fit_of(catalogue: str) -> Run:
    """The fits of a catalogue's reference, as a run."""
    what = ("D12.reference_tv", "D12.reference_off")
    return Run(f"{catalogue} reference", fit_catalogue, (), catalogue, at={"catalogue": catalogue}, also=what)


def first_fits(runs: Sequence[Run]) -> list[Run]:
    """What is fitted once before these runs, besides references."""
    return list(dict.fromkeys(run.after for run in runs if run.after))


def fits(context: Context, runs: Sequence[Run], noted: Collection[str] | None = None) -> list[Job]:
    """The fits that are missing: what is fitted once, which takes longest, and references.

    noted   keys of the jobs whose rows are there: a kill may have come between what is kept and its rows. None: any
    """
    every = [
        (Job(fit.name, 0, partial(_measure, context, fit, 0), code_of(fit), trains=False), is_kept(context, fit))
        for fit in first_fits(runs)
    ] + [
        (Job(fit_of(name).name, seed, partial(fit_catalogue, context, name, seed)), fitted(context, name, seed))
        for name in dict.fromkeys(run.catalogue for run in runs if run.catalogue)
        for seed in range(context.profile.seeds)
    ]
    return [job for job, there in every if not there or (noted is not None and job.key not in noted)]


def jobs(context: Context, runs: Sequence[Run], *, fitted_only: bool = True) -> list[Job]:
    """All runs; `fitted_only`: whose reference, or what else they start from, is there."""
    return [
        Job(
            run.name, seed, partial(_measure, context, run, seed), code_of(run),
            read_by(context.people, context.about, context.profile.betas) if run.catalogue == PEOPLE else "",
            trains=run.catalogue is not None,
        )
        for run in runs
        for seed in range(context.profile.seeds)
        if not fitted_only or _can_start(context, run, seed)
    ]  # fmt: skip


def _can_start(context: Context, run: Run, seed: int) -> bool:
    return (run.catalogue is None or fitted(context, run.catalogue, seed)) and is_kept(context, run.after)


def is_kept(context: Context, fit: Run | None) -> bool:
    """Is what a fit that comes first leaves there? Of no fit it is."""
    return fit is None or fit.kept is None or fit.kept(context)


def done(context: Context, runs: Sequence[Run], results: Results) -> set[str]:
    """Keys of the jobs that a folder holds as this context would do them again."""
    every = jobs(context, runs, fitted_only=False)
    return {job.key for job in every if is_done(job, results)}


def code_of(run: Run) -> tuple[str, ...]:
    """The modules whose reach its rows depend on."""
    return (defining(run.measure),) if run.catalogue is None else (defining(run.measure), FITS)


def _measure(context: Context, run: Run, seed: int, trainer: Trainer) -> list[Measurement]:
    if run.catalogue is None:
        return list(validated(run, run.measure(context, seed)))
    reference = open_reference(context, run.catalogue, seed, trainer).part(run.prompts)
    return list(validated(run, run.measure(reference, *([context] if run.catalogue == PEOPLE else []))))


def check_catalogues(context: Context, runs: Sequence[Run]) -> int:
    """Every catalogue in the base model's tokens: what cannot work is said before anything is trained.

    Returns the number of the base model's parameters.
    """
    for catalogue in {run.catalogue for run in runs if run.catalogue}:
        encoded_catalogue(context, catalogue, 0)
    return parameter_count(load(context.base).model)
