"""Train language models and measure the claims on them; write rows.

    python -m llm_validation                               every run, profile cpu
    python -m llm_validation P9 R4 --profile smoke         the runs that show these claims
    python -m llm_validation D17 --ratings FILE            real people's ratings as responses
    python -m llm_validation --model PATH_OR_NAME          another base model
    python -m llm_validation --corpus FILE… --minutes 9    pretrain on text; stop starting jobs after 9 minutes
    torchrun --nproc-per-node 2 -m llm_validation …        several processes: the same rows
    python -m llm_validation align …                       one loss on a file of your preferences
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

from llm_validation.align_command import align_main
from llm_validation.corpus import read_documents
from llm_validation.generation import MEASUREMENTS, generate_main
from llm_validation.generation_effort import context as generation_context
from llm_validation.grid import Job, run_jobs
from llm_validation.labs import DESIGNS, Context, encoded_catalogue, fit_lab, fitted, open_lab
from llm_validation.language import STORIES
from llm_validation.measured import Measured
from llm_validation.model import device
from llm_validation.people import check_people
from llm_validation.pretrain import pretrain
from llm_validation.processes import bring_together, share, wait_for_everyone
from llm_validation.profiles import PROFILES, Profile
from llm_validation.which_runs import runs_of
from simulate.people_options import add_people_options, chosen_people
from simulate.rows import ROOT, make_stamp
from theory.claims import find_claim

#: Versions that a stamp notes.
PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "accelerate", "safetensors")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, or 2 for input that cannot be used."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["generate"]:
        return generate_main(words[1:])
    if words[:1] == ["align"]:
        return align_main(words[1:])
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
    add_people_options(parser, None)
    return parser


def _run(options: argparse.Namespace) -> int:
    """Base model, references, runs: each stage does what is not done yet, and stops in time."""
    started = time.monotonic()
    deadline = None if options.minutes is None else started + 60.0 * options.minutes
    wanted = runs_of([find_claim(claim_id).id for claim_id in options.claims])
    context = _context(options)
    _check_catalogues(context, wanted)
    mine, stamp = share(), _stamp(options, context)
    workers = 1 if context.device.type == "cuda" else options.jobs
    rows = mine.folder(context.folder)
    fits = mine.of(_fits(context, wanted))
    left = run_jobs(fits, rows, stamp, workers, deadline=deadline, label="references", again=True)
    wait_for_everyone()
    left += run_jobs(mine.of(_runs(context, wanted, options.profile)), rows, stamp, workers, deadline=deadline)
    wait_for_everyone()
    if mine.size > 1 and mine.rank == 0:
        bring_together(context.folder, mine.size)
    if left:
        print(f"stopped after {options.minutes} minutes: {left} jobs or more are left; run again to go on")
    print(f"rows in {context.folder}, {time.monotonic() - started:.0f} s")
    return 0


def _context(options: argparse.Namespace) -> Context:
    """What all jobs share; pretrains the base model if there is none yet."""
    profile = _profile(options)
    people, about = chosen_people(options, 0)
    check_people(people)
    folder = options.results or ROOT / "llm_validation" / "results" / options.profile
    base = Path(options.model) if options.model else _pretrained(options, profile, folder)
    return Context(base, folder, profile, people, about, device())


def _stamp(options: argparse.Namespace, context: Context) -> dict[str, object]:
    cuda = context.device.type == "cuda"
    base = options.model or [str(path) for path in options.corpus or ["generated language"]]
    return make_stamp(
        options.profile,
        {"base": base, **asdict(context.profile)},
        folders=("theory", "simulate", "llm_validation"),
        packages=PACKAGES,
        device=torch.cuda.get_device_name(context.device) if cuda else None,
        commit=options.commit,
    )


def _fits(context: Context, wanted: dict[str, list[str]]) -> list[Job]:
    """The reference fits that are missing."""
    return [
        Job(f"{design} reference", seed, partial(fit_lab, context, design, seed))
        for seed in range(context.profile.seeds)
        for design in wanted
        if design in DESIGNS and not fitted(context, design, seed)
    ]


def _runs(context: Context, wanted: dict[str, list[str]], profile: str) -> list[Job]:
    """All runs whose reference is there."""
    return [
        Job(run, seed, partial(_measure, context, profile, design, run, seed))
        for design, runs in wanted.items()
        for run in runs
        for seed in range(context.profile.seeds)
        if design not in DESIGNS or fitted(context, design, seed)
    ]


def _measure(context: Context, profile: str, design: str, run: str, seed: int) -> list[Measured]:
    if design not in DESIGNS:
        return MEASUREMENTS[run](generation_context(context.base, profile), seed)
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
        if design in DESIGNS:
            encoded_catalogue(context, design, 0)


if __name__ == "__main__":
    sys.exit(main())
