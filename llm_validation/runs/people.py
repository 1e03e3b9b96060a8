"""Real people's ratings on a trained language model: D17. Items are responses, users are Bradley–Terry choosers.

One prompt per bt_beta, the same items as responses under each. The users of a ratings file (of the survey that comes
with the package where none is given) compare items, and the model is aligned to the comparisons by RLHF, DPO and NLHF;
distortion is that of the users' own average utility. Shapes: P prompts (one per bt_beta), A items, off last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_validation.catalogue.reference import Reference, conditional
from llm_validation.claims.settings import PEOPLE_NLHF_WEIGHT, PEOPLE_RLHF_WEIGHT
from llm_validation.losses.pairs import dpo
from llm_validation.runs.comparisons import (
    Situation,
    comparison_objective,
    nash_objective,
    penalty_objective,
    predicted_nlhf,
    predicted_rlhf,
)
from llm_validation.runs.reward_fit import fit_reward_model
from llm_validation.runs.run import PEOPLE, Context, Run
from simulate.montecarlo import generator
from simulate.people.data import People
from simulate.rows.measurement import Measurement, measurement
from theory.bradley_terry import Population
from theory.distortion.measure import distortion
from theory.policy import rewards
from theory.validate import Array

#: Comparisons drawn from the file's users.
COMPARISONS = 10**6
#: Parts of the schedule's steps after which distortion is within .001 of where it ends; RLHF needs them all.
ENOUGH = {"rlhf": 1.0, "dpo": 0.6, "nlhf": 0.75}


def check_people(people: People) -> None:
    """ValueError if some user did not rate some item: average utility of a policy needs every user's rating of it."""
    if not people.rated.complete:
        raise ValueError(f"{people.name}: users with missing ratings cannot be trained on; use --missing drop")


def situations(reference: Reference, people: People, betas: Sequence[float]) -> list[Situation]:
    """Comparisons of uniform pairs of items, drawn once per bt_beta and seed."""
    population, words = Population(people.rated.utilities), ("people compare", people.name)
    return [
        Situation.drawn(str(beta), population, beta, COMPARISONS, generator(reference.seed, *words, beta))
        for beta in betas
    ]


def aligned_to_people(reference: Reference, context: Context) -> list[Measurement]:
    """Distortion reached by RLHF, DPO and NLHF, and relative to the plug-in prediction, for every bt_beta."""
    prompts = situations(reference, context.people, context.profile.betas)
    weights, nash = np.full(len(prompts), PEOPLE_RLHF_WEIGHT), np.full(len(prompts), PEOPLE_NLHF_WEIGHT)
    rates, pairs = (np.stack([getattr(s, name) for s in prompts]) for name in ("win_rates", "pair_weights"))
    # every pair is compared as often as any other: the schedule's steps leave 3e-5 of a reward, twice as many 1e-5
    model = fit_reward_model(reference, rates, pairs, longer=1)
    whole, gentle = reference.schedule, reference.schedule.slower(0.5)
    objectives = {
        "rlhf": (penalty_objective(reference, model.rewards, weights), gentle),
        "dpo": (comparison_objective(dpo, reference, prompts, weights), whole),
        "nlhf": (nash_objective(reference, rates, nash), gentle),
    }
    rows = []
    for method, (objective, schedule) in objectives.items():
        trained = reference.train(objective, f"{method} on people", schedule=schedule.longer(ENOUGH[method]))
        reached = conditional(trained.policy)
        for p, s in enumerate(prompts):
            value = distortion(s.population, reached[p])
            predicted = distortion(s.population, _predicted(reference, s, p, method))
            setting = {**context.about, "method": method, "bt_beta": s.bt_beta}
            rows += [
                measurement("D17", "trained", setting, value / predicted - 1.0),
                measurement("D17", "trained_distortion", setting, value),
            ]
    return rows


def _predicted(reference: Reference, s: Situation, p: int, method: str) -> Array:
    """The predicted law on the items (A,)."""
    if method == "dpo":
        ref = np.log(reference.on_catalogue[p])
        return rewards.dpo(s.win_rates, s.pair_weights, None, PEOPLE_RLHF_WEIGHT, log_reference=ref)
    predict, weight = (predicted_rlhf, PEOPLE_RLHF_WEIGHT) if method == "rlhf" else (predicted_nlhf, PEOPLE_NLHF_WEIGHT)
    return conditional(predict(s, reference.log_law[p], weight)[None])[0]


RUNS = (
    Run(
        "people",
        aligned_to_people,
        ("D17",),
        PEOPLE,
        also=("D17.trained_distortion",),
        free=("population", "data", "items", "missing", "scale", "bt_beta"),
    ),
)
