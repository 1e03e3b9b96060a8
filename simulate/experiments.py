"""All experiments, and the jobs that they are: which function measures which check stands at the end of its file."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from simulate.best_of_n import laws, memory, pessimism, proxy, rejection
from simulate.correction import bootstrap, channels
from simulate.correction import users as correctors
from simulate.density_ratio import flow, ratios, reference, welfare
from simulate.density_ratio import samples as ratio_samples
from simulate.distortion import (
    audit,
    balls,
    clipped,
    few,
    kl_ball,
    methods,
    penalty,
    proportional,
    rankings,
    regimes,
    samples,
    win_rates,
    worst_cases,
)
from simulate.divergences import data, kl_estimators, losses, pairing, policies
from simulate.divergences import samples as divergence_samples
from simulate.montecarlo import Experiment, Experiments, generator
from simulate.people.data import People
from simulate.people.people import methods_for, people_distortion
from simulate.profiles import Profile
from simulate.proximal import displacement, existence, held_out, labels, optima, runs
from simulate.rows.grid import Job
from simulate.rows.measurement import Measurement
from simulate.rows.reach import defining
from theory.claim import Claim, Setting, setting_key

TABLES = [
    module.EXPERIMENTS
    for module in (
        *(win_rates, worst_cases, balls, few, kl_ball, penalty),
        *(proportional, regimes, clipped, audit, rankings, samples),
        *(optima, existence, labels, runs, held_out, displacement),
        *(losses, policies, divergence_samples, data, kl_estimators, pairing),
        *(ratios, flow, ratio_samples, reference, welfare),
        *(channels, bootstrap, correctors),
        *(laws, rejection, memory, proxy, pessimism),
    )
]
#: `claim.check` → function(**setting, rng, profile). D17 is in `simulate.people.people`: its grid is the user's.
EXPERIMENTS: Experiments = {key: experiment for table in TABLES for key, experiment in table.items()}
#: Rows that no claim judges: `claim.name` → (function, its settings).
MEASUREMENTS = methods.MEASUREMENTS

if len(EXPERIMENTS) < sum(map(len, TABLES)):
    twice = [key for key, times in Counter(key for table in TABLES for key in table).items() if times > 1]
    raise ValueError(f"{twice[0]} is measured by two experiments")


def jobs(claims: Sequence[Claim], profile: Profile, first_seed: int) -> list[Job]:
    """One job per check, setting and seed of the claims, but of D17 (`people_jobs`).

    ValueError for a setting that an experiment does not take.
    """
    return [
        cell(key, setting, first_seed + i, (key, setting_key(setting)), bound, profile)
        for claim in claims
        for key, experiment, settings, times in _measured(claim)
        for setting in settings[: profile.settings]
        for bound in [bind(key, experiment, setting)]
        for i in range(profile.seeds * times(setting))
    ]


def _measured(claim: Claim) -> Iterator[tuple[str, Experiment, Sequence[Setting], Callable[[Setting], int]]]:
    """`claim.check`, what measures it, at which settings, and how often each takes the profile's seeds."""
    for check in claim.checks:
        if check.kind != "cited" and claim.id != "D17":
            key = f"{claim.id}.{check.name}"
            yield key, EXPERIMENTS[key], check.settings, check.seeds_at
    for key, (experiment, settings) in MEASUREMENTS.items():
        if key.split(".")[0] == claim.id:
            yield key, experiment, settings, lambda _: 1


def people_jobs(
    people: People, about: dict[str, str | int], betas: Sequence[float], profile: Profile, seed: int
) -> list[Job]:
    """D17: one job per method and bt_beta.

    Win rates of rated pairs come from different users for different pairs, no one population need have them, and the
    bounds do not cover them: such rows get a check name of their own, which no claim predicts.
    """
    suffix = "" if people.rated.complete else "_on_rated_pairs"
    # the same resamples of users for every method and bt_beta, so that methods compare pair by pair
    words = ("D17", str(about["population"]))
    return [
        cell(f"D17.{method}{suffix}", {**about, "bt_beta": beta}, seed, words,
              partial(people_distortion, people, method, beta), profile, people.digest)
        for method in methods_for(people) for beta in betas
    ]  # fmt: skip


def bind(key: str, experiment: Experiment, setting: Setting) -> Experiment:
    """The experiment at a setting. ValueError for one that it does not take, or that leaves out what it needs."""
    signature, at = inspect.signature(experiment), setting_key(setting) or "no setting"
    unknown = [name for name in setting if name not in signature.parameters]
    if unknown:
        raise ValueError(f"experiment {key} at {at} takes no {unknown[0]!r}")
    try:
        signature.bind(**setting, rng=None, profile=None)
    except TypeError as error:
        raise ValueError(f"experiment {key} at {at}: {error}") from None
    return partial(experiment, **setting)


def cell(
    key: str, setting: Setting, seed: int, words: tuple[str, ...], bound: Experiment, profile: Profile, inputs: str = ""
) -> Job:
    """The job that measures one check, `bound` to a setting, at one seed; `words` name its draws."""
    measure = partial(_measure, key, setting, seed, words, bound, profile)
    claim, check = key.split(".")
    at = setting_key(setting)
    return Job(f"{key} at {at}", seed, measure, (defining(bound),), inputs, cell=(claim, check, at, seed))


def _measure(
    key: str, setting: Setting, seed: int, words: tuple[str, ...], bound: Experiment, profile: Profile
) -> list[Measurement]:
    claim, check = key.split(".")
    return [Measurement(claim, check, setting, bound(rng=generator(seed, *words), profile=profile))]
