"""Distortion on a trained language model: D3–D5, D8, D9, D11–D13, D15. What alignment does to average utility.

Six prompts, each an instance: its users compare eight responses, the comparisons are drawn, and the model is aligned by

    RLHF    a reward model (transformer, scalar head) by Bradley–Terry maximum likelihood, then
            max_π E_π[r] − λ KL(π‖π_ref), by exact expectations or by REINFORCE with a leave-one-out baseline on samples
    DPO     on the same comparisons
    NLHF    self-play on the empirical win rates, max_π min_π′ of E[P(y≻y′)] − ½ with the KL of both at weight λ

Predictions start from the measured reference and the drawn comparisons. Off the catalogue a response is given the
lowest reward of its prompt, and loses every comparison: an explicit choice, without which off would be free.

Shapes: P prompts, A responses, off last; B samples per prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from llm_validation import losses
from llm_validation.catalogue.reference import Lab, conditional, total_variation
from llm_validation.catalogue.train import Trained
from llm_validation.runs.reward_fit import RewardModel, fit_reward_model
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from simulate.users import sample_comparisons
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.instances import (
    Instance,
    borda_instance,
    condorcet_instance,
    correlated_instance,
    rlhf_instance,
    uniform_instance,
)
from theory.distortion.measure import distortion
from theory.language_model_settings import (
    BALL,
    CLIP_SHARE,
    CLONE_MASS,
    DPO_INSTANCES,
    INSTANCE_BETAS,
    INSTANCES,
    NLHF_WEIGHTS,
    RLHF_WEIGHTS,
)
from theory.policy import nash
from theory.policy import rewards as policy
from theory.policy.kl_ball import kl
from theory.validate import Array

#: Users who compare, per prompt: so many that the worst-case instances' small margins are seen; cost does not grow.
USERS = 10**12
#: Samples per prompt and step where expectations are sampled.
SAMPLES = 32


@dataclass(frozen=True, eq=False)
class Situation:
    """One prompt: its users, the comparisons drawn from them, and the weights of the KL term.

    win_rates, pair_weights  (A, A) empirical
    tau                      KL budget against which distortion is measured (inf: all policies)
    """

    name: str
    population: Population
    bt_beta: float
    win_rates: Array
    pair_weights: Array
    tau: float


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
    share = np.array([1.0, 1.0, *[1.0 / clones] * clones])
    masses = collapsed.mu[columns] * share
    population = Population(collapsed.population.utilities[:, columns], collapsed.population.weights)
    return Instance(
        population,
        product_pairs(masses),
        collapsed.log_reference[columns] + np.log(share),
        collapsed.tau,
        np.ones(len(columns)),
        collapsed.bt_beta,
        ("a", "b", *(f"c{i}" for i in range(1, clones + 1))),
    )


def references(n_responses: int, rng: np.random.Generator) -> Array:
    """Designed reference laws (6, A): nearly uniform, but for I6, where the clones of c are rare."""
    laws = 0.5 * rng.dirichlet(np.full(n_responses, 20.0), len(INSTANCES)) + 0.5 / n_responses
    clones = n_responses - 2
    laws[INSTANCES.index("I6")] = [*[(1.0 - CLONE_MASS) / 2] * 2, *[CLONE_MASS / clones] * clones]
    return laws


def situations(lab: Lab) -> list[Situation]:
    """The comparisons of every prompt, drawn once per seed."""
    found = []
    for name in INSTANCES:
        built = instance(name, lab.seed)
        pairs = built.pair_weights if name != "I9_product" else product_pairs(np.full(8, 0.125))
        rng = generator(lab.seed, "comparisons", name)
        drawn = sample_comparisons(built.population, built.bt_beta, pairs, USERS, rng=rng)
        tau = BALL if name == "I6" else np.inf
        found.append(Situation(name, built.population, built.bt_beta, drawn.win_rates(), drawn.pair_weights(), tau))
    return found


# Predictions: the policy (A + 1,) that each method should end with.


def predicted_rlhf(s: Situation, log_reference: Array, weight: float, clip: float | None = None) -> Array:
    """π_ref·exp(r/λ)/Z over responses and off, r the maximum-likelihood reward, off at the lowest."""
    r = fit_rewards(s.win_rates, s.pair_weights).rewards
    r = r if clip is None else policy.clip_rewards(r, clip_level(r, clip))
    return policy.rlhf_penalty(np.append(r, r.min()), None, weight, log_reference=log_reference)


def clip_level(rewards: Array, share: float) -> float:
    """`share` of the largest centred reward in absolute value."""
    return share * float(np.abs(rewards - rewards.mean()).max())


def predicted_nlhf(s: Situation, log_reference: Array, weight: float) -> Array:
    """The regularised equilibrium over responses and off, which loses every comparison."""
    return nash.nlhf_regularized(with_off(s.win_rates), None, weight, log_reference=log_reference).policy


def with_off(win_rates: Array) -> Array:
    """Win rates (A + 1, A + 1): off loses to every response."""
    A = len(win_rates)
    P = np.full((A + 1, A + 1), 0.5)
    P[:A, :A], P[:A, A], P[A, :A] = win_rates, 1.0, 0.0
    return P


def boundary_weight(predict: Callable[[float], Array], log_reference: Array, budget: float) -> float:
    """The weight λ at which the predicted policy is at KL `budget` from the reference (D10: one family)."""

    def excess(log_weight: float) -> float:
        return kl(predict(float(np.exp(log_weight))), np.exp(log_reference)) - budget

    return float(np.exp(brentq(excess, np.log(1e-3), np.log(1e3), xtol=1e-8)))


def kl_weights(lab: Lab, found: list[Situation], method: str) -> Array:
    """λ per prompt (P,) for "rlhf" or "nlhf"; on I6 the one at which the prediction is on the boundary of the ball."""
    predict, table = {"rlhf": (predicted_rlhf, RLHF_WEIGHTS), "nlhf": (predicted_nlhf, NLHF_WEIGHTS)}[method]
    weights = []
    for s, law, fixed in zip(found, lab.log_reference, table, strict=True):
        weights.append(fixed or boundary_weight(partial(predict, s, law), law, BALL))
    return np.array(weights)


# Training.


def fit_rewards_by_model(lab: Lab, found: list[Situation]) -> RewardModel:
    """The reward model of all prompts, trained on their comparisons."""
    return fit_reward_model(lab, np.stack([s.win_rates for s in found]), np.stack([s.pair_weights for s in found]))


@dataclass(frozen=True, eq=False)
class Annealed:
    """1/λ_t (P, 1) per step: λ falls from the payoffs' spread to its value over the first half of training.

    The exact gradient of E_π[r] − λKL with respect to log π(y) is proportional to π(y): a response that the first steps
    crush comes back too slowly to be seen. At λ as large as the payoffs nothing is crushed.

    inverse  (P, 1) 1/λ;  start  (P, 1) λ_0/λ ≥ 1;  half  the steps that the fall takes
    """

    inverse: Tensor
    start: Tensor
    half: float

    def at(self, step: int) -> Tensor:
        return self.inverse * self.start ** -max(0.0, 1.0 - step / self.half)


def annealed(lab: Lab, weights: Array, spreads: Array) -> Annealed:
    """The annealing of KL weights (P,) for payoffs that range over `spreads` (P,) in each prompt."""
    start = np.maximum(1.0, spreads / weights)
    return Annealed(lab.tensor(1.0 / weights)[:, None], lab.tensor(start)[:, None], 0.5 * lab.schedule.steps)


def penalty_objective(lab: Lab, rewards: Array, weights: Array) -> Callable[[int, Tensor], Tensor]:
    """−(E_π[r]/λ − KL(π‖π_ref)), mean over prompts, exact; rewards (P, A) get off at the lowest of each prompt."""
    r = lab.tensor(np.column_stack([rewards, rewards.min(axis=1)]))
    reference, weight = lab.reference, annealed(lab, weights, np.ptp(rewards, axis=1))

    def objective(step: int, logs: Tensor) -> Tensor:
        return -(logs.exp() * (weight.at(step) * r - logs + reference)).sum(-1).mean()

    return objective


def sampled_objective(
    lab: Lab, payoff: Callable[[Tensor, Tensor], Tensor], weights: Array, spreads: Array, name: str
) -> Callable[[int, Tensor], Tensor]:
    """REINFORCE with a leave-one-out baseline (RLOO): B samples per prompt from the current policy.

    payoff   (samples (P, B), log π (P, A + 1)) → their payoffs (P, B), without gradient
    The payoff is over λ and less the log-ratio of the whole response, so that its expectation is the exact objective's.
    """
    reference, weight = lab.reference, annealed(lab, weights, spreads)
    source = torch.Generator(device=lab.device).manual_seed(int(generator(lab.seed, name).integers(2**31)))

    def objective(step: int, logs: Tensor) -> Tensor:
        law = logs.detach().exp()
        drawn = torch.multinomial(law, SAMPLES, replacement=True, generator=source)
        ratio = (logs.detach() - reference).gather(1, drawn)
        value = payoff(drawn, logs.detach()) * weight.at(step) - ratio
        baseline = (value.sum(1, keepdim=True) - value) / (SAMPLES - 1)
        return -((value - baseline) * logs.gather(1, drawn)).mean()

    return objective


def nash_objective(lab: Lab, win_rates: Array, weights: Array) -> Callable[[int, Tensor], Tensor]:
    """Self-play: −(E_{y∼π, y′∼π′}[P(y≻y′)] − ½)/λ + KL(π‖π_ref), π′ the current policy without gradient, exact.

    At a fixed point π is a best response to itself in the regularised game, which is its equilibrium.
    """
    margin = lab.tensor(np.stack([with_off(P) - 0.5 for P in win_rates]))
    reference, weight = lab.reference, annealed(lab, weights, np.full(len(weights), 0.5))

    def objective(step: int, logs: Tensor) -> Tensor:
        against = weight.at(step) * torch.einsum("pxy,py->px", margin, logs.detach().exp())
        return -(logs.exp() * (against - logs + reference)).sum(-1).mean()

    return objective


def dpo_objective(lab: Lab, found: list[Situation], kl_betas: Array) -> Callable[[int, Tensor], Tensor]:
    """DPO on all comparisons of all prompts at once: weights Q·P̂ on ordered pairs (winner, loser)."""
    A = lab.n_responses
    wins, loses = (index.to(lab.device) for index in torch.where(~torch.eye(A, dtype=torch.bool)))
    mass = lab.tensor(np.stack([2.0 * s.pair_weights * s.win_rates for s in found]) / len(found))[:, wins, loses]
    reference, betas = lab.reference, lab.tensor(kl_betas)[:, None]

    def objective(_: int, logs: Tensor) -> Tensor:
        return losses.dpo(
            logs[:, wins], logs[:, loses], reference[:, wins], reference[:, loses], kl_beta=betas, weight=mass
        )

    return objective


# What is measured.


def reached(s: Situation, trained: Trained, p: int) -> float:
    """Distortion of the trained policy conditional on the catalogue (off has no utility to speak of)."""
    return _distortion(s, conditional(trained.policy[p : p + 1])[0], trained, p)


def _distortion(s: Situation, law: Array, trained: Trained, p: int) -> float:
    reference = conditional(np.exp(trained.path[0, p : p + 1]))[0]
    return distortion(s.population, law, reference, s.tau)


def fit_rows(trained: Trained, wanted: Array, setting: dict[str, str], claim: str) -> list[Measurement]:
    """Mean and worst total variation over prompts to the predicted laws (P, A + 1)."""
    distance = total_variation(trained.policy, wanted)
    worst = int(distance.argmax())
    return [
        measurement(claim, "mean_tv", setting, float(distance.mean()), n=distance.size),
        measurement(claim, "worst_tv", setting, float(distance[worst]), n=distance.size, note=f"prompt {worst}"),
    ]


def _distortion_rows(
    lab: Lab, found: list[Situation], trained: Trained, wanted: Array, method: str
) -> list[Measurement]:
    """Per instance: the distortion reached, the one predicted, and their ratio less one."""
    rows, claim = [], {"rlhf": "D8", "nlhf": "D9"}[method]
    for p, s in enumerate(found):
        value, predicted = reached(s, trained, p), _distortion(s, conditional(wanted[p : p + 1])[0], trained, p)
        setting = {"method": method, "instance": s.name}
        rows += [
            measurement(claim, "reached", setting, value),
            measurement(claim, "predicted", setting, predicted),
            measurement(claim, "excess", setting, value / predicted - 1.0),
        ]
    return rows


def rlhf(lab: Lab) -> list[Measurement]:
    """Reward model and policy: RLHF exact, clipped and sampled, beside NLHF and DPO on the same comparisons."""
    found = situations(lab)
    model = fit_rewards_by_model(lab, found)
    weights, nash = kl_weights(lab, found, "rlhf"), kl_weights(lab, found, "nlhf")
    wanted = np.stack([predicted_rlhf(s, lab.log_reference[p], weights[p]) for p, s in enumerate(found)])
    wanted_nash = np.stack([predicted_nlhf(s, lab.log_reference[p], nash[p]) for p, s in enumerate(found)])
    trained = lab.train(penalty_objective(lab, model.rewards, weights), "rlhf", schedule=lab.schedule.slower(0.5))
    game = lab.train(
        nash_objective(lab, np.stack([s.win_rates for s in found]), nash), "nlhf", schedule=lab.schedule.slower(0.5)
    )
    rows = fit_rows(trained, wanted, {"method": "rlhf"}, "D12") + fit_rows(game, wanted_nash, {"method": "nlhf"}, "D9")
    rows += _distortion_rows(lab, found, trained, wanted, "rlhf")
    rows += _distortion_rows(lab, found, game, wanted_nash, "nlhf")
    rows += _instance_claims(found, trained, game, model)
    rows += _clipped(lab, found, model, weights)
    return rows + _dpo(lab, found, weights, trained)


def _instance_claims(found: list[Situation], rlhf_: Trained, nash: Trained, model: RewardModel) -> list[Measurement]:
    """What the claims say of single instances: bounds, and orderings between methods."""
    place = {s.name: p for p, s in enumerate(found)}

    def value(trained: Trained, name: str) -> float:
        return reached(found[place[name]], trained, place[name])

    rows = [
        measurement("D3", "trained", {"bt_beta": s.bt_beta, "instance": s.name}, value(nash, s.name))
        for s in found
        if s.name != "I6"
    ]
    rows += [
        measurement("D4", "trained", {"bt_beta": s.bt_beta, "instance": s.name}, value(rlhf_, s.name))
        for s in found
        if s.name in ("I3", "I5", "I9_product", "random")
    ]
    rows += [
        measurement("D5", "trained", {"bt_beta": 5.0}, value(rlhf_, "I5") - value(nash, "I5")),
        measurement("D8", "trained", {"bt_beta": 5.0}, value(rlhf_, "I6") - value(nash, "I6")),
        measurement("D9", "trained", {"bt_beta": 5.0}, value(nash, "I6")),
        measurement("D11", "trained", {"bt_beta": 10.0}, value(rlhf_, "I9") - value(rlhf_, "I9_product")),
    ]
    for name in ("I3", "I9_product", "random"):
        s, p = found[place[name]], place[name]
        rows.append(measurement("D13", "trained", {"instance": name}, float(_discordant(s, model.rewards[p]))))
    return rows


def _discordant(s: Situation, rewards: Array, margin: float = 0.01) -> int:
    """Pairs that the trained reward orders against their Borda scores, among those whose scores differ by `margin`."""
    scores = s.win_rates @ s.pair_weights.sum(axis=1)
    gaps = scores[:, None] - scores[None, :]
    return int(((gaps > margin) & (rewards[:, None] <= rewards[None, :])).sum())


def _clipped(lab: Lab, found: list[Situation], model: RewardModel, weights: Array) -> list[Measurement]:
    """D15: RLHF on clipped rewards of the trained reward model, against its prediction."""
    clipped = np.stack([policy.clip_rewards(r, clip_level(r, CLIP_SHARE)) for r in model.rewards])
    wanted = np.stack([predicted_rlhf(s, lab.log_reference[p], weights[p], CLIP_SHARE) for p, s in enumerate(found)])
    trained = lab.train(penalty_objective(lab, clipped, weights), "rlhf_clipped", schedule=lab.schedule.slower(0.5))
    moved = [kl(law, np.exp(ref)) for law, ref in zip(trained.policy, lab.log_reference, strict=True)]
    free = [kl(predicted_rlhf(s, lab.log_reference[p], weights[p]), np.exp(lab.log_reference[p]))
            for p, s in enumerate(found)]  # fmt: skip
    rows = fit_rows(trained, wanted, {"method": "rlhf_clipped"}, "D15")
    return [*rows, measurement("D15", "trained", {}, float(np.mean(free) - np.mean(moved)))]


def _dpo(lab: Lab, found: list[Situation], weights: Array, rlhf_: Trained) -> list[Measurement]:
    """D12: DPO at kl_beta = λ ends with RLHF's law on the catalogue; off it is free."""
    chosen = [p for p, s in enumerate(found) if s.name in DPO_INSTANCES]
    part = lab.part(chosen)
    trained = part.train(dpo_objective(part, [found[p] for p in chosen], weights[chosen]), "dpo")
    law = conditional(trained.policy)
    wanted = np.stack([
        policy.dpo(found[p].win_rates, found[p].pair_weights, None, weights[p],
                   log_reference=np.log(lab.on_reference[p])) for p in chosen
    ])  # fmt: skip
    distance, apart = total_variation(law, wanted), total_variation(law, conditional(rlhf_.policy)[chosen])
    return [
        measurement("D12", "mean_tv", {"method": "dpo"}, float(distance.mean()), n=len(chosen)),
        measurement("D12", "worst_tv", {"method": "dpo"}, float(distance.max()), n=len(chosen)),
        measurement("D12", "apart", {}, float(apart.mean()), n=len(chosen)),
        measurement("D12", "dpo_off", {}, float(trained.policy[:, -1].mean()), n=len(chosen)),
    ]


