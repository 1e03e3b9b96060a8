"""Bootstrapping an upstream model by preference pairs (c ≻ o), against each method's population limit: A6.

The upstream model's law π on the listed answers is exact, and so is the trained corrector's kernel K. All pairs at
once, with their law π(o)K(c|o), train a copy of the upstream model by DDRO, RDRO or DPO; the policy that it ends with
is exact too. DDRO from π should reach πK, one corrected round; RDRO from π, which is not p_α, its constrained optimum;
DPO the Bradley–Terry policy of the odds of changes, which is neither.

Shapes: P prompts, A answers, off last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from llm_validation.aligner.aligner import upstream_laws
from llm_validation.aligner.edit_process import Problem
from llm_validation.catalogue.reference import Reference, conditional, measure_reference, total_variation
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Task, train_one
from llm_validation.claims.settings import RDRO_ALPHA
from llm_validation.losses.pairs import dpo
from llm_validation.runs.comparisons import pair_objective
from llm_validation.runs.kernels import composed
from llm_validation.runs.unpaired import Classes, constrained_policies, expectation
from llm_validation.training.schedule import Schedule
from simulate.rows.measurement import Measurement, measurement
from theory.correction import bootstrap
from theory.validate import Array

#: kl_beta of DPO on the pairs.
DPO_BETA = 1.0


def by_pairs(model: Any, kernels: Array, problem: Problem, schedule: Schedule, seed: int) -> list[Measurement]:
    """Train copies of an upstream model on the pairs that a corrector's kernels (P, A, A) make of its answers."""
    policies, device = upstream_laws(model, problem).laws, next(model.parameters()).device
    encoded = Encoded(problem.prompts, problem.answers)
    trie = encoded.trie().to(device)
    law = measure_reference(model, trie)
    reference = Reference(Path(), encoded, law, device, seed, schedule)
    sides = [bootstrap.preference_laws(pi, K) for pi, K in zip(policies, kernels, strict=True)]
    p, q = (np.stack(side) for side in zip(*sides, strict=True))
    classes = Classes(p, q, p, q)
    corrected = composed(policies, kernels)
    objectives: dict[str, Callable[[int, Tensor], Tensor]] = {
        "ddro": expectation(reference, classes, "ddro", 1.0),
        "rdro": expectation(reference, classes, "rdro", 1.0),
        "dpo": _dpo(reference, policies, kernels),
    }
    rows = []
    for method, objective in objectives.items():
        trained = train_one(Task(copy.deepcopy(model), trie, objective, schedule, name=f"pairs by {method}"))
        reached = conditional(trained.policy)
        setting = {"method": method}
        distance = total_variation(reached, _limit(method, reference, classes, policies, kernels))
        rows += [
            measurement("A6", "llm_pairs_limit", setting, float(distance.max()), n=len(p)),
            measurement(
                "A6", "llm_pairs_composed", setting, float(total_variation(reached, corrected).mean()), n=len(p)
            ),
        ]
    return rows


def _dpo(reference: Reference, policies: Array, kernels: Array) -> Callable[[int, Tensor], Tensor]:
    """DPO on all pairs: corrections win against the answers that they changed, with the law of the pairs."""
    A = reference.n_responses
    pairs = np.stack([bootstrap.pair_law(pi, K) for pi, K in zip(policies, kernels, strict=True)])
    originals, corrected = np.nonzero(~np.eye(A, dtype=bool))
    weight = reference.tensor(pairs[:, originals, corrected] / len(pairs))
    return pair_objective(dpo, reference, corrected, originals, kl_beta=DPO_BETA, weight=weight)


def _limit(method: str, reference: Reference, classes: Classes, policies: Array, kernels: Array) -> Array:
    """The population limit of a method on the listed answers (P, A)."""
    if method == "dpo":
        pairs = zip(policies, kernels, strict=True)
        return np.stack([bootstrap.dpo_limit(pi, K, DPO_BETA, pi) for pi, K in pairs])
    return conditional(constrained_policies(reference, classes, RDRO_ALPHA if method == "rdro" else None))
