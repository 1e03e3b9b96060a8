"""DDRO and RDRO on a trained language model: R1–R5, R8. Which ratio a loss learns, and what that does to the policy.

The six prompts of `llm_validation.runs.unpaired` put the reference where each claim wants it. Predictions are the
constrained optima over responses and off, from the measured reference and the drawn classes.

Shapes: P prompts, A responses.
"""

from __future__ import annotations

import math

import numpy as np

from llm_validation.catalogue.reference import Reference, conditional, total_variation
from llm_validation.catalogue.train import Trained
from llm_validation.claims.settings import POOLED_SHARE, RDRO_ALPHA, UNPAIRED
from llm_validation.losses.pairs import dpo
from llm_validation.runs.comparisons import Situation, comparison_objective
from llm_validation.runs.run import Run, law_rows
from llm_validation.runs.unpaired import UNPAIRED_PROMPTS, Classes, constrained_policies, cycle, draw, expectation
from simulate.rows.measurement import Measurement, measurement
from theory.bradley_terry import Population, product_pairs
from theory.claim import Setting
from theory.density_ratio.losses import ddro_loss, rdro_loss
from theory.density_ratio.losses import minimum as least_loss
from theory.density_ratio.ratios import log_ratio_cap
from theory.policy import rewards
from theory.validate import Array

PLACE = {name: p for p, name in enumerate(UNPAIRED)}


def _to_plus(trained: Trained, classes: Classes, name: str) -> float:
    """Total variation, on the catalogue, to the true law p⁺ of chosen responses at one prompt."""
    reached = conditional(trained.policy[[PLACE[name]]])
    return float(total_variation(reached, classes.chosen_law[[PLACE[name]]])[0])


def _log_ratio(reference: Reference, trained: Trained, name: str) -> Array:
    p = PLACE[name]
    return (trained.log_policy[p] - reference.log_law[p])[:-1]


def ratios(reference: Reference) -> list[Measurement]:
    """DDRO, RDRO by class means and RDRO pooled, on the same draws."""
    classes = draw(reference)
    ddro = reference.train(expectation(reference, classes, "ddro", 1.0), "ddro")
    rdro = reference.train(expectation(reference, classes, "rdro", 1.0), "rdro")
    pooled = reference.train(expectation(reference, classes.pooled(POOLED_SHARE), "rdro_pooled", 1.0), "rdro_pooled")
    rows = []
    for claim, name, trained, alpha, fraction in (
        ("R1", "ddro", ddro, None, None),
        ("R2", "rdro", rdro, RDRO_ALPHA, None),
        ("R5", "pooled", pooled, RDRO_ALPHA, POOLED_SHARE),
    ):
        target = constrained_policies(reference, classes, alpha, fraction)
        rows += law_rows(claim, {"method": name}, np.exp(reference.log_law), trained.policy, target)
        distance = total_variation(trained.policy, target)
        if fraction is None:
            rows.append(measurement("R8", "trained", {"method": name}, float(distance[PLACE["far"]])))
    rows += _consistency(reference, classes, ddro, rdro)
    rows += _stability(reference, ddro, rdro)
    excess = _to_plus(pooled, classes, "on_mixture") - _to_plus(rdro, classes, "on_mixture")
    return [*rows, measurement("R5", "trained_bias", {}, excess), *_comparisons(reference, classes, rdro)]


def _consistency(reference: Reference, classes: Classes, ddro: Trained, rdro: Trained) -> list[Measurement]:
    """R1–R3: from the right reference the policy is p⁺, and the loss has reached its minimum over all functions."""
    p, q = (np.stack([law[PLACE[name]] for name in ("on_rejected", "on_mixture")]) for law in
            (classes.chosen, classes.rejected))  # fmt: skip
    gap = ddro_loss(_log_ratio(reference, ddro, "on_rejected"), p[0], q[0]) - least_loss("logistic", p[0], q[0])
    relative = rdro_loss(_log_ratio(reference, rdro, "on_mixture"), p[1], q[1], RDRO_ALPHA)
    relative -= least_loss("logistic", p[1], q[1], RDRO_ALPHA)
    return [
        measurement("R1", "to_plus", {}, _to_plus(ddro, classes, "on_rejected")),
        measurement("R1", "trained_loss", {}, gap),
        measurement("R2", "to_plus", {}, _to_plus(rdro, classes, "on_mixture")),
        measurement("R2", "trained_loss", {}, relative),
        measurement("R3", "trained", {"method": "rdro"}, _to_plus(rdro, classes, "cycle")),
        measurement("R3", "trained", {"method": "ddro"}, _to_plus(ddro, classes, "cycle_losers")),
    ]


def _stability(reference: Reference, ddro: Trained, rdro: Trained) -> list[Measurement]:
    """R4: a response that was never rejected. RDRO's log-ratio stops at log(1/α), DDRO's goes past it."""
    cap, p = log_ratio_cap(RDRO_ALPHA), PLACE["never_rejected"]
    rows = [
        measurement("R4", "trained_capped", {}, float(_log_ratio(reference, rdro, "never_rejected")[0])),
        measurement("R4", "trained_beyond", {}, float(_log_ratio(reference, ddro, "never_rejected")[0]) - cap),
    ]
    for method, trained in (("ddro", ddro), ("rdro", rdro)):
        ratio = trained.path[:, p, 0] - reference.log_law[p, 0]
        slope = -1.0 + (1.0 + RDRO_ALPHA) / (1.0 + np.exp(-ratio)) if method == "rdro" else -1.0 / (1.0 + np.exp(ratio))
        for step, value, gradient in zip(trained.step, ratio, slope, strict=True):
            setting: Setting = {"method": method, "step": int(step)}
            rows += [
                measurement("R4", "trained_path", setting, float(value)),
                measurement("R4", "trained_gradient", setting, float(gradient)),
            ]
    return rows


def _comparisons(reference: Reference, classes: Classes, rdro: Trained) -> list[Measurement]:
    """R3: DPO on the cyclic comparisons that RDRO's classes come from ends with Bradley–Terry's policy, not with p⁺."""
    place = PLACE["cycle"]
    part, mu = reference.part([place]), reference.on_catalogue[place]
    P, Q = cycle(mu.size), product_pairs(mu)
    nobody = Population(np.ones((1, mu.size)))  # the comparisons are what is given here, not users
    situation = Situation("cycle", nobody, 1.0, P, Q / (1 - np.trace(Q)), math.inf)
    trained = part.train(comparison_objective(dpo, part, [situation], np.ones(1)), "dpo_cycle")
    law = conditional(trained.policy)
    target = rewards.dpo(P, Q, None, 1.0, log_reference=np.log(mu))
    away = float(total_variation(law, classes.chosen_law[[place]])[0])
    return [
        measurement("R3", "dpo_tv", {}, float(total_variation(law, target[None])[0])),
        measurement("R3", "dpo_away", {}, away - _to_plus(rdro, classes, "cycle")),
    ]


RUNS = (
    Run(
        "density_ratio",
        ratios,
        ("R1", "R2", "R3", "R4", "R5", "R8"),
        prompts=UNPAIRED_PROMPTS,
        also=("R4.trained_path", "R4.trained_gradient"),
    ),
)