def sampled(lab: Lab) -> list[Measurement]:
    """RLHF by RLOO and NLHF by self-play on samples: the same predictions, without exact expectations."""
    found = situations(lab)
    keep = [p for p, s in enumerate(found) if s.name in DPO_INSTANCES]
    lab, found = lab.part(keep), [found[p] for p in keep]
    weights, nash = (np.array(table)[keep] for table in (RLHF_WEIGHTS, NLHF_WEIGHTS))
    rewards = np.stack([fit_rewards(s.win_rates, s.pair_weights).rewards for s in found])
    r = lab.tensor(np.column_stack([rewards, rewards.min(axis=1)]))
    margin = lab.tensor(np.stack([with_off(s.win_rates) - 0.5 for s in found]))

    def against_itself(drawn: Tensor, logs: Tensor) -> Tensor:
        return torch.einsum("pxy,py->px", margin, logs.exp()).gather(1, drawn)

    schedule = lab.schedule.slower(0.5)
    half = np.full(len(keep), 0.5)
    by_reward = sampled_objective(lab, lambda drawn, _: r.gather(1, drawn), weights, np.ptp(rewards, axis=1), "rloo")
    rloo = lab.train(by_reward, "rlhf_sampled", schedule=schedule)
    play = lab.train(sampled_objective(lab, against_itself, nash, half, "nash"), "nlhf_sampled", schedule=schedule)
    wanted = [predicted_rlhf(s, lab.log_reference[p], weights[p]) for p, s in enumerate(found)]
    wanted_nash = [predicted_nlhf(s, lab.log_reference[p], nash[p]) for p, s in enumerate(found)]
    return [
        measurement(claim, "sampled_tv", {}, float(total_variation(run.policy, np.stack(law)).mean()), n=len(found))
        for claim, run, law in (("D12", rloo, wanted), ("D9", play, wanted_nash))
    ]


#: name of a run → what it measures, on the six prompts of this topic.
RUNS: dict[str, Callable[[Lab], list[Measurement]]] = {"distortion": rlhf, "distortion_sampled": sampled}
