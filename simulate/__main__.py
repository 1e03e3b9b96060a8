"""Measure the claims by Monte Carlo, adversarial search and certified programs; write rows.

    python -m simulate                              every claim, profile cpu
    python -m simulate D4 D8 --profile smoke        two claims, seconds
    python -m simulate D17 --ratings FILE           every rule and method on real people's ratings
    python -m simulate compare A B                  are the rows of two results folders the same?

Rows go to simulate/results/PROFILE (or --results DIR). Finished cells are skipped, so a run that was stopped goes on
where it stopped and ends with the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from simulate.experiments import EXPERIMENTS, MEASUREMENTS
from simulate.montecarlo import Estimate, generator
from simulate.options import add_people_options
from simulate.people.people import People, chosen_people, people_distortion
from simulate.profiles import PROFILES, Profile
from simulate.rows.compare import compare_folders
from simulate.rows.store import ROOT, Cell, make_stamp, run
from theory.claim import Setting, setting_key
from theory.claims import CLAIMS, find_claims
from theory.distortion.settings import BETAS


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["compare"]:
        return compare_folders(words[1:])
    options = _parser().parse_args(words)
    try:
        profile = PROFILES[options.profile]
        people = chosen_people(options, options.seed)
        cells = _cells(options.claims, people, options.bt_beta, profile, options.seed)
    except (ValueError, FileNotFoundError) as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    folder = options.results or ROOT / "simulate" / "results" / options.profile
    config = {**asdict(profile), "seed": options.seed}
    results = run(cells, folder, make_stamp(options.profile, config), options.jobs)
    print(f"{len(results.rows)} rows in {folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulate", description="Measure claims by simulation.")
    parser.add_argument("claims", nargs="*", metavar="ID", help="claim ids; all by default")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--results", type=Path, help="folder for rows; simulate/results/PROFILE by default")
    parser.add_argument("--seed", type=int, default=0, help="first seed; the profile says how many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cells measured at a time")
    add_people_options(parser, list(BETAS))
    return parser


def _cells(
    ids: list[str], who: tuple[People, dict[str, str | int]], betas: list[float], profile: Profile, seed: int
) -> list[Cell]:
    """The cells of the claims asked for. ValueError for an unknown id."""
    claims = find_claims(ids) if ids else list(CLAIMS)
    cells = []
    for claim in claims:
        if claim.id == "D17":
            cells += _people_cells(*who, betas[: profile.settings], profile, seed)
            continue
        grids = {check.name: check.settings for check in claim.checks}
        for key, (_, settings) in MEASUREMENTS.items():
            if key.split(".")[0] == claim.id:
                grids[key.split(".")[1]] = settings
        for name, settings in grids.items():
            for setting in settings[: profile.settings]:
                for s in range(seed, seed + profile.seeds):
                    measure = partial(_measure, f"{claim.id}.{name}", setting, s, profile)
                    cells.append(Cell(claim.id, name, setting, s, measure))
    return cells


def _measure(key: str, setting: Setting, seed: int, profile: Profile) -> Estimate:
    function = EXPERIMENTS[key] if key in EXPERIMENTS else MEASUREMENTS[key][0]
    return function(**setting, rng=generator(seed, key, setting_key(setting)), profile=profile)


def _people_cells(
    people: People, about: dict[str, str | int], betas: list[float], profile: Profile, seed: int
) -> list[Cell]:
    """One cell per method and bt_beta.

    Win rates of rated pairs come from different users for different pairs, no one population need have them, and the
    bounds do not cover them: such rows get a check name of their own, which no claim predicts.
    """
    suffix = "" if people.rated.complete else "_on_rated_pairs"
    cells = []
    for method in people.methods():
        for beta in betas:
            setting: Setting = {**about, "bt_beta": beta}
            # the same resamples of users for every method and bt_beta, so that methods compare pair by pair
            rng = generator(seed, "D17", str(about["population"]))
            measure = partial(people_distortion, people, method, beta, rng=rng, profile=profile)
            cells.append(Cell("D17", method + suffix, setting, seed, measure))
    return cells


if __name__ == "__main__":
    sys.exit(main())
