"""Train language models and measure the claims on them; write rows.

    python -m llm_validation                               every run, profile cpu
    python -m llm_validation P9 R4 --profile smoke         the runs that show these claims
    python -m llm_validation --profile gpu --minutes 9     one GPU, in slices: run it again to go on
    python -m llm_validation --size micro mini             models of other sizes, each in a folder of its own
    python -m llm_validation D17 --ratings FILE            real people's ratings as responses
    python -m llm_validation --model PATH_OR_NAME          another base model
    python -m llm_validation --corpus FILE… --minutes 9    pretrain on text
    torchrun --nproc-per-node 2 -m llm_validation …        several processes: the same rows
    torchrun --nproc-per-node 2 -m llm_validation --shard  the model divided among them
    python -m llm_validation merge INTO PART…              bring the rows of slices together
    python -m llm_validation align …                       one loss on a file of your preferences
    python -m llm_validation generate …                    Best-of-N and Speculative Rejection on a model of yours

A plan is printed first: what is to be done, and how long it should take by a short calibration. Rows go to
llm_validation/results/PROFILE, or PROFILE-SIZE at another size than the profile's own (or --results DIR). Finished jobs
are skipped: a run that was stopped goes on where it stopped and ends with the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from llm_validation import generation_effort
from llm_validation.commands.align import align_main
from llm_validation.commands.generate import generate_main
from llm_validation.grid.merge import check_folder, merge_main
from llm_validation.grid.processes import end, share
from llm_validation.grid.run import Setup, run, show_plan
from llm_validation.model.model import device, use_tensor_cores
from llm_validation.model.sharding import shards_wanted
from llm_validation.pretraining.base_model import OutOfTime, base_folder
from llm_validation.profiles import PROFILES, RATES, SIZES_OF, Profile, folder_name, profile_at
from llm_validation.runs.catalogues import Context
from llm_validation.runs.people import check_people
from llm_validation.runs.which_runs import runs_of
from llm_validation.text.corpus import read_documents
from llm_validation.training.device import measure_rates
from simulate.people.options import add_people_options, chosen_people
from simulate.rows.store import ROOT, make_stamp
from theory.claims import find_claim

#: Versions that a stamp notes.
PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "accelerate", "safetensors")
#: Most processes that use one GPU at a time.
ON_A_GPU = 4
COMMANDS = {"generate": generate_main, "align": align_main, "merge": merge_main}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, or 2 for input that cannot be used."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    options = _parser().parse_args(words)
    started = time.monotonic()
    try:
        sizes = _sizes(options)
        for size in sizes:
            folder = options.results or ROOT / "llm_validation" / "results" / folder_name(options.profile, size)
            if options.results and len(sizes) > 1:
                folder = options.results / str(size)
            if not _run(options, size, folder, started):
                break
    except (ValueError, FileNotFoundError, OSError) as error:
        print(f"llm_validation: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llm_validation", description="Check claims on trained models.")
    parser.add_argument("claims", nargs="*", metavar="ID", help="claim ids; all that have a language-model check")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--size", nargs="+", choices=list(RATES), metavar="SIZE", help="sizes of the model, one after "
                        f"another: {', '.join(RATES)}; the profile's own by default")  # fmt: skip
    parser.add_argument("--results", type=Path, help="folder for rows (a folder for each of several sizes in it)")
    parser.add_argument("--minutes", type=float, help="start no new job after so many minutes")
    parser.add_argument("--commit", help="the commit to note where there is no git")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="jobs at a time, in processes")
    parser.add_argument("--seeds", type=int, help="number of seeds; the profile says how many by default")
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction, help="compute rows of other code again; "
                        "the default, but for profile gpu")  # fmt: skip
    parser.add_argument("--side-by-side", action=argparse.BooleanOptionalAction, help="train the seeds of a run as one "
                        "stack; the default on a GPU")  # fmt: skip
    parser.add_argument("--shard", action="store_true", help="divide the model among the processes of a launcher")
    base = parser.add_argument_group("base model")
    base.add_argument("--model", help="a causal language model by name or path, in place of a pretrained one")
    base.add_argument("--corpus", nargs="+", type=Path, metavar="FILE", help="text to pretrain on: plain, .gz, .jsonl")
    base.add_argument("--pretrain-steps", type=int, help="optimiser steps, in place of the size's own")
    base.add_argument("--field", default="text", help="field of a .jsonl corpus")
    add_people_options(parser, None)
    return parser


def _sizes(options: argparse.Namespace) -> list[str | None]:
    """The sizes to be run one after another; None is the profile's own, or a given model's."""
    if options.model:
        if options.size:
            raise ValueError("--size is of a model to be pretrained, and --model gives one")
        return [None]
    return list(options.size or SIZES_OF.get(options.profile, [None]))


def _run(options: argparse.Namespace, size: str | None, folder: Path, started: float) -> bool:
    """One size: the plan, and all of it or what there is time for. Is everything done?"""
    setup = _setup(options, size, folder, started)
    plan = show_plan(setup, options.minutes or None) if setup.mine.rank == 0 else None
    if options.plan:
        return True
    try:
        left = run(setup, plan.seconds if plan else {})
    except OutOfTime as stopped:
        print(f"stopped after {options.minutes} minutes: {stopped}; run again to go on")
        return False
    if left:
        print(f"stopped after {options.minutes} minutes: {left} jobs or more are left; run again to go on")
    print(f"rows in {folder}, {time.monotonic() - started:.0f} s")
    return not left


def _setup(options: argparse.Namespace, size: str | None, folder: Path, started: float) -> Setup:
    """Everything that can be wrong with the input is found here."""
    use_tensor_cores()
    mine, profile, where = share(divided=shards_wanted(options.shard)), _profile(options, size), device()
    wanted = runs_of([find_claim(claim_id).id for claim_id in options.claims])
    people, about = chosen_people(options, 0)
    check_people(people)
    documents = read_documents(options.corpus, options.field) if options.corpus else None
    stamp = _stamp(options, profile)
    recompute = options.profile != "gpu" if options.recompute is None else options.recompute
    check_folder(folder, stamp, recompute=recompute)
    base, rates = Path(options.model) if options.model else base_folder(folder, documents), measure_rates(where)
    together = where.type == "cuda" if options.side_by_side is None else options.side_by_side
    return Setup(
        context=Context(base, folder, profile, people, about, where, str(stamp["fingerprint"]), mine.writes),
        generation=generation_effort.context(base, options.profile, size=size, rates=rates),
        profile=options.profile,
        given=options.model is not None,
        wanted=wanted,
        documents=documents,
        stamp=stamp,
        rates=rates,
        deadline=None if options.minutes is None else started + 60.0 * options.minutes,
        whole=60.0 * (options.minutes or 0.0),
        mine=mine,
        side_by_side=together and not mine.divided,
        processes=1 if mine.divided else min(options.jobs, ON_A_GPU) if where.type == "cuda" else options.jobs,
    )


def _stamp(options: argparse.Namespace, profile: Profile) -> dict[str, object]:
    """What rows note of the run."""
    cuda = device().type == "cuda"
    base = options.model or [str(path) for path in options.corpus or ["generated language"]]
    size = "given" if options.model else profile.pretraining.size
    return make_stamp(
        options.profile,
        {"base": base, "size": size, **asdict(profile)},
        folders=("theory", "simulate", "llm_validation"),
        packages=PACKAGES,
        device=torch.cuda.get_device_name(device()) if cuda else None,
        commit=options.commit,
    )


def _profile(options: argparse.Namespace, size: str | None) -> Profile:
    profile = profile_at(options.profile, size)
    if options.pretrain_steps is not None:
        profile = replace(profile, pretraining=replace(profile.pretraining, steps=options.pretrain_steps))
    if options.bt_beta:
        profile = replace(profile, betas=tuple(options.bt_beta))
    if options.seeds is not None:
        if options.seeds < 1:
            raise ValueError(f"--seeds {options.seeds} must be at least 1")
        profile = replace(profile, seeds=options.seeds)
    return profile


if __name__ == "__main__":
    end(main())
