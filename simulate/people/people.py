"""Distortion on real people: every rule and method on files of ratings or rankings, claim D17.

A file's users are taken as the population: each user is a type, their ratings are their utilities, and bt_beta says
how noisily they would compare. What varies is who happened to be in the file, so users are the units of the
bootstrap, and all its electorates go through a rule together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.sparse.csgraph import connected_components

from simulate.montecarlo import Estimate, Rng
from simulate.people.data import People
from simulate.profiles import Profile
from theory.bradley_terry import product_pairs
from theory.distortion.methods import METHODS, Method, Situation
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.validate import Array

#: KL budget of the constrained methods, nats, around the uniform policy.
TAU = 0.5
#: Methods that see comparisons through rewards fitted on the rated pairs, which need not be all.
FITTED = ("rlhf", "rlhf_ball", "dpo", "uniform")
#: Win rates of electorates in memory at a time.
AT_A_TIME = 2**24


def methods_for(people: People) -> list[str]:
    """Methods that can run: rules on rankings need complete users, rules on win rates a rating of every pair."""
    if people.rated.complete:
        return list(METHODS)
    on_pairs = [name for name, method in METHODS.items() if method.looks_at == "comparisons"]
    return [name for name in on_pairs if name in FITTED] if people.rated.unrated_pairs() else on_pairs


def people_distortion(people: People, method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of one method on these users, with its bootstrap standard error and percentile interval (D17).

    Parameters
    ----------
    people : People
    method : str
        A name of `theory.distortion.METHODS` that `methods_for(people)` lists.
    bt_beta : float
        Slope of their Bradley–Terry choices.
    rng : numpy.random.Generator
    profile : Profile
        How many resamples.

    Returns
    -------
    Estimate
        ≥ 1; [low, high] holds 95 % of the replicates. Its witness says how many replicates were left out because an
        item had lost its raters, or its links to the others.

    Raises
    ------
    ValueError
        A method that is not listed; fewer than half of the replicates are left.

    Examples
    --------
    >>> from simulate import generator
    >>> from simulate.people import survey_people
    >>> from simulate.profiles import PROFILES
    >>> found = people_distortion(survey_people(), "borda", 2.0, rng=generator(0, "one"), profile=PROFILES["smoke"])
    >>> round(found.value, 3), found.n
    (1.0, 514)
    """
    if method not in (able := methods_for(people)):
        raise ValueError(f"method = {method!r} must be one of those that can run on {people.name}: {', '.join(able)}")
    entry, n = METHODS[method], people.n_users
    uniform = np.full(n, 1.0 / n)
    weights = np.vstack([uniform, rng.multinomial(n, uniform, size=profile.resamples) / n])
    averages = people.rated.average_utilities(weights)
    values = np.full(len(weights), np.nan)
    tau = TAU if entry.ball else math.inf
    log_reference = np.full(people.n_items, -math.log(people.n_items))
    for row, policy in enumerate(policies(people, entry, bt_beta, weights)):
        if policy is not None and not np.isnan(averages[row]).any():
            u = averages[row]
            best = u @ maximize_in_kl_ball(u, tau=tau, log_reference=log_reference)
            values[row] = best / (u @ policy)
    draws = values[1:][~np.isnan(values[1:])]
    out = profile.resamples - draws.size
    if 2 * out > profile.resamples or np.isnan(values[0]):
        raise ValueError(f"{people.name}: {out} of {profile.resamples} resamples lose an item: raise --min-raters")
    low, high = np.percentile(draws, [2.5, 97.5])
    witness = f"{out} of {profile.resamples} resamples lost an item" if out else ""
    return Estimate(float(values[0]), float(draws.std(ddof=1)), n, float(low), float(high), witness)


def policies(people: People, entry: Method, bt_beta: float, weights: Array) -> Iterator[Array | None]:
    """What a method does with each electorate (A,); None where its rated pairs do not link all items."""
    if entry.rule is not None:
        yield from entry.rule(people.rated.utilities, weights, bt_beta)
        return
    log_reference = np.full(people.n_items, -math.log(people.n_items))
    pairs = product_pairs(np.exp(log_reference))
    block = max(1, AT_A_TIME // people.n_items**2)
    for at in range(0, len(weights), block):
        some = weights[at : at + block]
        for weight, win_rates in zip(some, people.rated.win_rates(some, bt_beta), strict=True):
            seen = pairs
            if not people.rated.complete:
                seen = pairs * people.rated.compared(weight)
                if connected_components(seen, directed=False)[0] > 1:
                    yield None
                    continue
                seen = seen / seen.sum()
            yield entry.run(Situation(win_rates, bt_beta, seen, log_reference, TAU, None))
