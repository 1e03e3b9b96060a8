"""Distortion on a trained language model: D3–D5, D8, D9, D11–D13, D15. What alignment does to average utility.

Six prompts, each an instance: its users compare eight responses, the comparisons are drawn, and the model is aligned to
them by RLHF (a reward model, fitted by Bradley–Terry maximum likelihood, and a policy), DPO and NLHF
(`llm_validation.runs.comparisons`). Predictions start from the measured reference and the drawn comparisons.

Shapes: P prompts, A responses, off last.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.reference import Reference, conditional, total_variation
from llm_validation.catalogue.train import Trained
from llm_validation.claims.settings import (
    BALL,
    CLIP_SHARE,
    DPO_INSTANCES,
    INSTANCE_BETAS,
    INSTANCES,
    NLHF_WEIGHTS,
    RLHF_WEIGHTS,
)
from llm_validation.claims.targets import near
from llm_validation.losses.pairs import dpo
from llm_validation.runs.comparisons import (
    Situation,
    boundary_weight,
    clip_level,
    comparison_objective,
    nash_objective,
    penalty_objective,
    predicted_nlhf,
    predicted_rlhf,
    sampled_objective,
    with_off,
)
from llm_validation.runs.reward_fit import FittedRewards, fit_reward_model
from llm_validation.runs.run import Run, law_rows
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.instance import Instance
from theory.distortion.instances import (
    borda_instance,
    condorcet_instance,
    correlated_instance,
    rlhf_instance,
    uniform_instance,
)
from theory.distortion.measure import distortion
from theory.policy import rewards as policy
from theory.policy.kl_ball import kl
from theory.validate import Array

#: Users who compare, per prompt: so many that the worst-case instances' small margins are seen; cost does not grow.
USERS = 10**12


def instance(name: str, seed: int) -> Instance:
    """The instance of a prompt, with eight alternatives."""
    beta = INSTANCE_BETAS[INSTANCES.index(name)]
    if name == "I3":
        return condorcet_instance(beta, 8, 0.05, 1.5)
    if name == "I5":
        return borda_instance(beta, 0.2, clones=6)
    if name == "I6":
        return _split_clones(rlhf_instance(beta), 6)
    if name in ("I9", "I9_product"):
        return correlated_instance(beta, 8, 1e-4)
    rng = generator(seed, "random users")
    return uniform_instance(Population(rng.beta(0.5, 0.5, (5, 8)), rng.dirichlet(np.ones(5))), beta)


def _split_clones(collapsed: Instance, clones: int) -> Instance:
    """I6 with its class of clones as `clones` responses, each standing for an equal share of the class."""
    columns = [0, 1, *[2] * clones]
    mass = np.array([1.0, 1.0, *[1.0 / clones] * clones])
    masses = collapsed.mu[columns] * mass
    population = Population(collapsed.population.utilities[:, columns], collapsed.population.weights)
    return Instance(
        population,
        product_pairs(masses),
        collapsed.log_reference[columns] + np.log(mass),
        collapsed.tau,
        np.ones(len(columns)),
        collapsed.bt_beta,
        ("a", "b", *(f"c{i}" for i in range(1, clones + 1))),
    )


def situations(reference: Reference) -> list[Situation]:
    """The comparisons of every prompt, drawn once per seed."""
    prompts = []
    for name in INSTANCES:
        built = instance(name, reference.seed)
        rng = generator(reference.seed, "comparisons", name)
        pairs, tau = (None if name == "I9_product" else built.pair_weights), (BALL if name == "I6" else math.inf)
        prompts.append(Situation.drawn(name, built.population, built.bt_beta, USERS, rng, pairs, tau))
    return prompts


def of_dpo(reference: Reference, prompts: list[Situation]) -> tuple[list[int], Reference, list[Situation]]:
    """The places of `DPO_INSTANCES`, and the reference and the prompts there."""
    chosen = [p for p, s in enumerate(prompts) if s.name in DPO_INSTANCES]
    return chosen, reference.part(chosen), [prompts[p] for p in chosen]


def kl_weights(reference: Reference, prompts: list[Situation], method: str) -> Array:
    """λ per prompt (P,) for "rlhf" or "nlhf"; on I6 the one at which the prediction is on the boundary of the ball."""
    predict, table = {"rlhf": (predicted_rlhf, RLHF_WEIGHTS), "nlhf": (predicted_nlhf, NLHF_WEIGHTS)}[method]
    weights = []
    for s, law, fixed in zip(prompts, reference.log_law, table, strict=True):
        weights.append(fixed or boundary_weight(partial(predict, s, law), law, BALL))
    return np.array(weights)


def reached(s: Situation, trained: Trained, p: int) -> float:
    """Distortion of the trained policy conditional on the catalogue (off has no utility to speak of)."""
    return _distortion(s, conditional(trained.policy[p : p + 1])[0], trained, p)


def _distortion(s: Situation, law: Array, trained: Trained, p: int) -> float:
    reference = conditional(np.exp(trained.path[0, p : p + 1]))[0]
    return distortion(s.population, law, reference, s.tau)


def _distortion_rows(prompts: list[Situation], trained: Trained, target: Array, method: str) -> list[Measurement]:
    """Per instance: the distortion reached, the one predicted, and their ratio less one."""
    rows, claim = [], {"rlhf": "D8", "nlhf": "D9"}[method]
    for p, s in enumerate(prompts):
        value, predicted = reached(s, trained, p), _distortion(s, conditional(target[p : p + 1])[0], trained, p)
        setting = {"method": method, "instance": s.name}
        rows += [
            measurement(claim, "reached", setting, value),
            measurement(claim, "predicted", setting, predicted),
            measurement(claim, "excess", setting, value / predicted - 1.0),
        ]
    return rows


def aligned(reference: Reference) -> list[Measurement]:
    """RLHF, exact and on clipped rewards, beside NLHF and DPO on the same comparisons."""
    prompts, gentle = situations(reference), reference.schedule.slower(0.5).longer(2)  # small KL weights: stiff
    rates, pairs = (np.stack([getattr(s, name) for s in prompts]) for name in ("win_rates", "pair_weights"))
    model = fit_reward_model(reference, rates, pairs)
    weights, nash = kl_weights(reference, prompts, "rlhf"), kl_weights(reference, prompts, "nlhf")
    rlhf = reference.train(penalty_objective(reference, model.rewards, weights), "rlhf", schedule=gentle)
    nlhf = reference.train(nash_objective(reference, rates, nash), "nlhf")
    rows = []
    for claim, method, trained, predict, at in (
        ("D12", "rlhf", rlhf, predicted_rlhf, weights),
        ("D9", "nlhf", nlhf, predicted_nlhf, nash),
    ):
        target = np.stack([predict(s, *law) for s, *law in zip(prompts, reference.log_law, at, strict=True)])
        rows += law_rows(claim, {"method": method}, np.exp(reference.log_law), trained.policy, target)
        rows += _distortion_rows(prompts, trained, target, method)
    rows += _instance_claims(prompts, rlhf, nlhf, model)
    rows += _clipped(reference, prompts, model, weights, rlhf)
    return [*rows, *_dpo(reference, prompts, weights, rlhf)]


def _instance_claims(prompts: list[Situation], rlhf: Trained, nlhf: Trained, model: FittedRewards) -> list[Measurement]:
    """What the claims say of single instances: bounds, and orderings between methods."""
    place = {s.name: p for p, s in enumerate(prompts)}

    def value(trained: Trained, name: str) -> float:
        return reached(prompts[place[name]], trained, place[name])

    rows = [
        measurement("D3", "trained", {"bt_beta": s.bt_beta, "instance": s.name}, value(nlhf, s.name))
        for s in prompts
        if s.name != "I6"
    ]
    rows += [
        measurement("D4", "trained", {"bt_beta": s.bt_beta, "instance": s.name}, value(rlhf, s.name))
        for s in prompts
        if s.name in ("I3", "I5", "I9_product", "random")
    ]
    rows += [
        measurement("D5", "trained", {"bt_beta": 5.0}, value(rlhf, "I5") - value(nlhf, "I5")),
        measurement("D8", "trained", {"bt_beta": 5.0}, value(rlhf, "I6") - value(nlhf, "I6")),
        measurement("D9", "trained", {"bt_beta": 5.0}, value(nlhf, "I6")),
        measurement("D11", "trained", {"bt_beta": 10.0}, value(rlhf, "I9") - value(rlhf, "I9_product")),
    ]
    for name in ("I3", "I9_product", "random"):
        s, p = prompts[place[name]], place[name]
        rows.append(measurement("D13", "trained", {"instance": name}, float(_discordant(s, model.rewards[p]))))
    return rows


def _discordant(s: Situation, rewards: Array, margin: float = 0.01) -> int:
    """Pairs that the trained reward orders against their Borda scores, among those whose scores differ by `margin`."""
    scores = s.win_rates @ s.pair_weights.sum(axis=1)
    gaps = scores[:, None] - scores[None, :]
    return int(((gaps > margin) & (rewards[:, None] <= rewards[None, :])).sum())


def _clipped(
    reference: Reference, prompts: list[Situation], model: FittedRewards, weights: Array, rlhf: Trained
) -> list[Measurement]:
    """D15: RLHF on clipped rewards of the trained reward model, against its prediction and the model trained on all."""
    clipped = np.stack([policy.clip_rewards(r, clip_level(r, CLIP_SHARE)) for r in model.rewards])
    target = np.stack([predicted_rlhf(s, reference.log_law[p], weights[p], CLIP_SHARE) for p, s in enumerate(prompts)])
    gentle = reference.schedule.slower(0.5)
    trained = reference.train(penalty_objective(reference, clipped, weights), "rlhf_clipped", schedule=gentle)
    before = np.exp(reference.log_law)
    less = [kl(free, ref) - kl(law, ref) for free, law, ref in zip(rlhf.policy, trained.policy, before, strict=True)]
    rows = law_rows("D15", {"method": "rlhf_clipped"}, before, trained.policy, target)
    return [*rows, measurement("D15", "trained", {}, float(np.mean(less)))]


def _dpo(reference: Reference, prompts: list[Situation], weights: Array, rlhf: Trained) -> list[Measurement]:
    """D12: DPO at kl_beta = λ ends with RLHF's law on the catalogue; off it is free."""
    chosen, part, prompts = of_dpo(reference, prompts)
    trained = part.train(comparison_objective(dpo, part, prompts, weights[chosen]), "dpo")
    law = conditional(trained.policy)
    target = np.stack([
        policy.dpo(s.win_rates, s.pair_weights, None, weight, log_reference=np.log(own))
        for s, weight, own in zip(prompts, weights[chosen], part.on_catalogue, strict=True)
    ])  # fmt: skip
    apart = total_variation(law, conditional(rlhf.policy)[chosen])
    return [
        *law_rows("D12", {"method": "dpo"}, part.on_catalogue, law, target),
        measurement("D12", "apart", {}, float(apart.mean()), n=len(chosen)),
        measurement("D12", "dpo_off", {}, float(trained.policy[:, -1].mean()), n=len(chosen)),
    ]


