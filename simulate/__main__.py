"""Measure the claims by Monte Carlo, adversarial search and certified programs; write rows.

    python -m simulate                              every claim, profile cpu
    python -m simulate D4 D8 --profile smoke        two claims, seconds
    python -m simulate --minutes 9                  in slices: run it again to go on
    python -m simulate D17 --ratings FILE           every rule and method on real people's ratings
    python -m simulate --on dask:tcp://HOST:8786    on a cluster: the same rows

commands (each says more with --help):
    python -m simulate audit FILE --bt-beta 5       comparisons of your own: interval, witness, which pair to ask next
    python -m simulate sweep FILE.toml              a grid of settings, population families and seeds, into parquet
    python -m simulate merge INTO PART…             bring the rows of slices together
    python -m simulate compare A B                  are the rows of two results folders the same?

Rows go to simulate/results/PROFILE (or --results DIR). The verdict of a claim is printed as soon as its cells are done.
Finished cells are skipped, so a run that was stopped goes on where it stopped and ends with the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from simulate.experiments import jobs, people_jobs
from simulate.numbers import Parser, a_path, carried_out, count, not_negative, seed, unless_interrupted
from simulate.options import add_people_options
from simulate.people.audit import audit_main
from simulate.people.population import chosen_people
from simulate.profiles import PROFILES, Profile
from simulate.rows.backends import add_on, check_minutes
from simulate.rows.compare import compare_folders
from simulate.rows.grid import Execution, Job, in_time, run_jobs
from simulate.rows.merge import check_folder, merge_main
from simulate.rows.reach import HOME
from simulate.rows.store import locked, make_stamp, read_rows
from simulate.rows.verdicts import announcing
from simulate.sweep import sweep_main
from theory.claims import CLAIMS, find_claims
from theory.distortion.settings import BETAS

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "audit": audit_main, "sweep": sweep_main, "merge": merge_main, "compare": compare_folders,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    options = _parser().parse_args(words)
    return carried_out("simulate", lambda: _measure(options))


def _measure(options: argparse.Namespace) -> None:
    """Run the cells that are asked for and not done yet. ValueError or OSError for what cannot be run."""
    folder = options.results or HOME / "simulate" / "results" / options.profile
    deadline = None if options.minutes is None else time.monotonic() + 60.0 * options.minutes
    profile = PROFILES[options.profile]
    stamp = make_stamp(options.profile, {**asdict(profile), "seed": options.seed})
    check_minutes(options.on, options.minutes)
    cells = _cells(options, profile)
    with locked(folder, drop_stale=True):
        check_folder(folder, stamp)
        how = Execution(options.jobs, may_start=in_time(deadline), on_rows=announcing(cells, folder), on=options.on)
        left = run_jobs(cells, folder, stamp, how)
    if left:
        print(f"stopped after {options.minutes:g} minutes: {left} cells are left; run again to go on")
    print(f"{len(read_rows(folder))} rows in {folder}")


def _cells(options: argparse.Namespace, profile: Profile) -> list[Job]:
    claims = find_claims(options.claims) if options.claims else CLAIMS
    cells = jobs(claims, profile, options.seed)
    people, about = chosen_people(options)
    if "D17" in {claim.id for claim in claims}:
        betas = list(dict.fromkeys(options.bt_beta or BETAS[: profile.settings]))
        cells += people_jobs(people, about, betas, profile, options.seed)
    elif options.ratings or options.bt_beta:
        raise ValueError(f"--{'ratings' if options.ratings else 'bt-beta'} is of D17, which is not among the claims")
    return cells


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claims", nargs="*", metavar="ID", help="claim ids or topics; all by default")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--results", type=a_path, help="folder for rows; simulate/results/PROFILE by default")
    parser.add_argument("--seed", type=seed, default=0, help="first seed; the profile says how many")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="cells measured at a time")
    parser.add_argument("--minutes", type=not_negative, help="start no new cell after so many minutes")
    add_on(parser)
    add_people_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(unless_interrupted("simulate", main))
