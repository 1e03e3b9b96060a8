"""Train language models and measure the claims on them; write rows.

    python -m llm_validation                               every run, profile cpu
    python -m llm_validation P9 R4 --profile smoke         the runs that show these claims
    python -m llm_validation D17 --ratings FILE            real people's ratings as responses
    python -m llm_validation --model PATH_OR_NAME          another base model
    python -m llm_validation --corpus FILE… --minutes 9    pretrain on text; stop starting jobs after 9 minutes
    python -m llm_validation generate …                    Best-of-N and Speculative Rejection on a model of yours

Rows go to llm_validation/results/PROFILE (or --results DIR). Finished jobs are skipped: a run that was stopped goes on
where it stopped and ends with the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from llm_validation.corpus import read_documents
from llm_validation.grid import Job, run_jobs
from llm_validation.labs import DESIGNS, Context, encoded_catalogue, fit_lab, fitted, open_lab
from llm_validation.language import STORIES
from llm_validation.measured import Measured
from llm_validation.model import device
from llm_validation.people import check_people
from llm_validation.pretrain import pretrain
from llm_validation.profiles import PROFILES, Profile
from llm_validation.which_runs import runs_of
from simulate.distortion_people import People, generated_people
from simulate.montecarlo import generator
from simulate.ratings import read_ratings
from simulate.rows import ROOT, make_stamp
from theory.claims import find_claim

#: Versions that a stamp notes.
PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "accelerate", "safetensors")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, or 2 for input that cannot be used."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["generate"]:
        from llm_validation.generate_command import generate_main  # needs a model of the user's

        return generate_main(words[1:])
    options = _parser().parse_args(words)
    try:
        return _run(options)
    except (ValueError, FileNotFoundError, OSError) as error:
        print(f"llm_validation: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llm_validation", description="Check claims on trained models.")
    parser.add_argument("claims", nargs="*", metavar="ID", help="claim ids; all that have a language-model check")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--results", type=Path, help="folder for rows; llm_validation/results/PROFILE by default")
    parser.add_argument("--minutes", type=float, help="start no new job after so many minutes")
    parser.add_argument("--commit", help="the commit to note where there is no git")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="jobs at a time (1 on a GPU)")
    parser.add_argument("--seeds", type=int, help="number of seeds; the profile says how many by default")
    base = parser.add_argument_group("base model")
    base.add_argument("--model", help="a causal language model by name or path, in place of a pretrained one")
    base.add_argument("--corpus", nargs="+", type=Path, metavar="FILE", help="text to pretrain on: plain, .gz, .jsonl")
    base.add_argument("--field", default="text", help="field of a .jsonl corpus")
    people = parser.add_argument_group("real people (D17)")
    people.add_argument("--ratings", type=Path, help="csv or csv.gz, one row per user, one column per item")
    people.add_argument("--kind", choices=("ratings", "rankings"), default="ratings")
    people.add_argument("--scale", type=float, nargs=2, metavar=("MIN", "MAX"), help="the rating scale")
    people.add_argument("--missing", choices=("drop", "pairs"), help="what to do about missing ratings")
    people.add_argument("--items", nargs="+", metavar="COLUMN", help="item columns; the numeric ones by default")
    people.add_argument("--bt-beta", type=float, nargs="+", metavar="β", help="temperatures of the users")
    return parser


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    deadline = None if options.minutes is None else started + 60.0 * options.minutes
    profile = _profile(options)
    wanted = runs_of([find_claim(claim_id).id for claim_id in options.claims])
    people, about = _people(options)
    check_people(people)
    folder = options.results or ROOT / "llm_validation" / "results" / options.profile
    where = device()
    base = Path(options.model) if options.model else _pretrained(options, profile, folder)
    context = Context(base, folder, profile, people, about, where)
    seeds = range(profile.seeds)
    _check_catalogues(context, wanted)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else None
    config = {"base": options.model or asdict(profile.pretraining), **asdict(replace(profile))}
    stamp = make_stamp(
        options.profile, config, folders=("theory", "simulate", "llm_validation"), packages=PACKAGES,
        device=name, commit=options.commit,
    )  # fmt: skip
    workers = 1 if where.type == "cuda" else options.jobs
    fits = [
        Job(f"{design} reference", seed, partial(fit_lab, context, design, seed))
        for seed in seeds
        for design in wanted
        if not fitted(context, design, seed)
    ]
    left = run_jobs(fits, folder, stamp, workers, deadline=deadline, label="references", again=True)
    jobs = [
        Job(run, seed, partial(_measure, context, design, run, seed))
        for seed in seeds
        for design, runs in wanted.items()
        for run in runs
        if fitted(context, design, seed)
    ]
    left += run_jobs(jobs, folder, stamp, workers, deadline=deadline)
    if left:
        print(f"stopped after {options.minutes} minutes: {left} jobs or more are left; run again to go on")
    print(f"rows in {folder}, {time.monotonic() - started:.0f} s")
    return 0


def _measure(context: Context, design: str, run: str, seed: int) -> list[Measured]:
    return DESIGNS[design].runs(context)[run](open_lab(context, design, seed))


def _profile(options: argparse.Namespace) -> Profile:
    profile = PROFILES[options.profile]
    if options.bt_beta:
        profile = replace(profile, betas=tuple(options.bt_beta))
    if options.seeds is not None:
        if options.seeds < 1:
            raise ValueError(f"--seeds {options.seeds} must be at least 1")
        profile = replace(profile, seeds=options.seeds)
    return profile


def _pretrained(options: argparse.Namespace, profile: Profile, folder: Path) -> Path:
    """The base model's folder, trained now if it is not there."""
    source = read_documents(options.corpus, options.field) if options.corpus else STORIES
    base = folder / "checkpoints" / ("base-corpus" if options.corpus else "base")
    made = pretrain(profile.pretraining, source, base)
    if made.entropy is not None:
        print(
            f"base model: {made.held_out:.3f} nats per story against an entropy of {made.entropy:.3f} "
            f"({100 * made.excess:+.1f} %), {made.seconds:.0f} s, {made.tokens_per_second:.0f} tokens/s"
        )
    else:
        print(f"base model: {made.bits_per_byte:.3f} bits per byte, {made.seconds:.0f} s")
    return base


def _check_catalogues(context: Context, wanted: dict[str, list[str]]) -> None:
    """Every catalogue in the base model's tokens: what cannot work is said before anything is trained."""
    for design in wanted:
        encoded_catalogue(context, design, 0)


def _people(options: argparse.Namespace) -> tuple[People, dict[str, str | int]]:
    """The population of D17 and what its rows say about it."""
    if options.ratings is None:
        people = generated_people(generator(0, "generated people"))
        return people, {"population": people.name, "items": people.n_items}
    rated = read_ratings(
        options.ratings,
        options.kind,
        scale=tuple(options.scale) if options.scale else None,
        missing=options.missing,
        items=options.items,
    )
    print(f"{rated.name}: {rated.utilities.shape[0]} users, {len(rated.items)} items", file=sys.stderr)
    return People(rated.name, rated), {"population": rated.name, "items": len(rated.items)}


if __name__ == "__main__":
    sys.exit(main())