def sampled(reference: Reference) -> list[Measurement]:
    """RLHF by RLOO and NLHF by self-play on samples: the same predictions, from payoffs of sampled responses alone.

    The payoff of one in self-play is exact: its mean against the current policy.
    """
    keep, reference, prompts = of_dpo(reference, situations(reference))
    weights, nash = (np.array(table)[keep] for table in (RLHF_WEIGHTS, NLHF_WEIGHTS))
    rewards = np.stack([fit_rewards(s.win_rates, s.pair_weights).rewards for s in prompts])
    r = reference.tensor(np.column_stack([rewards, rewards.min(axis=1)]))
    margin = reference.tensor(np.stack([with_off(s.win_rates) - 0.5 for s in prompts]))

    def against_itself(drawn: Tensor, logs: Tensor) -> Tensor:
        return torch.einsum("pxy,py->px", margin, logs.exp()).gather(1, drawn)

    gentle = reference.schedule.slower(0.5).longer(2)  # sampled: the noise averages over steps
    by_reward = sampled_objective(
        reference, lambda drawn, _: r.gather(1, drawn), weights, np.ptp(rewards, axis=1), "rloo"
    )
    rloo = reference.train(by_reward, "rlhf_sampled", schedule=gentle)
    by_game = sampled_objective(reference, against_itself, nash, np.full(len(keep), 0.5), "nash")
    play = reference.train(by_game, "nlhf_sampled", schedule=gentle)
    target = [predicted_rlhf(s, reference.log_law[p], weights[p]) for p, s in enumerate(prompts)]
    target_nash = [predicted_nlhf(s, reference.log_law[p], nash[p]) for p, s in enumerate(prompts)]
    return [
        measurement(claim, "sampled_tv", {}, float(total_variation(run.policy, np.stack(law)).mean()), n=len(prompts))
        for claim, run, law in (("D12", rloo, target), ("D9", play, target_nash))
    ]


def _near(claim: str) -> tuple[str, ...]:
    return tuple(f"{claim}.{check.name}" for check in near())


RUNS = (
    Run(
        "distortion",
        aligned,
        ("D3", "D4", "D5", "D8", "D9.trained", "D9.excess", *_near("D9"), "D11", *_near("D12"), "D12.apart", "D13",
         "D15"),
        prompts=slice(0, 6),
        also=("D8.reached", "D8.predicted", "D9.reached", "D9.predicted", "D12.dpo_off"),
    ),
    Run("distortion_sampled", sampled, ("D9.sampled_tv", "D12.sampled_tv"), prompts=slice(0, 6)),
)  # fmt: skip
